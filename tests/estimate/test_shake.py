import numpy as np
import pytest
from scipy import ndimage

from usrnet import kernels
from usrnet.estimate import shake


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
    sharp = ndimage.zoom(photo[:, :, :].astype(float) / 255, (0.6, 0.6, 1), order=1)
    kernel = kernels.gaussian(2.5, 0.8, 30)
    first = shake.pyramid(circular(sharp, kernel).mean(axis=2), 1 / 255, weight=4e-3)
    assert first.shape == (shake.SIDE, shake.SIDE)
    assert first.sum() == pytest.approx(1)
    assert shake.correlation(first, kernel) > 0.6


def test_a_shift_does_not_matter_to_the_correlation():
    kernel = kernels.motion(3)
    assert shake.correlation(kernel, np.roll(kernel, (2, -1), (0, 1))) == pytest.approx(1, abs=0.01)
    assert shake.correlation(kernel, kernels.motion(4)) < 0.9
