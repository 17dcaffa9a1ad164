import numpy as np
import pytest
from scipy import ndimage

import usrnet
from usrnet import kernels
from usrnet.errors import UsrnetError
from usrnet.estimate import estimate_parts, shake
from usrnet.estimate.estimator import shaken
from usrnet.restoration import Restorer


def circular(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return np.stack([shake._blur(picture[..., c], kernel) for c in range(picture.shape[2])], -1)


def test_the_kernel_that_leads_from_sharp_to_blurred(photo):
    sharp = photo[:160, 100:260].astype(float) / 255
    kernel = kernels.motion(7)
    found = shake.kernel_step([sharp], [circular(sharp, kernel)])
    assert found.sum() == pytest.approx(1)
    assert found.min() >= 0
    assert shake.correlation(found, kernel) > 0.95


def test_the_kernel_is_not_flipped(photo):
    sharp = photo[:160, 100:260].astype(float) / 255
    kernel = np.zeros((9, 9))
    kernel[4, 4:] = [5, 4, 3, 2, 1]
    kernel[4:, 4] += [0, 1, 1, 0, 0]
    found = shake.kernel_step([sharp], [circular(sharp, kernel / kernel.sum())])
    assert shake.correlation(found, kernel) > 0.95
    assert shake.correlation(found, kernel[::-1, ::-1]) < 0.95


def test_the_pyramid_finds_a_first_kernel(photo):
    sharp = np.asarray(ndimage.zoom(photo.astype(float) / 255, (0.6, 0.6, 1), order=1))
    kernel = kernels.gaussian(2.5, 0.8, 30)
    first = shake.pyramid(circular(sharp, kernel).mean(axis=2), 1 / 255, weight=4e-3)
    assert first.shape == (shake.SIDE, shake.SIDE)
    assert first.sum() == pytest.approx(1)
    assert shake.correlation(first, kernel) > 0.6


def test_an_estimate_says_what_became_of_the_search(photo):
    blurred = usrnet.degrade(photo[:128, 100:260], "motion:7", scale=1, noise_level=2)
    restorer = Restorer("default", tile="off")
    found = usrnet.estimate(blurred, scale=1, shake="try", restorer=restorer)
    assert found.kernel.sum() == pytest.approx(1)
    assert 0 <= found.confidence <= 1
    assert any("shake" in note for note in found.notes)
    small = usrnet.estimate(blurred[:100, :100], scale=1, shake="try", restorer=restorer)
    assert any("too small" in note for note in small.notes)
    with pytest.raises(UsrnetError, match="scale 1"):
        usrnet.estimate(blurred, scale=2, shake="try")


def test_dark_data_are_as_good_as_bright_ones(photo, monkeypatch):
    searched = []

    def nothing(seen, *, noise_level, restore):
        searched.append((seen, noise_level))
        return shake.Shake(kernels.delta(), accepted=False, reason="", residual=0, swing=0, agreement=0)

    monkeypatch.setattr(shake, "find", nothing)
    blurred = usrnet.degrade(photo[:160, 100:260], "motion:7", scale=1, noise_level=4)
    for pixels in (blurred, blurred.astype(np.uint16)):
        shaken(estimate_parts([pixels], scale=1), pixels, Restorer("tv"))
    (bright, level), (dark, dark_level) = searched
    assert np.abs(dark - bright * dark.mean() / bright.mean()).mean() < 0.01
    assert dark_level == pytest.approx(level * dark.mean() / bright.mean(), rel=0.1)


def test_a_shift_does_not_matter_to_the_correlation():
    kernel = kernels.motion(3)
    assert shake.correlation(kernel, np.roll(kernel, (2, -1), (0, 1))) == pytest.approx(1, abs=0.01)
    assert shake.correlation(kernel, kernels.motion(4)) < 0.9
