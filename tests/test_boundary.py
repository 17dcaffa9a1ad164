import numpy as np
import pytest
import torch
from scipy.fft import next_fast_len

from usrnet.boundary import extend, extended_length


def test_equals_the_published_code(shared):
    case = np.load(shared / "oracle" / "boundary_liu_jia.npz")
    image = torch.from_numpy(case["image"]).permute(2, 0, 1)
    extended = extend(image, *case["extended"].shape[:2]).permute(1, 2, 0)
    assert np.abs(extended.numpy() - case["extended"]).max() < 1e-6


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (3, 50), (31, 17)])
def test_any_size_keeps_the_picture_and_stays_in_its_range(size):
    picture = torch.rand(3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    extended = extend(picture, size[0] + 8, size[1] + 15)
    assert extended.shape == (3, size[0] + 8, size[1] + 15)
    assert torch.equal(extended[:, : size[0], : size[1]], picture)
    # Harmonic functions take their extremes on the border.
    assert extended.min() >= picture.min() - 1e-12
    assert extended.max() <= picture.max() + 1e-12


def test_constant_stays_constant():
    extended = extend(torch.full((1, 20, 30), 0.3, dtype=torch.float64), 32, 48)
    assert (extended - 0.3).abs().max() < 1e-12


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel_length", [1, 25, 70])
def test_extended_length(scale, kernel_length):
    for length in (1, 7, 64, 97, 500, 1021):
        extended = extended_length(length, kernel_length, scale)
        assert scale * (extended - length) >= kernel_length
        assert scale * extended % 8 == 0
        assert next_fast_len(scale * extended) == scale * extended
        assert extended <= 1.15 * (length + kernel_length / scale) + 24


def test_fast_lengths_are_those_of_scipy():
    from scipy.fft import next_fast_len

    from usrnet.boundary import _is_fast

    for length in range(1, 1500):
        assert _is_fast(length) == (next_fast_len(length) == length)
