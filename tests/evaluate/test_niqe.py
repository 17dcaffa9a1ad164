"""NIQE: the fits, what makes it rise, and where it ends."""

import numpy as np
import pytest
from scipy import stats
from scipy.ndimage import gaussian_filter

from usrnet import io
from usrnet.errors import UsrnetError
from usrnet.evaluate.niqe import Naturalness, _fit, _photos, describe, niqe
from usrnet.train.photos import list_photos


@pytest.mark.parametrize("shape", [0.6, 1.0, 2.0, 4.0])
def test_a_generalised_gaussian_is_found_again(shape):
    x = stats.gennorm(shape, scale=1.7).rvs(200_000, random_state=1)
    found, mean, left, right = _fit(x)
    assert found == pytest.approx(shape, rel=0.03)
    assert (left, right) == pytest.approx((1.7, 1.7), rel=0.03)
    assert abs(mean) < 0.1


def test_each_side_of_an_asymmetric_one_has_its_width():
    half = np.abs(stats.gennorm(1.5).rvs(400_000, random_state=2))
    left, right = 0.5, 2.0  # a density that is continuous at 0 has the sides in proportion to their widths
    cut = int(len(half) * left / (left + right))
    shape, mean, *widths = _fit(np.concatenate([-left * half[:cut], right * half[cut:]]))
    assert shape == pytest.approx(1.5, rel=0.05)
    assert widths == pytest.approx([left, right], rel=0.05)
    assert mean > 0


def test_blur_noise_and_a_pattern_make_it_rise(photo):
    start = niqe(photo)
    assert 2 < start < 6
    blurred = gaussian_filter(photo.astype(float), (2, 2, 0))
    noisy = photo + 20 * np.random.default_rng(0).standard_normal(photo.shape)
    woven = photo + 8 * ((np.indices(photo.shape[:2]).sum(axis=0) % 2) * 2 - 1)[..., None]
    for worse in (blurred, noisy, woven):
        assert niqe(worse.clip(0, 255).round().astype(np.uint8)) > start + 1


def test_small_and_flat_images(photo):
    with pytest.raises(UsrnetError, match="needs at least 96×96 pixels, not 95×120"):
        niqe(photo[:95, :120])
    assert np.isnan(niqe(np.full((96, 96, 3), 80, np.uint8)))
    half = photo[:192, :192].copy()
    half[:96] = 0
    assert np.isfinite(niqe(half))


def test_features_are_per_block(photo):
    features, contrast = describe(photo[:200, :300])
    assert features.shape == (6, 36)
    assert contrast.shape == (6,)
    again, _ = describe(photo[:96, :96])
    assert np.allclose(features[0, 1:2], again[0, 1:2], rtol=0.1)  # but for its inner borders the same block


@pytest.mark.slow
def test_the_model_in_the_package_is_that_of_the_training_photos(shared):
    photos = list_photos([str(shared / "data" / "train")], 96).files
    made = Naturalness.of_photos(io.read_rgb(path) for path in photos)
    assert made.mean == pytest.approx(_photos().mean, rel=1e-4, abs=1e-5)
    assert made.covariance == pytest.approx(_photos().covariance, rel=1e-3, abs=1e-5)
