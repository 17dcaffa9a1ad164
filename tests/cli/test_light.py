"""The options of ``restore`` and ``kernel`` that speak of light, through the real command."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.signal import fftconvolve

from usrnet import kernels


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "usrnet", *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def lamp(tmp_path: Path) -> Path:
    """A dark picture with the blur of a lamp, clipped."""
    scene = np.full((64, 72), 0.1)
    scene[30:33, 34:37] = 8
    blurred = fftconvolve(scene, kernels.disk(4), mode="same")[12:-12, 12:-12]
    picture = (blurred.clip(0, 1) * 255).round().astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "lamp.png")
    return tmp_path / "lamp.png"


def test_every_option_at_once(lamp):
    options = ["--scale", 1, "--model", "tv", "--kernel", "disk:4", "--json", "--overwrite"]
    plain = run("restore", lamp, *options, "-o", lamp.parent / "a.png")
    assert plain.returncode == 0, plain.stderr
    assert json.loads(plain.stdout)["light"] == "stored"
    assert re.search(r"lamp.png: about \d+ pixels are clipped", plain.stderr)
    everything = run(
        "restore", lamp, *options, "-o", lamp.parent / "b.png", "--light", "linear", "--saturation", "off",
        "--noise", "poisson:0.5,1", "--corner-boost", 1.5, "--strength", 50, "--ensemble",
    )  # fmt: skip
    assert everything.returncode == 0, everything.stderr
    record = json.loads(everything.stdout)
    assert (record["light"], record["noise_level"]) == ("linear", "poisson:0.5,1")
    assert "clipped" not in everything.stderr


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--light", "gamma"], "light 'gamma'"),
        (["--saturation", "much"], "saturation 'much'"),
        (["--noise", "poisson:-1,0"], "0 or more"),
        (["--strength", "120"], "strength 120"),
        (["--kernel", "disk:3", "--corner-boost", "9"], "corners"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(lamp, options, text):
    wrong = run("restore", lamp, *options)
    assert wrong.returncode == 2
    assert text in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_a_kernel_from_an_edge(tmp_path):
    y, x = np.mgrid[:80, :80]
    edge = 1 / (1 + np.exp(-(x - 40 + 0.1 * (y - 40)) / 1.2))
    Image.fromarray((40 + 160 * edge).astype(np.uint8)).save(tmp_path / "edge.png")
    made = run("kernel", "--from-edge", "8,8,64,64", tmp_path / "edge.png", "-o", tmp_path / "psf.npy")
    assert made.returncode == 0, made.stderr
    assert "full width at half maximum" in made.stdout
    assert np.load(tmp_path / "psf.npy").sum() == pytest.approx(1)
    wrong = run("kernel", "--from-edge", "8,8", tmp_path / "edge.png", "-o", tmp_path / "psf.npy")
    assert wrong.returncode == 2
    assert "LEFT,TOP,WIDTH,HEIGHT" in wrong.stderr
