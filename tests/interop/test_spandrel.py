"""spandrel loads our files and the published ones. In an environment with spandrel: make test-interop."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import usrnet
from usrnet.model import CONFIGS, USRNet

spandrel = pytest.importorskip("spandrel")
from usrnet.interop.spandrel import install  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def registry():
    return spandrel.MAIN_REGISTRY.copy()


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_published_file(shared: Path, photo: np.ndarray, scale: int) -> None:
    known = registry()
    install(scale=scale, kernel="gaussian:1.2", noise_level=2.55, registry=known)
    file = shared / "weights" / "usrnet_tiny.pth"
    descriptor = spandrel.ModelLoader(registry=known).load_from_file(file)
    assert isinstance(descriptor, spandrel.ImageModelDescriptor)
    assert descriptor.architecture.id == "USRNet"
    assert descriptor.scale == scale
    small = usrnet.degrade(photo[64:160, 100:212], "gaussian:1.2", scale=scale, noise_level=2.55)
    out = descriptor(torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255)
    ours = usrnet.restore(
        small, model=str(file), scale=scale, kernel="gaussian:1.2", noise_level=2.55, precision="fp32"
    )
    difference = out[0].permute(1, 2, 0).numpy() * 255 - ours
    assert np.abs(difference).max() < 0.51  # ours is rounded to 8 bits


def test_every_size_and_our_own_file(tmp_path: Path) -> None:
    known = registry()
    install(registry=known)
    load = spandrel.ModelLoader(registry=known)
    own = Path(usrnet.__file__).parent / "weights" / "default.safetensors"
    assert load.load_from_file(own).architecture.id == "USRNet"
    full = load.load_from_state_dict(USRNet(CONFIGS["usrnet"]).state_dict())
    assert "channels 64-128-256-512" in full.tags[0]
    each = load.load_from_state_dict(USRNet(replace(CONFIGS["usrnet-tiny"], shared=False)).state_dict())
    assert "weights of its own for every iteration" in each.tags[0]
    with pytest.raises(spandrel.UnsupportedDtypeError):
        full.half()


def test_installing_again_sets_other_settings() -> None:
    known = registry()
    load = spandrel.ModelLoader(registry=known)
    weights = USRNet().state_dict()
    install(scale=4, registry=known)
    first = load.load_from_state_dict(dict(weights))
    install(scale=1, registry=known)
    second = load.load_from_state_dict(dict(weights))
    picture = torch.rand(1, 3, 16, 18)
    assert first(picture).shape == (1, 3, 64, 72)
    assert second(picture).shape == (1, 3, 16, 18)


def test_without_it_spandrel_does_not_know_the_file(shared: Path) -> None:
    with pytest.raises(spandrel.UnsupportedModelError):
        spandrel.ModelLoader(registry=registry()).load_from_file(shared / "weights" / "usrnet_tiny.pth")


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(usrnet.UsrnetError, match="scale 7"):
        install(scale=7, registry=registry())
