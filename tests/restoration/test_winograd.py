"""Winograd's convolution is a convolution."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from usrnet.restoration import winograd
from usrnet.restoration.winograd import Winograd, matrices


def test_one_dimension_is_exact():
    back, taps, forth = matrices()
    rng = np.random.default_rng(0)
    d, g = rng.random(6), rng.random(3)
    assert np.abs(back @ ((taps @ g) * (forth @ d)) - np.correlate(d, g)).max() < 1e-14


@pytest.mark.parametrize("pieces", [1, 12, winograd.PIECES])
@pytest.mark.parametrize("shape", [(1, 64, 16, 20), (2, 8, 13, 7), (1, 4, 1, 1), (1, 32, 41, 66)])
def test_equals_the_plain_convolution(monkeypatch, shape, pieces):
    monkeypatch.setattr(winograd, "PIECES", pieces)
    torch.manual_seed(0)
    channels = shape[1]
    x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(channels + 2, channels, 3, 3) / (3 * channels**0.5)  # so that the result is about 1 too
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    target = torch.randn(exact.shape).contiguous(memory_format=torch.channels_last)
    convolution = Winograd(weight)
    with torch.inference_mode():
        assert (convolution.relu(x) - exact.relu()).abs().max() < 1e-5
        assert (convolution.add_to(target.clone(), x) - target - exact).abs().max() < 1e-5
        rounding = (F.conv2d(x, weight, padding=1) - exact).square().mean().sqrt()
        assert (convolution.add_to(torch.zeros_like(target), x) - exact).square().mean().sqrt() < 4 * rounding + 1e-7


def test_what_torch_makes_by_default_does_not_matter():
    weight = torch.randn(8, 8, 3, 3)
    x = torch.randn(1, 8, 9, 9).contiguous(memory_format=torch.channels_last)
    winograd._kept.__dict__.clear()
    torch.set_default_dtype(torch.float64)
    try:
        made = Winograd(weight).relu(x)
    finally:
        torch.set_default_dtype(torch.float32)
    assert (made - F.conv2d(x, weight, padding=1).relu()).abs().max() < 1e-4
