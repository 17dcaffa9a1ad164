"""The proof that a public clone has: the network, the protocols and the metrics against tests/oracle/public.npz."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from tolerances import TOLERANCE
from usrnet import metrics
from usrnet.evaluate.protocols import PROTOCOLS, Row
from usrnet.model import data_step
from usrnet.restoration.borders import extend
from usrnet.restoration.packed import pack

FOLDER = Path(__file__).with_name("oracle")


@pytest.fixture(scope="module")
def oracle():
    with np.load(FOLDER / "public.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_oracle", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_the_network(oracle, maker, scale, dtype):
    y, kernel, sigma = (torch.from_numpy(oracle[f"s{scale}_{name}"]).to(dtype) for name in ("lr", "kernel", "sigma"))
    with torch.inference_mode():
        out = maker.random_model().to(dtype)(y, kernel, scale, sigma)
    assert np.abs(out.double().numpy() - oracle[f"s{scale}_out"]).max() <= TOLERANCE[dtype]


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_the_data_step(oracle, scale, dtype):
    names = ("lr", "kernel", "alpha")
    y, kernel, alpha = (torch.from_numpy(oracle[f"s{scale}_{name}"]).to(dtype) for name in names)
    start = y.repeat_interleave(scale, -2).repeat_interleave(scale, -1)
    z = data_step(start, y, kernel, alpha, scale)
    assert np.abs(z.double().numpy() - oracle[f"s{scale}_z"]).max() <= TOLERANCE[dtype]


def test_the_network_as_it_is_packed_for_restoring(oracle, maker):
    packed = pack(maker.random_model(), torch.float32)
    assert packed is not None
    y, kernel, sigma = (torch.from_numpy(oracle[f"s2_{name}"]).float() for name in ("lr", "kernel", "sigma"))
    with torch.inference_mode():
        out = packed(y, kernel, 2, sigma)
    assert np.abs(out.double().numpy() - oracle["s2_out"]).max() <= TOLERANCE[torch.float32]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_protocols(oracle, scale):
    row = Row(scale, 1, oracle["taps"][None], 0.0)
    table1, bicubic = (PROTOCOLS[name].degrade(oracle["image"], row) for name in ("table1", "bicubic"))
    assert np.array_equal(table1 * 255, oracle[f"table1_x{scale}"])
    assert np.abs(bicubic - oracle[f"bicubic_x{scale}"]).max() < 1e-12


def test_the_metrics(oracle):
    row = Row(1, 1, oracle["taps"][None], 0.0)
    blurred = (PROTOCOLS["table1"].degrade(oracle["image"], row) * 255).round().astype(np.uint8)
    assert metrics.psnr(oracle["image"], blurred) == pytest.approx(float(oracle["psnr"]), abs=1e-9)
    assert metrics.ssim(oracle["image"], blurred) == pytest.approx(float(oracle["ssim"]), abs=2e-4)


def test_the_border(oracle):
    planes = torch.from_numpy(oracle["image"] / 255).permute(2, 0, 1)
    extended = extend(planes, *oracle["extended"].shape[:2]).permute(1, 2, 0)
    assert np.abs(extended.numpy() - oracle["extended"]).max() < 1e-6


def test_the_oracle_can_be_made_again(oracle, maker):
    made = maker.make()
    assert made.keys() == oracle.keys()
    for name, values in made.items():
        assert np.allclose(values, oracle[name], atol=1e-6), name
