"""Weight files: what loads, what is refused and how the refusal reads, what is written."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from usrnet.errors import UsrnetError, UsrnetWarning
from usrnet.model import Config, USRNet, total_variation
from usrnet.weights import convert, describe, load, registry, save

SMALL = Config(n_iter=2, channels=(2, 3, 4, 5), blocks=1, hidden=6)

Weights = dict[str, Tensor]


@pytest.fixture
def weights() -> Weights:
    torch.manual_seed(0)
    return {name: torch.randn_like(value) for name, value in USRNet(SMALL).state_dict().items()}


def write(weights: object, path: Path) -> Path:
    if path.suffix == ".safetensors":
        assert isinstance(weights, dict)
        save_file(weights, path)
    else:
        torch.save(weights, path)
    return path


def config_of(model: nn.Module) -> Config:
    assert isinstance(model, USRNet)
    return model.config


def assert_equal(model: nn.Module, weights: Weights) -> None:
    state = model.state_dict()
    assert list(state) == list(weights)
    for name, value in weights.items():
        assert torch.equal(state[name], value.float()), name


def assert_one_sentence(error: BaseException) -> None:
    text = str(error)
    assert "\n" not in text
    assert 20 < len(text) < 600
    assert "Traceback" not in text


# What loads


@pytest.mark.parametrize("name", ["usrnet_tiny.pth", "usrgan_tiny.pth"])
def test_official_files_load_name_for_name(shared: Path, name: str) -> None:
    file = shared / "weights" / name
    model = load(file)
    assert_equal(model, torch.load(file, weights_only=True))
    assert config_of(model) == Config(n_iter=6, channels=(16, 32, 64, 64), blocks=2, hidden=32)
    assert not model.training
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}


def test_official_file_is_recognised(shared: Path) -> None:
    info = describe(shared / "weights" / "usrnet_tiny.pth")
    assert info.parameters == 590_332
    assert info.published == "usrnet-tiny"
    assert info.where == "file"
    assert info.licence == "MIT"
    assert "KAIR" in str(info.source)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".ckpt"])
@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        Config(n_iter=1, channels=(4, 4, 4, 4), blocks=3, hidden=2),
        Config(n_iter=9, channels=(8, 2, 6, 4), blocks=2, hidden=3),
        replace(SMALL, carry=True),
        replace(SMALL, shared=False),
        replace(SMALL, carry=True, shared=False),
    ],
)
def test_architecture_is_read_from_the_shapes(tmp_path: Path, config: Config, suffix: str) -> None:
    model = USRNet(config)
    loaded = load(write(model.state_dict(), tmp_path / f"weights{suffix}"))
    assert config_of(loaded) == config
    assert_equal(loaded, model.state_dict())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_format_is_told_by_the_content_not_the_name(tmp_path: Path, weights: Weights, suffix: str) -> None:
    file = write(weights, tmp_path / f"weights{suffix}")
    assert_equal(load(file.rename(tmp_path / "weights.ckpt")), weights)


def test_files_of_old_torch_load(tmp_path: Path, weights: Weights) -> None:
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_equal(load(str(tmp_path / "old.pth")), weights)


@pytest.mark.parametrize("prefix", ["module.", "model.", "net.module.", "_orig_mod."])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_prefixes_are_dropped(tmp_path: Path, weights: Weights, prefix: str, suffix: str) -> None:
    prefixed = {prefix + name: value for name, value in weights.items()}
    assert_equal(load(write(prefixed, tmp_path / f"w{suffix}")), weights)


WRAPPERS: dict[str, Callable[[Weights], object]] = {
    "params": lambda w: {"params": w},
    "params_ema is better": lambda w: {"params": {k: v + 1 for k, v in w.items()}, "params_ema": w},
    "state_dict beside scalars": lambda w: {
        "epoch": 3,
        "step": torch.tensor(7),
        "state_dict": {f"model.{k}": v for k, v in w.items()},
    },
    "nested": lambda w: {"model": {"state_dict": {f"module.{k}": v for k, v in w.items()}}},
    "empty average": lambda w: {"ema": {}, "model": w},
    "averaged prefix": lambda w: {
        **{f"model.{k}": v + 1 for k, v in w.items()},
        **{f"ema.{k}": v for k, v in w.items()},
    },
    "beside a discriminator": lambda w: {
        "state_dict": {**{f"netG.{k}": v for k, v in w.items()}, "netD.conv.weight": torch.ones(3)}
    },
    "parameters": lambda w: {k: nn.Parameter(v) for k, v in w.items()},
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_wrappers_of_other_programs(tmp_path: Path, weights: Weights, wrap: Callable[[Weights], object]) -> None:
    assert_equal(load(write(wrap(weights), tmp_path / "w.pth")), weights)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_other_float_types_become_float32(tmp_path: Path, weights: Weights, dtype: torch.dtype, suffix: str) -> None:
    stored = {name: value.to(dtype) for name, value in weights.items()}
    assert_equal(load(write(stored, tmp_path / f"w{suffix}")), stored)


def test_loading_leaves_the_random_stream_alone(tmp_path: Path, weights: Weights) -> None:
    file = write(weights, tmp_path / "w.pth")
    before = torch.get_rng_state()
    load(file)
    assert torch.equal(torch.get_rng_state(), before)


def test_loaded_weights_do_not_depend_on_the_file(tmp_path: Path, weights: Weights) -> None:
    file = write(weights, tmp_path / "w.safetensors")
    model = load(file)
    file.write_bytes(bytes(file.stat().st_size))
    assert_equal(model, weights)


def test_folder_with_one_file(tmp_path: Path, weights: Weights) -> None:
    write(weights, tmp_path / "any.pth")
    (tmp_path / "README.md").write_text("not weights")
    assert_equal(load(tmp_path), weights)


def test_folder_prefers_model_safetensors(tmp_path: Path, weights: Weights) -> None:
    write({k: v + 1 for k, v in weights.items()}, tmp_path / "last.pth")
    write(weights, tmp_path / "model.safetensors")
    assert_equal(load(str(tmp_path)), weights)


# What is refused


def test_folder_with_several_or_no_files(tmp_path: Path, weights: Weights) -> None:
    with pytest.raises(UsrnetError, match="holds no weight file"):
        load(tmp_path)
    write(weights, tmp_path / "a.pth")
    write(weights, tmp_path / "b.safetensors")
    with pytest.raises(UsrnetError, match=r"several weight files, a\.pth, b\.safetensors"):
        load(tmp_path)


class RunsCode:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.target}'",)


@pytest.mark.parametrize("form", ["zip", "old torch", "bare pickle", "bare pickle, old protocol"])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_malicious_pickle_does_not_run(tmp_path: Path, weights: Weights, form: str, name: str) -> None:
    trap, file = tmp_path / "ran", tmp_path / name
    content = {**weights, "p.extra": RunsCode(trap)}
    if form.startswith("bare"):
        file.write_bytes(pickle.dumps(RunsCode(trap), protocol=2 if "old" in form else None))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(UsrnetError, match=r"was not opened|truncated or damaged") as caught:
        load(file)
    assert_one_sentence(caught.value)
    if form in ("zip", "old torch"):
        assert "wants to run code (posix.system)" in str(caught.value)
    assert not trap.exists()
    os.system(f"touch '{trap}'")  # the trap works: the command is one that would have been seen
    assert trap.exists()


BROKEN: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "empty": (".pth", lambda data: b"", "is empty"),
    "text": (".pth", lambda data: b"hello, this is text\n", "not a weight file"),
    "web page": (".pth", lambda data: b"<!DOCTYPE html><html></html>", "not a weight file"),
    "one byte": (".pth", lambda data: b"\x80", "damaged"),
    "half of a pth": (".pth", lambda data: data[: len(data) // 2], "damaged"),
    "start of a pth": (".pth", lambda data: data[:100], "damaged"),
    "end of a pth missing": (".pth", lambda data: data[:-10], "damaged"),
    "half of a safetensors": (".safetensors", lambda data: data[: len(data) // 2], "damaged"),
    "header of a safetensors cut": (".safetensors", lambda data: data[:40], "damaged"),
    "last byte of a safetensors missing": (".safetensors", lambda data: data[:-1], "damaged"),
    "json": (".safetensors", lambda data: b'{"a": 1, "b": [2, 3]}', "not a weight file"),
    "header that lies": (".safetensors", lambda data: b"\xff" * 7 + b"\x7f" + data[8:], "damaged"),
}


@pytest.mark.parametrize(("suffix", "damage", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_files(
    tmp_path: Path, weights: Weights, suffix: str, damage: Callable[[bytes], bytes], message: str
) -> None:
    file = write(weights, tmp_path / f"w{suffix}")
    file.write_bytes(damage(file.read_bytes()))
    for call in (load, describe):
        with pytest.raises(UsrnetError, match=message) as caught:
            call(file)
        assert_one_sentence(caught.value)
        assert str(file) in str(caught.value)


def test_half_of_an_old_torch_file(tmp_path: Path, weights: Weights) -> None:
    file = tmp_path / "old.pth"
    torch.save(weights, file, _use_new_zipfile_serialization=False)
    data = file.read_bytes()
    for size in (10, 200, len(data) // 2, len(data) - 3):
        file.write_bytes(data[:size])
        with pytest.raises(UsrnetError, match="damaged") as caught:
            load(file)
        assert_one_sentence(caught.value)


def without(name: str) -> Callable[[Weights], object]:
    return lambda w: {key: value for key, value in w.items() if key != name}


def replaced(name: str, value: Tensor) -> Callable[[Weights], object]:
    return lambda w: {**w, name: value}


WRONG: dict[str, tuple[Callable[[Weights], object], str]] = {
    "another network": (
        lambda w: {"conv1.weight": torch.ones(3), "fc.bias": torch.ones(2)},
        r"another network.*p\.m_head\.weight.*conv1\.weight, fc\.bias",
    ),
    "no tensors": (lambda w: {"epoch": 3, "lr": 0.1}, r"holds no weights.*epoch, lr"),
    "a list": (lambda w: [1, 2], "holds no weights"),
    "a tensor": (lambda w: torch.ones(3), "holds no weights"),
    "an empty dict": (lambda w: {}, "holds no weights"),
    "head missing": (without("p.m_head.weight"), r"p\.m_head\.weight is missing"),
    "mlp missing": (without("h.mlp.4.weight"), r"h\.mlp\.4\.weight is missing"),
    "bias missing": (without("h.mlp.2.bias"), r"lacks h\.mlp\.2\.bias"),
    "up missing": (without("p.m_up2.0.weight"), r"p\.m_up2\.0\.weight is missing"),
    "a convolution missing": (without("p.m_down2.0.res.2.weight"), r"lacks p\.m_down2\.0\.res\.2\.weight"),
    "unknown tensor": (replaced("p.m_body.0.res.2.bias", torch.ones(5)), r"has p\.m_body\.0\.res\.2\.bias"),
    "odd rows": (replaced("h.mlp.4.weight", torch.ones(5, 6, 1, 1)), "5 rows, expected an even number"),
    "head flat": (replaced("p.m_head.weight", torch.ones(2)), "expected 4 sizes"),
    "no rows": (replaced("h.mlp.4.weight", torch.ones(0, 6, 1, 1)), "expected 4 sizes above 0"),
    "grey network": (
        replaced("p.m_head.weight", torch.ones(2, 2, 3, 3)),
        r"p\.m_head\.weight \(2×2×3×3, expected 2×4×3×3\)",
    ),
    "tail of another width": (
        replaced("p.m_tail.weight", torch.ones(3, 9, 3, 3)),
        r"p\.m_tail\.weight \(3×9",
    ),
    "nan": (
        replaced("p.m_tail.weight", torch.full((3, 2, 3, 3), float("nan"))),
        r"not finite.*p\.m_tail\.weight",
    ),
    "inf": (replaced("h.mlp.0.bias", torch.full((6,), float("inf"))), r"not finite.*h\.mlp\.0\.bias"),
    "too large for float32": (
        replaced("h.mlp.0.bias", torch.full((6,), 1e300, dtype=torch.float64)),
        "not finite",
    ),
    "integers": (
        replaced("h.mlp.0.bias", torch.ones(6, dtype=torch.int8)),
        r"h\.mlp\.0\.bias \(torch\.int8\)",
    ),
    "two models": (
        lambda w: {f"{prefix}.{k}": v for prefix in "ab" for k, v in w.items()},
        r"several models, under 'a\.', 'b\.'",
    ),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_content_is_named(
    tmp_path: Path, weights: Weights, change: Callable[[Weights], object], message: str
) -> None:
    file = write(change(weights), tmp_path / "w.pth")
    with pytest.raises(UsrnetError, match=message) as caught:
        load(file)
    assert_one_sentence(caught.value)


def test_a_pickle_that_contains_itself(tmp_path: Path) -> None:
    loop: dict[str, object] = {}
    loop["model"] = loop
    with pytest.raises(UsrnetError, match="holds no weights"):
        load(write(loop, tmp_path / "w.pth"))


@pytest.mark.parametrize("name", ["missing.pth", "missing/model", "missing.safetensors"])
def test_missing_paths(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsrnetError, match="there is no file or folder"):
        load(str(tmp_path / name))


def test_neither_name_nor_path() -> None:
    with pytest.raises(UsrnetError, match=r"no model or file 'usrnet_tiny'.*did you mean 'usrnet-tiny'"):
        load("usrnet_tiny")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads every file")
def test_unreadable_file(tmp_path: Path, weights: Weights) -> None:
    file = write(weights, tmp_path / "w.pth")
    file.chmod(0)
    with pytest.raises(UsrnetError, match="Permission denied"):
        load(file)


# Names without downloads


def test_tv_needs_no_weights() -> None:
    model = load("tv")
    assert not model.training
    info = describe("tv")
    assert (info.where, info.path, info.config) == ("built in", None, None)
    assert info.as_dict()["architecture"] == "unfolding without learned weights"
    assert sum(value.numel() for value in model.parameters()) == info.parameters == 0


def test_default_without_packaged_weights_is_tv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(registry, "DEFAULT_FILE", tmp_path / "default.safetensors")
    assert not isinstance(load("default"), USRNet)
    assert describe("default").where == "built in"


def test_default_with_packaged_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: Weights) -> None:
    monkeypatch.setattr(registry, "DEFAULT_FILE", write(weights, tmp_path / "default.safetensors"))
    assert_equal(load("default"), weights)
    assert describe("default").where == "packaged"
    assert describe("default").parameters == registry.default_model().parameters


def test_a_path_called_like_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: Weights) -> None:
    write(weights, tmp_path / "w.pth").rename(tmp_path / "tv")
    monkeypatch.chdir(tmp_path)
    assert not isinstance(load("tv"), USRNet)
    assert_equal(load("./tv"), weights)
    assert_equal(load(Path("tv")), weights)


# What is written


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_save_and_load(tmp_path: Path, suffix: str) -> None:
    model = USRNet(SMALL)
    file = save(model, tmp_path / f"w{suffix}")
    assert_equal(load(file), model.state_dict())
    assert list(tmp_path.iterdir()) == [file]


def test_metadata_of_safetensors(tmp_path: Path) -> None:
    file = save(USRNet(SMALL), tmp_path / "w.safetensors", metadata={"description": "σ up to 25", "steps": "9"})
    info = describe(file)
    assert dict(info.metadata) == {"format": "pt", "description": "σ up to 25", "steps": "9"}
    assert info.config == SMALL
    assert info.as_dict()["config"]["channels"] == (2, 3, 4, 5)


def test_metadata_of_pth_is_lost_aloud(tmp_path: Path) -> None:
    with pytest.warns(UsrnetWarning, match="keeps no metadata"):
        save(USRNet(SMALL), tmp_path / "w.pth", metadata={"steps": "9"})


def test_saved_pth_is_a_plain_state_dict(tmp_path: Path) -> None:
    model = USRNet(SMALL)
    content = torch.load(save(model, tmp_path / "w.pth"), weights_only=True)
    assert list(content) == list(model.state_dict())


def test_save_refuses(tmp_path: Path) -> None:
    model = USRNet(SMALL)
    with pytest.raises(UsrnetError, match="only a USRNet"):
        save(total_variation(), tmp_path / "w.pth")
    with pytest.raises(UsrnetError, match="the suffix must be one of"):
        save(model, tmp_path / "w.onnx")
    with pytest.raises(UsrnetError, match="there is no folder"):
        save(model, tmp_path / "missing" / "w.pth")
    (tmp_path / "w.pth").write_text("mine")
    with pytest.raises(UsrnetError, match="exists already"):
        save(model, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_text() == "mine"
    assert_equal(load(save(model, tmp_path / "w.pth", overwrite=True)), model.state_dict())


def test_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(USRNet(SMALL), tmp_path / "w.pth")
    before = file.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsrnetError, match="No space left"):
        save(USRNet(SMALL), file, overwrite=True)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_conversion_is_bit_equal_both_ways(tmp_path: Path, weights: Weights, dtype: torch.dtype) -> None:
    weights = {name: value.to(dtype) for name, value in weights.items()}
    first = write(weights, tmp_path / "a.pth")
    middle = convert(first, tmp_path / "b.safetensors")
    last = convert(middle, tmp_path / "c.pth")
    for loaded in (load_file(middle), torch.load(last, weights_only=True)):
        assert set(loaded) == set(weights)
        for name, value in weights.items():
            assert loaded[name].dtype == dtype
            assert torch.equal(loaded[name], value)


def test_conversion_of_official_weights(tmp_path: Path, shared: Path) -> None:
    source = shared / "weights" / "usrgan_tiny.pth"
    back = convert(convert(source, tmp_path / "a.safetensors"), tmp_path / "b.pth")
    assert_equal(load(back), torch.load(source, weights_only=True))


def test_tensors_that_share_memory_can_be_saved(tmp_path: Path, weights: Weights) -> None:
    shared_memory = torch.randn(2, 6)
    weights["h.mlp.0.bias"], weights["h.mlp.2.bias"] = shared_memory[0], shared_memory[0]
    weights["p.m_tail.weight"] = torch.randn(3, 3, 2, 3).permute(0, 2, 1, 3)
    file = convert(write(weights, tmp_path / "w.pth"), tmp_path / "w.safetensors")
    assert_equal(load(file), dict(weights))


def test_weights_that_the_published_code_cannot_load_say_so(tmp_path: Path, weights: Weights) -> None:
    for beyond in ({"carry": True}, {"shared": False}):
        state = USRNet(replace(SMALL, **beyond)).state_dict()
        ours = describe(write(state, tmp_path / f"{[*beyond]}.safetensors"))
        assert "not in the published code" in ours.architecture
    published = describe(write(weights, tmp_path / "published.safetensors"))
    assert "published code" not in published.architecture


def test_description_of_a_model_in_memory() -> None:
    info = describe(USRNet(SMALL))
    assert (info.name, info.where, info.config, info.path) == ("USRNet", "memory", SMALL, None)
    assert info.parameters == sum(value.numel() for value in USRNet(SMALL).parameters())


def test_saving_as_documented_in_a_fresh_interpreter(tmp_path):
    code = f"import usrnet; usrnet.weights.save(usrnet.load('default'), {str(tmp_path / 'mine.safetensors')!r})"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert isinstance(load(tmp_path / "mine.safetensors"), USRNet)


def test_a_header_whose_length_begins_like_a_pickle(tmp_path):
    """The first byte of a safetensors file is that of its header's length, and may be any multiple of 8."""
    model, path = USRNet(Config(n_iter=1, channels=(2, 2, 2, 2), blocks=1, hidden=2)), tmp_path / "a.safetensors"
    for length in range(0, 256, 8):
        save(model, path, metadata={"note": "x" * length}, overwrite=True)
        if path.read_bytes()[:1] == b"\x80":
            assert isinstance(load(path), USRNet)
            return
    raise AssertionError("no header of that length was made")
