"""Models on the Hugging Face Hub: folders, and a small hub of our own that speaks its protocol."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch

import usrnet
from usrnet.errors import UsrnetError
from usrnet.model import Config, USRNet

SMALL = Config(n_iter=2, channels=(2, 3, 4, 5), blocks=1, hidden=6)


@pytest.fixture
def model() -> USRNet:
    torch.manual_seed(0)
    return USRNet(SMALL).eval()


def assert_same(one: USRNet, other: USRNet) -> None:
    assert one.config == other.config
    for name, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_a_folder_and_back(model: USRNet, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "mine", name="someone/small", licence="mit", description="For a test.")
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {"model.safetensors", "config.json", "README.md"}
    assert_same(USRNet.from_pretrained(tmp_path / "mine"), model)
    loaded = usrnet.load(tmp_path / "mine")
    assert isinstance(loaded, USRNet)
    assert_same(loaded, model)
    assert json.loads((tmp_path / "mine" / "config.json").read_text())["channels"] == [2, 3, 4, 5]


def test_the_card(model: USRNet, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path, name="someone/small", licence="mit", training="On nothing.", datasets=["none"])
    card = (tmp_path / "README.md").read_text()
    head = card.split("---")[1]
    assert "license: mit" in head
    assert "library_name: usrnet" in head
    assert "pipeline_tag: image-to-image" in head
    assert re.search(r"datasets:\n- none", head)
    assert "# someone/small" in card
    assert "2 iterations, channels 2-3-4-5" in card
    assert 'model="hf:someone/small"' in card
    assert "On nothing." in card
    assert "{{" not in card
    (tmp_path / "README.md").write_text("mine")
    model.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"  # what a person wrote stays


def test_a_published_file_to_the_hub_and_back(shared: Path, tmp_path: Path) -> None:
    published = usrnet.load(shared / "weights" / "usrnet_tiny.pth")
    assert isinstance(published, USRNet)
    published.save_pretrained(tmp_path / "hub")
    usrnet.weights.convert(tmp_path / "hub", tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    expected = torch.load(shared / "weights" / "usrnet_tiny.pth", weights_only=True)
    assert set(back) == set(expected)
    assert all(torch.equal(back[name], value) for name, value in expected.items())


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as uploading and downloading small files takes."""

    repositories: dict[str, dict[str, bytes]]
    protocol_version = "HTTP/1.1"

    def answer(self, content: bytes = b"{}", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            request = json.loads(body)
            name = "/".join(filter(None, (request.get("organization") or "someone", request["name"])))
            self.repositories.setdefault(name, {})
            self.answer(json.dumps({"url": f"http://{self.headers['Host']}/{name}"}).encode())
        elif self.path == "/api/validate-yaml":
            self.answer(json.dumps({"errors": [], "warnings": []}).encode())
        elif "/preupload/" in self.path:
            plain = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self.answer(json.dumps({"files": plain}).encode())
        elif "/commit/" in self.path:
            name = self.path.removeprefix("/api/models/").partition("/commit/")[0]
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.repositories[name][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            url = f"http://{self.headers['Host']}/{name}/commit/{'1' * 40}"
            self.answer(json.dumps({"commitUrl": url, "commitOid": "1" * 40, "pullRequestUrl": None}).encode())
        else:
            self.answer(status=404)

    def do_GET(self) -> None:
        found = re.fullmatch(r"/(\w+/\w+)/resolve/([^/]+)/(.+)", self.path)
        repository = self.repositories.get(found[1]) if found else None
        if not found:
            self.answer(status=404)
        elif repository is None:
            self.answer(status=404, X_Error_Code="RepoNotFound")
        elif found[2] not in ("main", "1" * 40):
            self.answer(status=404, X_Error_Code="RevisionNotFound")
        elif found[3] not in repository:
            self.answer(status=404, X_Error_Code="EntryNotFound", X_Repo_Commit="1" * 40)
        else:
            content = repository[found[3]]
            etag = f'"{hashlib.sha1(content).hexdigest()}"'
            self.answer(content, ETag=etag, X_Repo_Commit="1" * 40)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, dict[str, bytes]]]:
    Hub.repositories = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("NO_PROXY", "*")
    yield Hub.repositories
    server.shutdown()
    server.server_close()


def run(code: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, because huggingface_hub reads its settings once."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_pushed_and_loaded_again(hub: dict[str, dict[str, bytes]], model: USRNet, tmp_path: Path) -> None:
    usrnet.weights.save(model, tmp_path / "small.safetensors")
    code = f"""
import torch, usrnet
model = usrnet.load({str(tmp_path / "small.safetensors")!r})
print(model.push_to_hub("someone/small", token="hf_x", card={{"licence": "mit"}}))
for again in (usrnet.load("hf:someone/small"), usrnet.USRNet.from_pretrained("someone/small"),
              usrnet.load("hf:someone/small@main")):
    assert again.config == model.config
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
print(usrnet.weights.describe("hf:someone/small").where)
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == "cached"
    assert set(hub["someone/small"]) == {"model.safetensors", "config.json", "README.md"}
    assert b"license: mit" in hub["someone/small"]["README.md"]
    Hub.repositories = {}  # gone from the hub, but in the cache
    assert run("import usrnet; usrnet.load('hf:someone/small@main')").returncode == 0


def test_what_the_hub_refuses_is_one_sentence(hub: dict[str, dict[str, bytes]]) -> None:
    hub["someone/empty"] = {"README.md": b""}
    code = """
import usrnet
for name in ("hf:someone/absent", "hf:someone/empty", "hf:someone/empty@v9", "hf:small", "hf:so me/x y"):
    try:
        usrnet.load(name)
    except usrnet.UsrnetError as error:
        print(error)
"""
    done = run(code)
    lines = done.stdout.splitlines()
    assert len(lines) == 5, done.stdout + done.stderr
    for line, words in zip(
        lines,
        ("no such repository", "holds no model.safetensors", "no such revision", "write hf:OWNER/NAME", "not a name"),
        strict=True,
    ):
        assert words in line


@pytest.mark.slow  # it tries again for a while
def test_without_a_network(hub: dict[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nothing listens
    done = run("import usrnet; usrnet.load('hf:someone/small')")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("usrnet.errors.UsrnetError")
    assert "the hub does not answer" in last


def test_what_cannot_be_pushed_is_not_to_be_fetched_by_hand(
    hub: dict[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nothing listens
    done = run("import usrnet; usrnet.load('default').push_to_hub('someone/small', token='hf_x')")
    last = done.stderr.splitlines()[-1]
    assert last.endswith("the hub's 'someone/small': nothing answers, so nothing was pushed: check the connection")


def test_describing_downloads_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsrnetError, match="has not been downloaded yet"):
        usrnet.weights.describe("hf:someone/never")
