"""Downloads against a real server on this machine: what arrives, what is refused, what is left behind."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from usrnet.errors import UsrnetError, UsrnetWarning
from usrnet.model import CONFIGS, Config, USRNet
from usrnet.weights import cache_dir, describe, download, fetch, load, registry, save

SMALL = Config(n_iter=2, channels=(2, 3, 4, 5), blocks=1, hidden=6)
OTHER = Config(n_iter=3, channels=(2, 3, 4, 5), blocks=1, hidden=6)


class Server:
    """A web server that offers files, can cut its answers short, and counts requests."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut = False
        self.requests: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self.path)
                data = server.files.get(self.path.lstrip("/"))
                if data is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if server.cut else data)

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("USRNET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download, "RETRIES", 0)
    return tmp_path / "home"


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("USRNET_MIRROR", running.url)
    running.files.clear()
    running.requests.clear()
    running.cut = False
    return running


def small_file(folder: Path, config: Config, *, seed: int = 1) -> bytes:
    torch.manual_seed(seed)
    return save(USRNet(config), folder / f"{config.n_iter}-{seed}.pth").read_bytes()


@pytest.fixture
def official(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bytes:
    """A small stand-in for the official files: ``usrnet-tiny`` with a known hash, ``usrnet`` without."""
    data = small_file(tmp_path, SMALL)
    (tmp_path / "reference").write_bytes(data)
    known = download.file_sha256(tmp_path / "reference")
    table = tuple(replace(model, sha256=known if model.name == "usrnet-tiny" else None) for model in registry._FIXED)
    monkeypatch.setattr(registry, "_FIXED", table)
    for name in ("usrnet", "usrnet-tiny"):
        monkeypatch.setitem(CONFIGS, name, SMALL)
    server.files.update({"usrnet_tiny.pth": data, "usrnet.pth": small_file(tmp_path, SMALL, seed=2)})
    return data


def left_behind(home: Path) -> list[str]:
    return [file.name for file in home.rglob("*")] if home.exists() else []


def test_download_once_then_use_the_cache(server: Server, official: bytes, home: Path) -> None:
    model = load("usrnet-tiny")
    assert isinstance(model, USRNet)
    assert model.config == SMALL
    assert (home / "usrnet_tiny.pth").read_bytes() == official
    load("usrnet-tiny")
    assert server.requests == ["/usrnet_tiny.pth"]
    assert left_behind(home) == ["usrnet_tiny.pth"]
    assert describe("usrnet-tiny").where == "cached"


def test_real_official_file_passes_its_check(server: Server, shared: Path) -> None:
    for name in ("usrnet_tiny.pth", "usrgan_tiny.pth"):
        server.files[name] = (shared / "weights" / name).read_bytes()
    for name in ("usrnet-tiny", "usrgan-tiny"):
        assert describe(fetch(name)).published == name


def test_mirror_as_parameter_with_and_without_slash(
    server: Server, official: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("USRNET_MIRROR")
    path = fetch("usrnet-tiny", mirror=server.url + "/")
    path.unlink()
    fetch("usrnet-tiny", mirror=server.url)
    assert server.requests == ["/usrnet_tiny.pth"] * 2


def test_unknown_hash_is_said_once_after_a_strict_check(server: Server, official: bytes, home: Path) -> None:
    with pytest.warns(UsrnetWarning, match="unverified"):
        load("usrnet")
    load("usrnet")  # from the cache: checked again, no further warning
    assert describe("usrnet").published is None


def refused(name: str, home: Path, *parts: str) -> None:
    with pytest.raises(UsrnetError) as caught:
        load(name)
    text = str(caught.value)
    assert "\n" not in text
    file = registry.find(name).file
    assert file
    for part in (*parts, str(home / file), f"/{file} "):
        assert part in text
    assert left_behind(home) == []


def test_wrong_hash(server: Server, official: bytes, home: Path, tmp_path: Path) -> None:
    server.files["usrnet_tiny.pth"] = small_file(tmp_path, OTHER)
    refused("usrnet-tiny", home, "sha256", server.url)


@pytest.mark.parametrize("name", ["usrnet-tiny", "usrnet"])
def test_cut_connection(server: Server, official: bytes, home: Path, name: str) -> None:
    server.cut = True
    refused(name, home, "the connection was cut")


def test_wrong_structure_where_no_hash_is_known(server: Server, official: bytes, home: Path, tmp_path: Path) -> None:
    server.files["usrnet.pth"] = small_file(tmp_path, OTHER)
    refused("usrnet", home, "not the published one")
    server.files["usrnet.pth"] = b"<html>log in first</html>"
    refused("usrnet", home, "not the published one")


def test_file_missing_on_the_server(server: Server, home: Path) -> None:
    refused("usrgan", home, "404")


def test_server_down(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("USRNET_MIRROR", f"http://127.0.0.1:{port}")
    refused("usrnet-tiny", home, "no connection", "by hand")


def test_mirror_that_is_no_address(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("USRNET_MIRROR", "ftp//nowhere")
    refused("usrnet-tiny", home, "not an address")


def test_failure_is_tried_again(server: Server, official: bytes, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "RETRIES", 1)
    monkeypatch.setattr("time.sleep", lambda seconds: setattr(server, "cut", False))
    server.cut = True
    load("usrnet-tiny")
    assert len(server.requests) == 2


def test_cache_that_cannot_be_written(
    server: Server, official: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("USRNET_HOME", str(tmp_path / "file" / "cache"))
    with pytest.raises(UsrnetError, match="cannot write"):
        load("usrnet-tiny")


def test_file_put_by_hand_needs_no_server(official: bytes, home: Path, server: Server) -> None:
    home.mkdir()
    (home / "usrnet_tiny.pth").write_bytes(official)
    load("usrnet-tiny")
    assert server.requests == []


@pytest.mark.parametrize("name", ["usrnet-tiny", "usrnet"])
def test_wrong_file_put_by_hand(name: str, official: bytes, home: Path, tmp_path: Path, server: Server) -> None:
    home.mkdir()
    file = home / f"{name.replace('-', '_')}.pth"
    file.write_bytes(small_file(tmp_path, OTHER))
    for call in (load, describe):
        with pytest.raises(UsrnetError, match="is not the published file"):
            call(name)
    assert file.exists()  # it belongs to the user
    assert server.requests == []


def test_description_downloads_nothing(server: Server, home: Path) -> None:
    info = describe("usrnet")
    assert (info.where, info.path, info.sha256) == ("not downloaded", None, None)
    assert info.parameters == 17_016_016
    assert info.config == CONFIGS["usrnet"]
    assert describe("usrnet-tiny").sha256 == registry.find("usrnet-tiny").sha256
    assert server.requests == []
    assert not home.exists()


def test_parameter_counts_of_the_table_are_those_of_the_networks() -> None:
    for model in registry.downloadable():
        with torch.device("meta"):
            network = USRNet(CONFIGS[model.name])
        assert sum(value.numel() for value in network.parameters()) == model.parameters


def test_several_at_once_get_the_same_whole_file(server: Server, official: bytes, home: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(fetch, ["usrnet-tiny"] * 8))
    assert paths == {home / "usrnet_tiny.pth"}
    assert (home / "usrnet_tiny.pth").read_bytes() == official
    assert left_behind(home) == ["usrnet_tiny.pth"]


def test_nothing_to_download_for_tv() -> None:
    with pytest.raises(UsrnetError, match="nothing to download"):
        fetch("tv")


def test_cache_without_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("USRNET_HOME")
    assert cache_dir().name == "usrnet"
