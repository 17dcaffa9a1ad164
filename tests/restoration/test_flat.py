"""What is flat stays flat, and nothing else changes."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

import usrnet
from usrnet.errors import UsrnetWarning
from usrnet.restoration.files import restore_file
from usrnet.restoration.flat import FLAT, flatness


@pytest.fixture(scope="module")
def restorer():
    return usrnet.Restorer("default")


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("value", [300, 20_000, 65_535])
def test_a_field_of_one_value_stays_one(restorer, scale, value):
    field = np.full((40, 48, 3), value, np.uint16)
    restored = restorer(field, scale=scale, kernel="gaussian:1.6")
    assert np.ptp(restored) == 0
    assert abs(int(restored[0, 0, 0]) - value) <= 1


@pytest.mark.filterwarnings("ignore:.*white")
def test_a_faint_ramp_stays_smooth(restorer):
    ramp = np.tile(np.arange(96, dtype=np.uint16) + 20_000, (80, 1))
    restored = restorer(ramp, scale=2).astype(int)
    expected = 20_000 + (np.arange(192) - 0.5) / 2
    assert np.abs(restored[:, 8:-8] - expected[8:-8]).max() < 30


def test_a_photo_with_noise_is_left_alone(photo):
    noisy = np.random.default_rng(0).normal(photo / 255, 2 / 255).astype(np.float32)
    assert flatness(noisy, 8) is None


def test_beyond_the_reach_of_an_edge():
    stored = np.zeros((60, 80, 3), np.float32)
    stored[:, 40:] = 1
    flat = flatness(stored, 8)
    assert flat is not None
    share = flat.share
    assert flat.faint == 0
    assert share[:, 32:48].max() == 0
    assert share[:, :28].min() == share[:, 52:].min() == 1


def test_a_step_fades_in():
    stored = np.zeros((40, 40, 1), np.float32)
    stored[:, 20:] = 1.5 * FLAT
    flat = flatness(stored, 4)
    assert flat is not None
    assert 0.4 < flat.share[20, 20] < 0.6


def test_faint_stars_beside_a_bright_one_are_named(tmp_path):
    """A thousandth of the range: the network would draw texture of its own there, so they are enlarged only."""
    sky = np.full((96, 96), 200.0)
    sky[20:23, 20:23] += 24_000
    for row in range(8, 90, 12):
        sky[row, 48:90:9] += 600
    Image.fromarray(gaussian_filter(sky, 1.5).astype(np.uint16)).save(tmp_path / "sky.png")
    known = usrnet.restoration.ask(scale=1, kernel="gaussian:1.5", noise_level=0.01)
    with pytest.warns(UsrnetWarning, match=r"sky.png: \d\d% of it varies by less .* enlarged only: --white"):
        restore_file(usrnet.Restorer("tv"), tmp_path / "sky.png", tmp_path / "out.png", known)


def test_the_published_border_leaves_the_network_alone():
    field = np.full((32, 32, 3), 20_000, np.uint16)
    published = usrnet.Restorer("default", boundary="circular")(field, scale=2)
    assert np.ptp(published) > 0
