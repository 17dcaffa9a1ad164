"""The packed prior is the same function as the prior it was made from."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

import usrnet
from usrnet.device import computes
from usrnet.model import Unfolding, USRNet
from usrnet.model.usrnet import TINY, Config
from usrnet.model.widening import widened
from usrnet.restoration.packed import PackedResUNet, pack

needs_bf16 = pytest.mark.skipif(not computes("bf16", torch.device("cpu")), reason="this processor has no bfloat16")


@pytest.fixture(scope="module")
def model() -> USRNet:
    loaded = usrnet.load("default").eval()
    assert isinstance(loaded, USRNet)
    return loaded


def prior(network: torch.nn.Module) -> torch.nn.Module:
    """That of the second iteration."""
    assert isinstance(network, Unfolding)
    return network.priors(network.get_submodule("h").n_iter)[1]  # pyright: ignore[reportArgumentType]


DTYPES = [(torch.float32, 1e-5), pytest.param(torch.bfloat16, 0.03, marks=needs_bf16)]


@pytest.mark.parametrize("shape", [(2, 40, 56), (1, 13, 17), (1, 1, 1)])
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_same_result_and_untouched_input(model, shape, dtype, tolerance):
    torch.manual_seed(0)
    n, height, width = shape
    z, beta = torch.rand(n, 3, height, width), 0.3 * torch.rand(n, 1, 1, 1)
    packed = pack(model, dtype)
    assert packed is not None
    assert isinstance(prior(packed), PackedResUNet)
    with torch.inference_mode():
        before = z.clone()
        result = prior(packed)(z, beta)
        assert torch.equal(z, before)
        assert result.dtype == torch.float32
        assert (result - prior(model)(z, beta)).abs().max() < tolerance
        rms = (result - prior(model)(z, beta)).square().mean().sqrt()
        assert rms < tolerance / 5


@pytest.mark.parametrize("height", [128, 137])  # the last band is a whole one, or a row or two
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_bands_of_a_large_picture_join(model, monkeypatch, height, dtype, tolerance):
    torch.manual_seed(0)
    z, beta = torch.rand(2, 3, height, 24), torch.full((2, 1, 1, 1), 0.1)
    monkeypatch.setattr("usrnet.restoration.packed.BAND", 40)
    monkeypatch.setattr("usrnet.restoration.packed.BAND_BYTES", 1)  # 16 rows, the fewest
    packed = pack(model, dtype)
    assert packed is not None
    with torch.inference_mode():
        assert (prior(packed)(z, beta) - prior(model)(z, beta)).abs().max() < tolerance


def test_many_channels_everywhere():
    """As in the full network, whose wide layers are other code than narrow ones."""
    torch.manual_seed(0)
    model = USRNet(Config(n_iter=1, channels=(64, 72, 96, 128), blocks=1, hidden=4)).eval()
    packed = pack(model, torch.float32)
    assert isinstance(packed, Unfolding)
    z, beta = torch.rand(1, 3, 40, 24), torch.full((1, 1, 1, 1), 0.1)
    with torch.inference_mode():
        assert (packed.p(z, beta) - model.p(z, beta)).abs().max() < 1e-5


def test_threads_give_the_same_bytes(model):
    """Eight threads, two packed networks, pictures of several sizes: as one after the other."""
    torch.manual_seed(0)
    networks = [pack(model, torch.float32) for _ in range(2)]
    inputs = [torch.rand(1, 3, 24 + 8 * (index % 5), 40) for index in range(16)]
    beta = torch.full((1, 1, 1, 1), 0.1)

    def through(index: int) -> torch.Tensor:
        network = networks[index % 2]
        assert network is not None
        return prior(network)(inputs[index], beta)

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(through, range(16)))
    assert all(torch.equal(result, through(index)) for index, result in enumerate(together))


@pytest.mark.parametrize("shape", [(2, 24, 40), (1, 13, 17)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_features_carried_from_iteration_to_iteration(model, shape, dtype, tolerance):
    if dtype == torch.bfloat16 and not computes("bf16", torch.device("cpu")):
        pytest.skip("this processor has no bfloat16")
    torch.manual_seed(0)
    plain, carrying = (USRNet(replace(TINY, carry=carry)).eval() for carry in (False, True))
    for network in (plain, carrying):
        network.load_state_dict(model.state_dict(), strict=False)
    carrying.get_parameter("p.m_carry.weight").data.uniform_(-0.04, 0.04)
    packed = pack(carrying, dtype)
    assert packed is not None
    n, height, width = shape
    y, sigma = torch.rand(n, 3, height, width), torch.full((n, 1, 1, 1), 0.05)
    arguments = y, torch.full((1, 1, 5, 5), 0.04), 2, sigma
    with torch.inference_mode():
        expected = carrying(*arguments)
        assert (packed(*arguments) - expected).square().mean().sqrt() < tolerance
        assert (plain(*arguments) - expected).square().mean().sqrt() > 0.05


@pytest.mark.parametrize("carry", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_weights_of_its_own_for_every_iteration(model, carry, dtype, tolerance):
    if dtype == torch.bfloat16 and not computes("bf16", torch.device("cpu")):
        pytest.skip("this processor has no bfloat16")
    torch.manual_seed(0)
    own = widened(model, carry=carry, shared=False)
    for weights in own.p.parameters():
        weights.data.mul_(torch.empty(weights.shape[0], 1, 1, 1).uniform_(0.9, 1.1))
    packed = pack(own, dtype)
    assert packed is not None
    arguments = torch.rand(2, 3, 13, 17), torch.full((1, 1, 5, 5), 0.04), 2, torch.full((2, 1, 1, 1), 0.05)
    with torch.inference_mode():
        expected = own(*arguments)
        assert (packed(*arguments) - expected).square().mean().sqrt() < tolerance
        assert (model(*arguments) - expected).square().mean().sqrt() > 0.05


def test_what_cannot_be_packed():
    assert pack(usrnet.load("tv"), torch.float32) is None
    assert pack(USRNet(TINY).double(), torch.float32) is None
    assert pack(torch.nn.Conv2d(3, 3, 3), torch.float32) is None
    if not computes("bf16", torch.device("cpu")):
        assert pack(USRNet(TINY), torch.bfloat16) is None


@needs_bf16
def test_bf16_costs_almost_nothing(photo):
    """The loss against float32 on a real task stays under a fiftieth of a decibel."""
    from usrnet import metrics

    truth = photo[64:192, 64:192]
    for scale in (1, 2, 3):
        cropped = truth[:126, :126] if scale == 3 else truth
        small = usrnet.degrade(cropped, "gaussian:1.2", scale=scale)
        psnr = [
            metrics.psnr(
                usrnet.restore(
                    small, scale=scale, kernel="gaussian:1.2", noise_level=0, precision=precision
                ), cropped, border=8,
            )
            for precision in ("fp32", "bf16")
        ]  # fmt: skip
        assert psnr[0] - psnr[1] < 0.02
