"""The baseline computes the same as the model, and the table comes out."""

import subprocess
import sys

import pytest
import torch
from PIL import Image

from usrnet.bench import Problem, flops_per_pixel, modes
from usrnet.model import CONFIGS, USRNet
from usrnet.model.reference import published_form

CPU = torch.device("cpu")


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_the_baseline_is_the_same_function(scale):
    torch.manual_seed(0)
    model = USRNet(CONFIGS["usrnet-tiny"]).double()
    y, kernel = torch.rand(1, 3, 16, 24).double(), torch.rand(1, 1, 5, 5).double()
    sigma = torch.full((1, 1, 1, 1), 0.03).double()
    kernel /= kernel.sum()
    with torch.inference_mode():
        expected = model(y, kernel, scale, sigma)
        assert (published_form(model, y, kernel, scale, sigma) - expected).abs().max() < 1e-9


def test_all_modes_give_the_same_picture():
    problem = Problem("usrnet-tiny", 64, CPU)
    with torch.inference_mode():
        published, *others = (problem.runner(mode)() for mode in ("published", *modes(CPU)))
    for mode, restored in zip(modes(CPU), others, strict=True):
        assert (restored - published).abs().max() < (1e-5 if mode == "fp32" else 0.05)


def test_arithmetic_of_the_tiny_model():
    """About 0.73 MFLOP per pixel over six iterations, as counted from the architecture by hand."""
    assert 6 * flops_per_pixel("usrnet-tiny") == pytest.approx(0.73e6, rel=0.03)
    assert 8 * flops_per_pixel("usrnet") == pytest.approx(17.4e6, rel=0.03)


def test_command_line(tmp_path):
    table = tmp_path / "bench.md"
    command = [sys.executable, "-m", "usrnet", "bench", "--side", "64", "--pairs", "2", "--threads", "1", "-o", table]
    command += ["--plot", tmp_path / "bench.png"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == table.read_text("utf-8")
    with Image.open(tmp_path / "bench.png") as plot:
        assert plot.width > plot.height > 300
    assert "| usrnet-tiny | 64×64 | published | 1.00 |" in done.stdout
    assert "| usrnet-tiny | 64×64 | fp32 |" in done.stdout
    command = [sys.executable, "-m", "usrnet", "bench", "--side", "30"]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert failed.returncode == 2
    assert failed.stderr == "usrnet: --side 30: use a multiple of 8 from 32\n"
