import numpy as np
import pytest

import usrnet
from usrnet.errors import UsrnetError
from usrnet.restoration import Restorer, observe
from usrnet.restoration.light import SRGB
from usrnet.restoration.noise import Poisson, deviation, parse_noise


def test_how_noise_is_written():
    assert parse_noise("2.5") == parse_noise(2.5) == 2.5
    assert parse_noise("poisson:0.5,1") == Poisson(0.5, 1)
    assert parse_noise("poisson:0.5") == Poisson(0.5)
    for wrong in (
        "poisson:-1,0",
        "poisson:1,x",
        "poisson:",
        "much",
        -1,
        "nan",
        np.full((3, 3), -1.0),
        np.zeros((2, 2, 3)),
    ):
        with pytest.raises(UsrnetError, match="noise"):
            parse_noise(wrong)


def test_poisson_noise_is_that_of_counts():
    electrons = 200.0
    clean = np.full((64, 64, 1), 0.3)
    counts = np.random.default_rng(0).poisson(clean * electrons) / electrons
    assert deviation(Poisson(255 / electrons), clean, None) == pytest.approx(counts.std(), rel=0.05)


def test_poisson_noise_grows_beyond_white():
    """Floats above full scale are kept: a star that is four times as bright has twice the noise."""
    one, four = (deviation(Poisson(2.0), np.full((32, 32, 1), value), None) for value in (1.0, 4.0))
    assert four == pytest.approx(2 * one)


def test_noise_in_light_follows_the_slope_of_the_curve():
    stored = np.full((32, 32, 3), 0.6)
    light = SRGB.decode(stored + np.random.default_rng(0).normal(0, 3 / 255, stored.shape))
    assert deviation(3.0, stored, SRGB) == pytest.approx(light.std(), rel=0.05)


def test_an_even_map_is_a_number(photo):
    picture = photo[:80, :100]
    restorer = Restorer("default", precision="fp32")
    options = {"scale": 2, "kernel": "gaussian:1", "saturation": "off"}
    even = restorer(picture, noise_level=np.full((80, 100), 4.0), **options).astype(int)
    assert np.abs(even - restorer(picture, noise_level=4.0, **options)).max() <= 1


def test_each_half_is_restored_by_its_own_level(photo):
    sharp = photo[150:270, 100:220]
    sigma = np.full((120, 120), 1.0)
    sigma[:, 60:] = 12
    blurred = usrnet.degrade(sharp, "gaussian:1", scale=1).astype(float)
    noisy = (blurred + sigma[..., None] * np.random.default_rng(0).normal(size=sharp.shape)).clip(0, 255)
    restorer = Restorer("default", precision="fp32")
    uneven, low, high = (
        restorer(noisy.astype(np.uint8), scale=1, kernel="gaussian:1", noise_level=noise, saturation="off").astype(
            float
        )
        for noise in (sigma, 1.0, 12.0)
    )
    left, right = (slice(8, -8), slice(8, 50)), (slice(8, -8), slice(70, -8))
    assert np.abs(uneven - low)[left].mean() < 0.3 * np.abs(low - high)[left].mean()
    assert np.abs(uneven - high)[right].mean() < 0.3 * np.abs(low - high)[right].mean()
    error = [np.square(out - sharp)[8:-8, 8:-8].mean() for out in (uneven, low, high)]
    assert error[0] < min(error[1:])


def test_a_map_of_another_size_is_refused(photo):
    with pytest.raises(UsrnetError, match="map of noise levels"):
        Restorer("tv")(photo, noise_level=np.ones((10, 10)))


def test_tiles_take_their_part_of_the_map(photo):
    sigma = np.linspace(1, 20, 96 * 96).reshape(96, 96)
    whole, pieces = (
        Restorer("tv", tile=tile)(photo[:96, :96], scale=1, kernel="gaussian:1", noise_level=sigma, saturation="off")
        for tile in ("off", 48)
    )
    assert np.abs(whole.astype(int) - pieces).mean() < 1
    assert observe(noise_level=sigma).part(slice(0, 48), slice(48, 96), 96, 96).noise_level.shape == (48, 48)  # pyright: ignore[reportAttributeAccessIssue]
