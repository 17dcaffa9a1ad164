"""A small run: twelve photos, a network that trains in seconds on a CPU."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import skimage.data
import torch
from PIL import Image

from usrnet.train.config import TrainConfig, validate


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from threads, and lose much when other work runs beside the tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee", "chelsea"):
        picture = Image.fromarray(getattr(skimage.data, name)())
        for corner in range(4):
            left, top = 90 * (corner % 2), 80 * (corner // 2)
            picture.crop((left, top, left + 120 + corner, top + 100)).save(folder / f"{name} {corner}.png")
    return folder


@pytest.fixture
def tree(tmp_path: Path, photo_folder: Path) -> dict[str, Any]:
    """The plain data of a small configuration; tests change what they need."""
    return {
        "run": {
            "output": str(tmp_path / "run"), "accelerator": "cpu", "precision": "fp32", "log_every": 1,
            "checkpoint_every": 2,
        },
        "data": {"folders": [str(photo_folder)], "patch": 48, "batch": 4},
        "model": {"n_iter": 2, "channels": [4, 4, 8, 8], "blocks": 1, "hidden": 8},
        "optimiser": {"lr": 1e-3, "clip": 1.0},
        "schedule": {"kind": "cosine", "steps": 6, "warmup": 2},
        "validation": {"every": 3, "photos": 2, "crop": 72, "kernels": ["gaussian:1.2"], "scales": [2], "noise": [0]},
    }  # fmt: skip


@pytest.fixture
def config(tree: dict[str, Any]) -> TrainConfig:
    return validate(tree, "test")
