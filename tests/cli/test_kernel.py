"""``usrnet kernel`` mends what measured PSFs come with."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner

from usrnet import kernels
from usrnet.cli import app
from usrnet.errors import UsrnetError, UsrnetWarning

PSF = kernels.gaussian(2.0, size=31)


def kernel(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["kernel", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".txt", ".csv", ".tif", ".png"])
def test_any_kind_into_any(tmp_path, suffix):
    np.save(tmp_path / "a.npy", PSF)
    assert "31×31" in kernel(tmp_path / "a.npy", "-o", tmp_path / f"b{suffix}")
    assert np.abs(kernels.load(tmp_path / f"b{suffix}") - PSF).max() < 1e-5


def test_background_center_gamma_and_align(tmp_path):
    bead = np.roll(PSF, (3, 5), (0, 1)) / PSF.max() * 1000 + 100
    np.save(tmp_path / "a.npy", bead)
    kernel(tmp_path / "a.npy", "--background", "auto", "--center", "-o", tmp_path / "b.npy")
    assert np.abs(kernels.load(tmp_path / "b.npy")[8:23, 8:23] - PSF[8:23, 8:23]).max() < 0.02 * PSF.max()
    kernel(tmp_path / "a.npy", "--background", "100", "--center", "-o", tmp_path / "b.npy")
    assert np.abs(kernels.centre_of_mass(kernels.load(tmp_path / "b.npy"))).max() < 0.06
    np.save(tmp_path / "c.npy", (PSF / PSF.max()) ** (1 / 2.2))
    kernel(tmp_path / "c.npy", "--gamma", "2.2", "-o", tmp_path / "d.npy")
    assert np.abs(kernels.load(tmp_path / "d.npy") - PSF).max() < 1e-6
    np.save(tmp_path / "e.npy", PSF)
    kernel(tmp_path / "e.npy", "--align", "--scale", "3", "-o", tmp_path / "f.npy")
    assert kernels.centre_of_mass(kernels.load(tmp_path / "f.npy")) == pytest.approx((-1, -1))


def test_scale_places_what_is_given_by_numbers(tmp_path):
    kernel("gaussian:1.6", "--scale", "4", "-o", tmp_path / "a.npy")
    assert np.allclose(kernels.load(tmp_path / "a.npy"), kernels.gaussian(1.6, scale=4))
    with pytest.raises(UsrnetError, match=r"--center: only for kernel files, and gaussian:1\.6 is none"):
        kernel("gaussian:1.6", "--center", "-o", tmp_path / "a.npy")


@pytest.mark.parametrize(("option", "value"), [("--background", "much"), ("--gamma", "-1")])
def test_wrong_values(tmp_path, option, value):
    np.save(tmp_path / "a.npy", PSF)
    with pytest.raises(UsrnetError, match=value):
        kernel(tmp_path / "a.npy", option, value, "-o", tmp_path / "b.npy")


def test_who_undoes_the_coding_is_not_told_to(tmp_path):
    grey = (255 * (PSF / PSF.max()) ** (1 / 2.2)).round().astype(np.uint8)
    chunk = PngInfo()
    chunk.add(b"gAMA", round(100_000 / 2.2).to_bytes(4, "big"))
    Image.fromarray(grey).save(tmp_path / "a.png", pnginfo=chunk)
    with pytest.warns(UsrnetWarning, match=r"`usrnet kernel --gamma 2\.2` undoes it"):
        kernel(tmp_path / "a.png", "-o", tmp_path / "b.npy")
    kernel(tmp_path / "a.png", "--gamma", "2.2", "-o", tmp_path / "b.npy")  # a warning would be an error
    assert np.abs(kernels.load(tmp_path / "b.npy") - PSF).max() < 1e-4


def test_a_terminal_that_cannot_say_it(tmp_path):
    import os

    command = [sys.executable, "-m", "usrnet", "kernel", "motion:7", "-o", str(tmp_path / "k.png")]
    result = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp437"})
    assert result.returncode == 0, result.stderr
    assert Path(tmp_path / "k.png").exists()
