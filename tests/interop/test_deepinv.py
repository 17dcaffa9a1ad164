"""Our model solves deepinv's problems, whatever border they have. With deepinv there: make test-interop."""

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

import usrnet
from usrnet.degradation import degrade_batch
from usrnet.errors import UsrnetError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of deepinv, about itself
    dinv = pytest.importorskip("deepinv")
    from usrnet.interop.deepinv import USRNetDenoiser, USRNetReconstructor

pytestmark = pytest.mark.filterwarnings("ignore")
SIGMA = 2.55 / 255


@pytest.fixture(scope="module")
def truth(photo: np.ndarray) -> Tensor:
    return torch.from_numpy(photo[64:160, 100:212].copy()).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def reconstruct() -> USRNetReconstructor:
    return USRNetReconstructor("default").eval()


def kernel(spec: str, scale: int = 1, size: int | None = None) -> Tensor:
    taps = usrnet.kernels.parse(spec, scale)
    if size:
        taps = taps[:size, :size] / taps[:size, :size].sum()
    return torch.from_numpy(taps).float()[None, None]


def psnr(x: Tensor, truth: Tensor) -> float:
    assert x.shape == truth.shape
    return float(-10 * (x - truth).square().mean().log10())


@pytest.mark.parametrize("size", [24, 25])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_the_same_operator(truth: Tensor, factor: int, size: int) -> None:
    k = kernel("motion:3", factor, size)
    ours = degrade_batch(truth[..., :96, :108], k, factor)
    x = truth[..., :96, :108]
    theirs = [dinv.physics.Downsampling(img_size=(3, 96, 108), filter=k, factor=factor)(x)]
    if factor == 1:
        theirs += [
            dinv.physics.BlurFFT(img_size=(3, 96, 108), filter=k)(x),
            dinv.physics.Blur(filter=k, padding="circular")(x),
        ]
    for y in theirs:
        torch.testing.assert_close(y, ours, atol=1e-5, rtol=0)


def test_circular_is_the_model_itself(truth: Tensor, reconstruct: USRNetReconstructor) -> None:
    k = kernel("gaussian:1.6", 2)
    physics = dinv.physics.Downsampling(
        img_size=truth.shape[1:], filter=k, factor=2, noise_model=dinv.physics.GaussianNoise(SIGMA)
    )
    y = physics(truth)
    with torch.inference_mode():
        expected = reconstruct.network(y, k, 2, torch.full((1, 1, 1, 1), SIGMA))
        torch.testing.assert_close(reconstruct(y, physics), expected)
    assert psnr(expected, truth) > psnr(physics.A_dagger(y), truth) + 2


@pytest.mark.parametrize("padding", ["valid", "circular", "replicate", "reflect"])
@pytest.mark.parametrize("size", [24, 25])
def test_every_border(truth: Tensor, reconstruct: USRNetReconstructor, padding: str, size: int) -> None:
    physics = dinv.physics.Blur(
        filter=kernel("motion:3", size=size), padding=padding, noise_model=dinv.physics.GaussianNoise(SIGMA)
    )
    y = physics(truth)
    with torch.inference_mode():
        x = reconstruct(y, physics)
    assert x.shape == truth.shape
    inside = (..., slice(16, -16), slice(16, -16))  # where everything that the blur mixed was observed
    assert psnr(x[inside], truth[inside]) > 29.5


def test_decimation_without_border(truth: Tensor, reconstruct: USRNetReconstructor) -> None:
    physics = dinv.physics.Downsampling(
        img_size=truth.shape[1:], filter=kernel("gaussian:1.2", 2), factor=2, padding="valid"
    )
    reconstruct_noiseless = USRNetReconstructor(reconstruct.network, sigma=0.5 / 255)
    with torch.inference_mode():
        x = reconstruct_noiseless(physics(truth), physics)
    inside = (..., slice(16, -16), slice(16, -16))
    assert psnr(x[inside], truth[inside]) > 28


def test_grey_and_batches_with_different_noise(truth: Tensor, reconstruct: USRNetReconstructor) -> None:
    x = truth.mean(dim=1, keepdim=True).repeat(2, 1, 1, 1)
    k = kernel("gaussian:1.2")
    sigma = torch.tensor([0.01, 0.05])
    physics = dinv.physics.Blur(filter=k, padding="circular", noise_model=dinv.physics.GaussianNoise(sigma))
    y = physics(x)
    with torch.inference_mode():
        restored = reconstruct(y, physics)
        alone = USRNetReconstructor(reconstruct.network, sigma=0.05)(y[1:], physics)
        flat = USRNetReconstructor("tv")(y, physics)
        copied = reconstruct(y.expand(-1, 3, -1, -1), physics)
    torch.testing.assert_close(restored[1:], alone, atol=1e-4, rtol=0)
    torch.testing.assert_close(restored, copied.mean(dim=1, keepdim=True), atol=1e-4, rtol=0)
    assert psnr(restored, x) > psnr(flat, x)  # as usrnet.restore, which tells the network more noise in grey pictures
    assert psnr(flat, x) > psnr(y, x) + 1


def test_no_filter_is_no_blur(truth: Tensor, reconstruct: USRNetReconstructor) -> None:
    physics = dinv.physics.Downsampling(img_size=truth.shape[1:], filter=None, factor=2)
    with torch.inference_mode():
        assert USRNetReconstructor(reconstruct.network, sigma=0.01)(physics(truth), physics).shape == truth.shape


def test_gradients_flow(truth: Tensor, reconstruct: USRNetReconstructor) -> None:
    physics = dinv.physics.BlurFFT(img_size=(3, 32, 32), filter=kernel("gaussian:1.2"))
    y = truth[..., :32, :32].clone().requires_grad_()
    USRNetReconstructor(reconstruct.network, sigma=0.01)(y, physics).sum().backward()
    assert y.grad is not None
    assert y.grad.abs().sum() > 0


def test_it_denoises_and_serves_dpir(truth: Tensor) -> None:
    denoise = USRNetDenoiser("default")
    noisy = truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert psnr(denoise(noisy, 0.1), truth) > psnr(noisy, truth) + 9
        assert psnr(denoise(noisy, 0.1), truth) > psnr(USRNetDenoiser("tv")(noisy, 0.1), truth) + 1
        grey = noisy.mean(dim=1, keepdim=True)
        assert denoise(grey, torch.tensor([0.1 / 3**0.5])).shape == grey.shape
    physics = dinv.physics.BlurFFT(
        img_size=tuple(truth.shape[1:]), filter=kernel("gaussian:1.2"), noise_model=dinv.physics.GaussianNoise(SIGMA)
    )
    y = physics(truth)
    with torch.inference_mode():
        x = dinv.optim.DPIR(sigma=SIGMA, denoiser=denoise)(y, physics)
    assert psnr(x, truth) > psnr(y, truth) + 1


def test_what_is_refused(truth: Tensor, reconstruct: USRNetReconstructor) -> None:
    blur = dinv.physics.Blur(filter=kernel("gaussian:1.2"), padding="circular")
    with pytest.raises(UsrnetError, match="noise level is not known"):
        reconstruct(truth, blur)
    with pytest.raises(UsrnetError, match="no filter yet"):
        reconstruct(truth, dinv.physics.Blur())
    with pytest.raises(UsrnetError, match="not Inpainting"):
        reconstruct(truth, dinv.physics.Inpainting(img_size=(3, 96, 112), mask=0.5))
