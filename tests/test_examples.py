"""What the docs tell people to run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_kernel_figures(tmp_path):
    command = [sys.executable, ROOT / "examples" / "kernel_figures.py", tmp_path, "--frames", "2"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        f"kernels_{name}" for name in ("isotropic.gif", "anisotropic.gif", "motion.gif", "optics.png", "bicubic.png")
    }


def test_gallery(tmp_path):
    subprocess.run([sys.executable, ROOT / "examples" / "gallery.py", tmp_path], check=True, capture_output=True)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"gallery_{name}.jpg" for name in ("scales", "deblurring", "border", "large_kernel")}


@pytest.mark.slow
def test_estimate_figures(tmp_path):
    command = [sys.executable, ROOT / "examples" / "estimate_figures.py", tmp_path, "--model", "tv"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    assert {path.name for path in tmp_path.iterdir()} == {"estimate_failures.jpg"}


@pytest.mark.parametrize("page", ["README.md", "docs/kernels.md", "docs/instruments.md", "docs/phones.md"])
@pytest.mark.filterwarnings("ignore::usrnet.errors.UsrnetWarning")
def test_the_python_on_a_page_runs(page, tmp_path, monkeypatch, shared, photo):
    import numpy as np
    import torch

    import usrnet

    monkeypatch.chdir(tmp_path)
    np.save("beads.npy", np.random.default_rng(0).random((31, 31)))
    names = {
        "image": photo[:48, :48], "lr": torch.rand(1, 3, 9, 9), "kernel": torch.ones(1, 1, 1, 1), "scale": 2,
        "sigma": torch.zeros(1, 1, 1, 1),
    }  # fmt: skip
    load = usrnet.load
    weights = shared / "weights" / "usrnet_tiny.pth"
    monkeypatch.setattr(usrnet, "load", lambda name: load(weights if name == "usrnet-tiny" else name), raising=False)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize(
    "page", sorted(path.relative_to(ROOT).as_posix() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
)
def test_links_and_pictures_are_there(page):
    text = (ROOT / page).read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target
