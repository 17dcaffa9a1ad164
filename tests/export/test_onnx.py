"""The exported file is the network: every scale, odd sizes, kernels of all sizes, batches, both sizes of model."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import usrnet
from usrnet import kernels
from usrnet.cli.export import export
from usrnet.errors import UsrnetError
from usrnet.export import OnnxNetwork, to_onnx, verify
from usrnet.model import CONFIGS, Config, USRNet

TOLERANCE = 1e-4  # the data step amplifies rounding where the blur has erased a frequency
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def default() -> USRNet:
    model = usrnet.load("default")
    assert isinstance(model, USRNet)
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, default: USRNet) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("onnx")
    return {scale: to_onnx(default, folder / f"x{scale}.onnx", scale=scale) for scale in (1, 2, 3, 4)}


@pytest.fixture(scope="module")
def networks(files: dict[int, Path]) -> dict[int, OnnxNetwork]:
    return {scale: OnnxNetwork(path) for scale, path in files.items()}


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_equals_torch(files: dict[int, Path], default: USRNet, scale: int) -> None:
    for difference in verify(default, files[scale]):
        assert difference.largest <= TOLERANCE, difference


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("kernel", "size"),
    [("gaussian:1.2", 11), ("gaussian:3", 25), ("motion:3", 25), ("gaussian:7", 67), ("bicubic", 25)],
)
def test_equals_torch_where_the_blur_erases(
    networks: dict[int, OnnxNetwork], default: USRNet, photo: np.ndarray, kernel: str, size: int, scale: int
) -> None:
    taps = kernels.gaussian(float(kernel[9:]), scale=scale, size=size) if "gauss" in kernel else None
    taps = kernels.parse(kernel, scale) if taps is None else taps
    side = max(29, -(-len(taps) // scale))  # the kernel must fit
    small = usrnet.degrade(photo[100 : 100 + scale * side, 80 : 80 + scale * (side + 2)], taps, scale=scale)
    y = (small.transpose(2, 0, 1)[None] / 255).astype(np.float32)
    k, sigma = taps.astype(np.float32)[None, None], np.zeros((1, 1, 1, 1), np.float32)
    with torch.inference_mode():
        expected = default(torch.from_numpy(y), torch.from_numpy(k), scale, torch.from_numpy(sigma)).numpy()
    assert np.abs(networks[scale](y, k, sigma) - expected).max() <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_the_full_size(tmp_path: Path, scale: int) -> None:
    torch.manual_seed(0)
    model = USRNet(CONFIGS["usrnet"]).eval()
    path = to_onnx(model, tmp_path / "full.onnx", scale=scale)
    for difference in verify(model, path):
        assert difference.largest <= TOLERANCE, difference


def test_features_that_are_carried(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = USRNet(Config(n_iter=3, channels=(4, 6, 8, 8), blocks=1, hidden=8, carry=True)).eval()
    without = USRNet(Config(n_iter=3, channels=(4, 6, 8, 8), blocks=1, hidden=8)).eval()
    without.load_state_dict(model.state_dict(), strict=False)
    path = to_onnx(model, tmp_path / "carry.onnx", scale=2)
    assert max(difference.largest for difference in verify(model, path)) <= TOLERANCE
    assert max(difference.largest for difference in verify(without, path)) > TOLERANCE  # they make a difference


def test_weights_of_its_own_for_every_iteration(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = Config(n_iter=3, channels=(4, 6, 8, 8), blocks=1, hidden=8, carry=True, shared=False)
    path = to_onnx(USRNet(config).eval(), tmp_path / "own.onnx", scale=2)
    names = {weights.name for weights in onnx.load(path).graph.initializer}
    assert {"p.0.m_head.weight", "p.2.m_carry.weight"} <= names
    assert max(difference.largest for difference in verify(USRNet(config).eval(), path)) > TOLERANCE
    torch.manual_seed(0)
    assert max(difference.largest for difference in verify(USRNet(config).eval(), path)) <= TOLERANCE


def test_the_published_weights(shared: Path, tmp_path: Path) -> None:
    path = to_onnx(str(shared / "weights" / "usrnet_tiny.pth"), tmp_path / "tiny.onnx", scale=3)
    network = OnnxNetwork(path)
    assert network.metadata["source"].startswith("KAIR")
    assert network.metadata["model"] == "usrnet_tiny"
    for case in sorted((shared / "oracle").glob("forward_*.npz")):
        with np.load(case) as oracle:
            if int(oracle["scale"]) != 3 or "gan" in str(oracle["weights"]):
                continue
            sigma = oracle["sigma"].reshape(-1, 1, 1, 1)
            assert np.abs(network(oracle["lr"], oracle["kernel"], sigma) - oracle["out"]).max() <= TOLERANCE


def test_one_kernel_and_one_noise_level_serve_a_batch(files: dict[int, Path]) -> None:
    rng = np.random.default_rng(0)
    picture, kernel = rng.random((3, 3, 12, 17), np.float32), rng.random((1, 1, 5, 5), np.float32)
    network = OnnxNetwork(files[2])
    together = network(picture, kernel / kernel.sum(), 0.02)
    np.testing.assert_allclose(network(picture, kernel / kernel.sum(), np.full(3, 0.02)), together, atol=1e-5)
    for index in range(3):
        alone = network(picture[index : index + 1], kernel / kernel.sum(), 0.02)
        np.testing.assert_allclose(together[index : index + 1], alone, atol=1e-5)


@pytest.mark.parametrize(
    ("picture", "kernel", "sigma", "text"),
    [
        ((3, 8, 8), (1, 1, 3, 3), (1, 1, 1, 1), "N×3×h×w"),
        ((1, 1, 8, 8), (1, 1, 3, 3), (1, 1, 1, 1), "three channels"),
        ((1, 3, 8, 8), (3, 3), (1, 1, 1, 1), "kernels must be"),
        ((1, 3, 8, 8), (1, 2, 3, 3), (1, 1, 1, 1), "kernels must be"),
        ((2, 3, 8, 8), (1, 1, 3, 3), (3,), "sigma must be"),
        ((1, 3, 8, 8), (1, 1, 3, 3), (8, 8), "sigma must be"),
        ((1, 3, 8, 8), (1, 1, 3, 3), (1, 1, 8, 8), r"not \(1, 1, 8, 8\): only the model in torch takes a map"),
        ((1, 3, 4, 4), (1, 1, 9, 5), (1, 1, 1, 1), "the 9×5 kernel is larger than the 8×8 grid"),
    ],
)
def test_wrong_shapes_are_named(networks: dict[int, OnnxNetwork], picture, kernel, sigma, text) -> None:
    with pytest.raises(UsrnetError, match=text):
        networks[2](np.zeros(picture), np.zeros(kernel), np.zeros(sigma))


@pytest.mark.parametrize("opset", [18, 20, 23])
def test_opsets(tmp_path: Path, default: USRNet, opset: int) -> None:
    import onnx

    path = to_onnx(default, tmp_path / "o.onnx", scale=2, opset=opset)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import] == [opset]
    assert verify(default, path, cases=((1, 16, 16, 1, 5, 5),))[0].largest <= TOLERANCE


def test_metadata_says_what_it_is(files: dict[int, Path]) -> None:
    network = OnnxNetwork(files[3])
    assert network.scale == 3
    assert network.config["n_iter"] == 6
    assert network.metadata["version"] == usrnet.__version__
    assert "sums to 1" in network.metadata["kernel"]


def test_what_cannot_be_exported(tmp_path: Path, default: USRNet) -> None:
    target = tmp_path / "a.onnx"
    with pytest.raises(UsrnetError, match="only a USRNet can be exported, not 'tv'"):
        to_onnx("tv", target, scale=2)
    with pytest.raises(UsrnetError, match="opset 11 is not offered: choose 18 to 23"):
        to_onnx(default, target, scale=2, opset=11)
    with pytest.raises(UsrnetError, match="scale 5 is not supported"):
        to_onnx(default, target, scale=5)
    with pytest.raises(UsrnetError, match=r"NAME\.onnx"):
        to_onnx(default, tmp_path / "a.pth", scale=2)
    with pytest.raises(UsrnetError, match="there is no folder"):
        to_onnx(default, tmp_path / "absent" / "a.onnx", scale=2)
    assert not list(tmp_path.iterdir())


def test_files_that_are_not_ours(tmp_path: Path, files: dict[int, Path]) -> None:
    import onnx

    with pytest.raises(UsrnetError, match="there is no file"):
        OnnxNetwork(tmp_path / "absent.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(files[2].read_bytes()[:1000])
    with pytest.raises(UsrnetError, match=r"onnxruntime .* cannot open .*broken\.onnx"):
        OnnxNetwork(broken)
    stripped = onnx.load(files[2])
    del stripped.metadata_props[:]
    onnx.save(stripped, tmp_path / "stripped.onnx")
    with pytest.raises(UsrnetError, match="was not written by usrnet export"):
        OnnxNetwork(tmp_path / "stripped.onnx")


def test_the_command(tmp_path: Path) -> None:
    import typer

    app = typer.Typer()
    app.command()(export)
    arguments = ["default", "--scale", "2", "-o", str(tmp_path / "x2.onnx")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "differs from torch by at most" in result.output
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, UsrnetError)
    assert "--overwrite" in str(again.exception)


def test_the_example_needs_neither_torch_nor_usrnet(
    files: dict[int, Path], photo: np.ndarray, tmp_path: Path
) -> None:
    truth = photo[64:192, 96:224]
    small = usrnet.degrade(truth, "gaussian:0.7", scale=2, noise_level=2)
    Image.fromarray(small).save(tmp_path / "small.png")
    script = str(ROOT / "examples" / "onnx_restore.py")
    without = "import sys, runpy; sys.modules |= dict.fromkeys(('torch', 'usrnet')); sys.argv = sys.argv[1:]"
    alone = f"{without}; runpy.run_path({script!r})"
    names = [str(path) for path in (files[2], tmp_path / "small.png", tmp_path / "large.png")]
    subprocess.run([sys.executable, "-c", alone, script, *names], check=True, capture_output=True)
    large = np.asarray(Image.open(tmp_path / "large.png"))
    ours = usrnet.restore(small, scale=2, precision="fp32")
    difference = np.abs(large.astype(float) - ours)[24:-24, 24:-24]  # ours knows better what lies beyond the border
    assert difference.max() <= 2
    assert difference.mean() < 0.1
