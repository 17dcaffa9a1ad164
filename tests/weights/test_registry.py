"""The table of known models: names, honesty about ``default``, no import of torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from usrnet.errors import UsrnetError
from usrnet.weights import registry


def test_names_are_those_of_the_contract() -> None:
    crisp = ("default-gan",) if registry.GAN_FILE.is_file() else ()
    assert registry.names() == ("default", *crisp, "tv", "usrnet", "usrgan", "usrnet-tiny", "usrgan-tiny")
    assert tuple(registry.known_models()) == registry.names()


def test_default_says_that_it_is_tv_without_packaged_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(registry, "DEFAULT_FILE", tmp_path / "default.safetensors")
    assert "tv" in registry.default_model().summary
    assert registry.default_model().parameters == 0


def test_default_is_described_from_the_header_of_the_packaged_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "default.safetensors"
    header = json.dumps(
        {
            "__metadata__": {"description": "small, 600k"},
            "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
            "b": {"dtype": "F32", "shape": [5], "data_offsets": [24, 44]},
        }
    ).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(44))
    monkeypatch.setattr(registry, "DEFAULT_FILE", file)
    assert registry.default_model().parameters == 11
    assert "small, 600k" in registry.default_model().summary


def test_crisp_weights_are_known_where_their_file_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "default-gan.safetensors"
    monkeypatch.setattr(registry, "GAN_FILE", file)
    assert registry.packaged_file("default-gan") is None
    with pytest.raises(UsrnetError, match="there is no model or file 'default-gan'"):
        registry.find("default-gan")
    header = json.dumps({"a": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(12))
    assert registry.packaged_file("default-gan") == file
    assert registry.find("default-gan").parameters == 6
    assert "default-gan" in registry.names()


def test_unknown_name_lists_the_known_ones_and_the_closest() -> None:
    with pytest.raises(UsrnetError, match=r"did you mean 'usrnet-tiny'.*usrgan-tiny"):
        registry.find("usrnet_tiny")


def test_published_hashes_name_their_model() -> None:
    for model in registry.downloadable():
        if model.sha256:
            assert registry.published_as(model.sha256) == model.name
    assert registry.published_as("0" * 64) is None


def test_listing_does_not_import_torch() -> None:
    code = (
        "import sys; from usrnet.cli.models import app, _rows; _rows(); import usrnet.weights;"
        "raise SystemExit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
