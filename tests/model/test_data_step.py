from functools import partial

import numpy as np
import pytest
import torch

from tolerances import TOLERANCE
from usrnet.degradation import Degradation
from usrnet.errors import UsrnetError
from usrnet.model import data_step


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_equals_the_published_code_in_float64(shared, scale, dtype):
    case = np.load(shared / "oracle" / f"data_step_s{scale}.npz")
    x, y, kernel, alpha = (torch.from_numpy(case[name]).to(dtype) for name in ("x", "y", "kernel", "alpha"))
    z = data_step(x, y, kernel, alpha, scale)
    assert np.abs(z.double().numpy() - case["z"]).max() <= TOLERANCE[dtype]


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(5, 7), (4, 6)])
def test_solves_the_normal_equations(scale, size):
    """(AᵀA + αI) z = Aᵀy + αx, with A from the degradation model and not from the data step."""
    rng = torch.Generator().manual_seed(0)
    h, w = size
    y = torch.rand(2, 3, h, w, generator=rng, dtype=torch.float64)
    x = torch.rand(2, 3, scale * h, scale * w, generator=rng, dtype=torch.float64)
    kernel = torch.rand(2, 3, 3, 4, generator=rng, dtype=torch.float64)
    alpha = torch.tensor([1e-3, 0.5], dtype=torch.float64).reshape(2, 1, 1, 1)
    z = data_step(x, y, kernel, alpha, scale)
    A = Degradation(kernel, scale, scale * h, scale * w)
    left, right = A.adjoint(A(z)) + alpha * z, A.adjoint(y) + alpha * x
    assert torch.allclose(left, right, atol=1e-10)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_gradients(scale):
    rng = torch.Generator().manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=rng, dtype=torch.float64).requires_grad_()

    x, y, kernel, alpha = (
        random(1, 2, 4 * scale, 3 * scale),
        random(1, 2, 4, 3),
        random(1, 1, 3, 2),
        random(1, 1, 1, 1),
    )
    assert torch.autograd.gradcheck(partial(data_step, scale=scale), (x, y, kernel, alpha + 0.1))


def test_float32_is_stable_for_small_alpha():
    """At α = 1e-6 the published form loses up to 7e-2 in float32."""
    rng = torch.Generator().manual_seed(2)
    for scale, bound in ((1, 3e-4), (2, 4e-6), (4, 4e-6)):
        x = torch.rand(1, 3, 48, 48, generator=rng, dtype=torch.float64)
        axis = torch.arange(-6, 7, dtype=torch.float64)
        line = torch.exp(-axis.square() / (2 * 1.6**2))
        kernel = (line[:, None] * line / line.sum() ** 2)[None, None]
        y = Degradation(kernel, scale, 48, 48)(x)
        start = y.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
        alpha = torch.full((1, 1, 1, 1), 1e-6, dtype=torch.float64)
        exact = data_step(start, y, kernel, alpha, scale)
        rounded = data_step(start.float(), y.float(), kernel.float(), alpha.float(), scale)
        assert (rounded.double() - exact).abs().max() < bound


def test_kernel_larger_than_the_picture_is_refused():
    x, y, kernel = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 4, 4), torch.rand(1, 1, 9, 9)
    with pytest.raises(UsrnetError, match="9×9 kernel is larger"):
        data_step(x, y, kernel, torch.ones(1, 1, 1, 1), 2)
