import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tolerances import TOLERANCE
from usrnet.errors import UsrnetError
from usrnet.model import CONFIGS, Config, USRNet, total_variation
from usrnet.model.reference import published_form

FORWARD = ["s1", "s2", "s3", "s3_large_kernel", "s4", "s4_bicubic_kernel", "s4_gan"]


def official(shared, name: str) -> USRNet:
    model = USRNet(CONFIGS["usrnet-tiny"])
    model.load_state_dict(torch.load(shared / "weights" / f"{name}.pth", weights_only=True))
    return model.eval()


@pytest.mark.parametrize("name", FORWARD)
def test_equals_the_published_code_in_float64(shared, name, dtype):
    case = np.load(shared / "oracle" / f"forward_{name}.npz")
    model = official(shared, str(case["weights"])).to(dtype)
    y, kernel, sigma = (torch.from_numpy(case[key]).to(dtype) for key in ("lr", "kernel", "sigma"))
    with torch.inference_mode():
        out = model(y, kernel, int(case["scale"]), sigma)
    assert out.dtype == dtype
    assert np.abs(out.double().numpy() - case["out"]).max() <= TOLERANCE[dtype]


def test_prior_and_hyper_parameters_alone(shared):
    model = official(shared, "usrnet_tiny")
    prior = np.load(shared / "oracle" / "prior_tiny.npz")
    x = torch.from_numpy(prior["x"])
    with torch.inference_mode():
        out = model.p(x[:, :3], x[:, 3:])
    assert np.abs(out.numpy() - prior["out"]).max() <= 1e-5
    hyper = np.load(shared / "oracle" / "hyper_tiny.npz")
    for scale in (1, 2, 3, 4):
        with torch.inference_mode():
            alpha, beta = model.h(torch.from_numpy(hyper["sigma"]), scale)
        both = torch.cat((alpha, beta))[:, :, 0].transpose(0, 1)
        assert np.allclose(both.numpy(), hyper[f"s{scale}"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "file", "count"), [("usrnet", "full", 17_016_016), ("usrnet-tiny", "tiny", 590_332)]
)
def test_state_dict_is_the_published_one(shared, name, file, count):
    model = USRNet(CONFIGS[name])
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert shapes == json.loads((shared / "oracle" / f"state_dict_{file}.json").read_text())
    assert sum(parameter.numel() for parameter in model.parameters()) == count


SMALL = Config(n_iter=2, channels=(4, 4, 4, 4), blocks=1, hidden=4)


def test_features_carried_from_iteration_to_iteration():
    torch.manual_seed(0)
    plain = USRNet(replace(SMALL, n_iter=3))
    carrying = USRNet(replace(SMALL, n_iter=3, carry=True))
    extra = carrying.load_state_dict(plain.state_dict(), strict=False)
    assert extra.missing_keys == ["p.m_carry.weight"]
    arguments = torch.rand(2, 3, 7, 9), torch.full((1, 1, 3, 3), 1 / 9), 2, torch.full((2, 1, 1, 1), 0.05)
    with torch.inference_mode():
        first, *others = zip(plain.iterate(*arguments), carrying.iterate(*arguments), strict=True)
        assert all(torch.equal(a, b) for a, b in zip(*first, strict=True))  # nothing is there yet to be carried
        for (_, a), (_, b) in others:
            assert (a - b).abs().max() > 1e-3
        assert torch.allclose(published_form(carrying, *arguments), carrying(*arguments), atol=1e-4)
        nn.init.zeros_(carrying.get_parameter("p.m_carry.weight"))
        assert torch.equal(plain(*arguments), carrying(*arguments))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 23), st.integers(1, 23), st.sampled_from([1, 2, 3, 4]), st.integers(1, 5), st.integers(1, 5),
    st.sampled_from([1, 3]), st.sampled_from([torch.float32, torch.float64]), st.booleans(),
)  # fmt: skip
def test_any_size_scale_and_kernel(height, width, scale, kh, kw, channels, dtype, classical):
    kh, kw = min(kh, scale * height), min(kw, scale * width)
    rng = torch.Generator().manual_seed(height * 100 + width)
    y = torch.rand(2, 3, height, width, generator=rng, dtype=dtype)
    kernel = torch.rand(2, channels, kh, kw, generator=rng, dtype=dtype) + 0.01
    kernel = kernel / kernel.sum((-2, -1), keepdim=True)
    sigma = torch.tensor([0.0, 0.1], dtype=dtype).reshape(2, 1, 1, 1)
    torch.manual_seed(0)
    model = (total_variation(2) if classical else USRNet(SMALL)).to(dtype)
    out = model(y, kernel, scale, sigma)
    assert out.shape == (2, 3, scale * height, scale * width)
    assert out.dtype == dtype
    assert out.isfinite().all()


def test_batch_equals_one_by_one():
    torch.manual_seed(0)
    model = USRNet(SMALL).double()
    y = torch.rand(3, 3, 9, 8, dtype=torch.float64)
    kernel = torch.rand(3, 3, 5, 4, dtype=torch.float64)
    sigma = torch.tensor([0.0, 0.02, 0.1], dtype=torch.float64).reshape(3, 1, 1, 1)
    together = model(y, kernel, 2, sigma)
    for i in range(3):
        alone = model(y[i : i + 1], kernel[i : i + 1], 2, sigma[i : i + 1])
        assert torch.allclose(together[i : i + 1], alone, atol=1e-12)


def test_gradients_reach_everything():
    torch.manual_seed(0)
    model = USRNet(SMALL)
    y = torch.rand(1, 3, 8, 8, requires_grad=True)
    kernel = torch.rand(1, 1, 3, 3, requires_grad=True)
    sigma = torch.full((1, 1, 1, 1), 0.05, requires_grad=True)
    model(y, kernel, 2, sigma).sum().backward()
    for tensor in (y, kernel, sigma, *model.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("y", "kernel", "scale", "sigma", "text"),
    [
        ((3, 8, 8), (1, 1, 3, 3), 2, (1, 1, 1, 1), "N×3×h×w"),
        ((1, 3, 8, 8), (1, 2, 3, 3), 2, (1, 1, 1, 1), "kernels must be"),
        ((2, 3, 8, 8), (2, 1, 3, 3), 2, (3, 1, 1, 1), "sigma must be"),
        ((1, 3, 8, 8), (1, 1, 3, 3), 0, (1, 1, 1, 1), "scale must be"),
        ((1, 3, 4, 4), (1, 1, 9, 9), 2, (1, 1, 1, 1), "larger than"),
    ],
)
def test_wrong_shapes_are_named(y, kernel, scale, sigma, text):
    with pytest.raises(UsrnetError, match=text):
        USRNet(SMALL)(torch.rand(y), torch.rand(kernel), scale, torch.rand(sigma))


def test_sigma_and_kernel_in_short():
    """A number or N for σ, kh×kw or N×kh×kw for the kernel."""
    torch.manual_seed(0)
    model = USRNet().eval()
    y, kernel = torch.rand(2, 3, 6, 7), torch.rand(2, 5, 5)
    with torch.inference_mode():
        full = model(y, kernel[:, None], 2, torch.tensor([0.01, 0.02]).reshape(2, 1, 1, 1))
        assert torch.equal(model(y, kernel, 2, [0.01, 0.02]), full)
        assert torch.equal(model(y, kernel, np.int64(2), torch.tensor([0.01, 0.02])), full)
        one = model(y, kernel[:1, None].expand(2, -1, -1, -1), 2, torch.full((2, 1, 1, 1), 0.02))
        assert torch.equal(model(y, kernel[0], 2, 0.02), one)
