import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from usrnet import kernels
from usrnet.estimate import covariance


@given(st.floats(0.2, 4), st.floats(0.2, 4), st.floats(0, 180))
def test_the_logarithm_has_an_inverse(along, across, degrees):
    angle = math.radians(degrees)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = rotation @ np.diag([along**2, across**2]) @ rotation.T
    triple = torch.tensor([[matrix[0, 0], matrix[0, 1], matrix[1, 1]]], dtype=torch.float64)
    log = covariance.logarithm(triple)
    values, vectors = np.linalg.eigh(matrix + covariance.FLOOR * np.eye(2))
    expected = vectors @ np.diag(np.log(values)) @ vectors.T
    assert log[0, 0] + log[0, 1] == pytest.approx(expected[0, 0], abs=1e-5)
    assert log[0, 2] == pytest.approx(expected[0, 1], abs=1e-5)
    assert torch.allclose(covariance.exponential(log), triple, atol=1e-5)


def test_no_blur_has_a_logarithm():
    nothing = torch.zeros(1, 3)
    assert covariance.logarithm(nothing).isfinite().all()
    assert covariance.exponential(covariance.logarithm(nothing)).abs().max() < 1e-4


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize(("along", "across", "degrees"), [(2.0, 1.0, 30.0), (1.5, 1.5, 0.0), (3.0, 0.9, 120.0)])
def test_a_kernel_has_the_covariance_it_is_rendered_from(scale, along, across, degrees):
    made = kernels.gaussian(along, across, degrees, scale=scale)
    triple = covariance.moments(made)
    assert covariance.axes(triple)[:2] == pytest.approx((along, across), rel=0.02)
    if along != across:
        assert covariance.axes(triple)[2] == pytest.approx(degrees, abs=0.5)
    again = kernels.parse(covariance.text_of(triple, scale=scale), scale)
    assert np.abs(again - made).max() < 2e-3


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("width", [0.35, 0.5, 0.7])
def test_narrow_blurs_realise_the_width_that_is_asked_for(scale, width):
    made = kernels.parse(covariance.text_of(np.array([width**2, 0, width**2]), scale=scale), scale)
    assert covariance.axes(covariance.moments(made))[0] == pytest.approx(width, abs=0.02)


def test_the_matching_width_of_a_gaussian_is_its_own_and_bicubic_has_one():
    assert covariance.matching_variance(kernels.gaussian(1.5)) == pytest.approx(2.25, rel=0.03)
    widths = [math.sqrt(covariance.matching_variance(kernels.bicubic(s))) for s in (2, 3, 4)]
    assert widths == sorted(widths)
    assert 0.4 < widths[0] < 1
