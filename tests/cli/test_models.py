"""``usrnet models``: what it prints, where, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from usrnet.cli.models import app
from usrnet.errors import UsrnetError, UsrnetWarning
from usrnet.model import Config, USRNet
from usrnet.weights import download, registry, save

SMALL = Config(n_iter=2, channels=(2, 3, 4, 5), blocks=1, hidden=6)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("USRNET_HOME", str(home))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("USRNET_MIRROR", "http://127.0.0.1:9")  # the discard port: nothing listens
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(download, "RETRIES", 0)
    return home


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def error(*arguments: str | Path) -> UsrnetError:
    result = run(*arguments)
    assert isinstance(result.exception, UsrnetError), result.output
    return result.exception


def test_list_shows_every_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(registry, "DEFAULT_FILE", tmp_path / "absent.safetensors")
    result = run("list")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert set(lines) == {"name", *registry.names()}
    assert "the same as tv" in lines["default"]
    assert "17,016,016" in lines["usrnet"]
    assert "not downloaded" in lines["usrnet"]


def test_list_as_json_says_where(shared: Path, home: Path) -> None:
    (home / "usrnet_tiny.pth").write_bytes((shared / "weights" / "usrnet_tiny.pth").read_bytes())
    rows = {row["name"]: row for row in json.loads(run("list", "--json").stdout)}
    assert list(rows) == list(registry.names())
    assert rows["usrnet-tiny"]["where"] == "cached"
    assert rows["usrnet-tiny"]["path"] == str(home / "usrnet_tiny.pth")
    assert rows["usrgan-tiny"]["where"] == "not downloaded"
    assert rows["usrgan-tiny"]["path"] is None
    assert rows["tv"]["where"] == "built in"


def test_list_with_packaged_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = save(USRNet(SMALL), tmp_path / "default.safetensors", metadata={"description": "trained here"})
    monkeypatch.setattr(registry, "DEFAULT_FILE", file)
    row = json.loads(run("list", "--json").stdout)[0]
    assert row["where"] == "packaged"
    assert "trained here" in row["what"]
    assert row["parameters"] == sum(value.numel() for value in USRNet(SMALL).parameters())


def test_info_of_a_file(tmp_path: Path) -> None:
    file = save(USRNet(SMALL), tmp_path / "w.safetensors", metadata={"steps": "9"})
    text = run("info", file).stdout
    assert "2 iterations, channels 2-3-4-5, 1 blocks per scale, hidden 6" in text
    assert download.file_sha256(file) in text
    assert "steps" in text
    found = json.loads(run("info", file, "--json").stdout)
    assert found["config"] == {
        "n_iter": 2, "channels": [2, 3, 4, 5], "blocks": 1, "hidden": 6, "carry": False, "shared": True,
    }  # fmt: skip
    assert found["metadata"]["steps"] == "9"
    assert found["path"] == str(file)


def test_a_file_does_not_say_what_it_is_itself(tmp_path: Path) -> None:
    told = {"architecture": "a better one", "sha256": "a better one", "steps": "12"}
    save(USRNet(replace(SMALL, carry=True)), tmp_path / "a.safetensors", metadata=told)
    lines = run("info", tmp_path / "a.safetensors").stdout.splitlines()
    assert any(line.startswith("architecture") and "features carried on" in line for line in lines)
    assert not any("a better one" in line for line in lines)
    assert any(line.split() == ["steps", "12"] for line in lines)


def test_info_of_official_weights(shared: Path) -> None:
    text = run("info", shared / "weights" / "usrgan_tiny.pth").stdout
    assert "590,332" in text
    assert "published file of usrgan-tiny" in text


@pytest.mark.parametrize("name", registry.names())
def test_info_of_every_name_downloads_nothing(name: str, home: Path) -> None:
    result = run("info", name)
    assert result.exit_code == 0
    assert "parameters" in result.stdout
    assert list(home.iterdir()) == []


def test_info_of_nonsense(tmp_path: Path) -> None:
    assert "known names are" in str(error("info", "nonsense"))


def test_download_of_one_that_fails() -> None:
    assert "put it at" in str(error("download", "usrnet-tiny"))


def test_download_of_all_names_each_failure(shared: Path, home: Path) -> None:
    file = home / "usrnet_tiny.pth"
    file.write_bytes((shared / "weights" / "usrnet_tiny.pth").read_bytes())
    result = run("download")
    assert result.exit_code == 1
    assert result.stdout.split() == [str(file)]
    assert result.stderr.count("usrnet: cannot download") == 3


@pytest.mark.parametrize("name", ["tv", "default"])
def test_nothing_to_download(name: str) -> None:
    assert "nothing to download" in str(error("download", name))


def test_convert_both_ways(tmp_path: Path) -> None:
    model = USRNet(SMALL)
    first = save(model, tmp_path / "a.safetensors", metadata={"steps": "9"})
    with pytest.warns(UsrnetWarning, match=r"keeps no metadata \(steps\)"):
        result = run("convert", first, tmp_path / "b.pth")
    assert result.exit_code == 0
    assert result.stdout.strip() == str(tmp_path / "b.pth")
    assert run("convert", tmp_path / "b.pth", tmp_path / "c.safetensors").exit_code == 0
    content = torch.load(tmp_path / "b.pth", weights_only=True)
    assert all(torch.equal(content[name], value) for name, value in model.state_dict().items())


def test_convert_does_not_overwrite(tmp_path: Path) -> None:
    file = save(USRNet(SMALL), tmp_path / "a.safetensors")
    (tmp_path / "b.pth").write_text("mine")
    assert "--overwrite" in str(error("convert", file, tmp_path / "b.pth"))
    assert (tmp_path / "b.pth").read_text() == "mine"
    assert run("convert", file, tmp_path / "b.pth", "--overwrite").exit_code == 0


def test_convert_to_an_unknown_format(tmp_path: Path) -> None:
    file = save(USRNet(SMALL), tmp_path / "a.safetensors")
    assert "the suffix must be one of" in str(error("convert", file, tmp_path / "b.onnx"))


def test_blend_writes_what_lies_between(tmp_path: Path) -> None:
    first, second = (save(USRNet(SMALL), tmp_path / f"{name}.safetensors") for name in "ab")
    result = run("blend", first, second, "--t", "0.25", "-o", tmp_path / "c.safetensors")
    assert result.exit_code == 0, result.output
    found = json.loads(run("info", tmp_path / "c.safetensors", "--json").stdout)
    assert found["metadata"]["description"] == f"0.75 × {first} + 0.25 × {second}"
    assert run("blend", first, second, "-o", tmp_path / "c.pth").exit_code == 0
    assert "--overwrite" in str(error("blend", first, second, "-o", tmp_path / "c.pth"))
    assert "t = 2 is not between" in str(error("blend", first, second, "--t", "2", "-o", tmp_path / "d.pth"))
