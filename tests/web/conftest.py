"""Running pages and one browser for all tests of this folder."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import usrnet


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


# The command itself, with other limits and with a record of every connection that the process asks for.
COMMAND = """
import json, socket, sys
limits, record = json.loads(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
def note(event, arguments):
    if event in ("socket.getaddrinfo", "socket.connect", "socket.sendto"):
        place = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
        print(event, place, file=record)
sys.addaudithook(note)
from usrnet.restoration import restorer
from usrnet.web import limits as ours
for name, value in limits.items():
    (module,) = (one for one in (ours, restorer) if hasattr(one, name))
    setattr(module, name, value)
from usrnet.cli import main
sys.argv[1:] = ["web", *sys.argv[3:]]
main()
"""

CONTROLS = {
    "scale": 2, "width": 1.8, "noise_level": 2, "blur": "soft (Gaussian)", "ratio": 1, "degrees": 0, "seed": 0,
    "kernel_file": None, "model": "default", "kernel_number": 0,
}  # fmt: skip


@dataclass
class Page:
    """``usrnet web`` in a process of its own: its address, its folder for files, and what it connected to."""

    address: str
    process: subprocess.Popen
    home: Path

    @property
    def folder(self) -> Path:
        (folder,) = self.home.glob("usrnet-web-*")
        return folder

    def files(self) -> dict[Path, int]:
        """All files of the page and their sizes."""
        return {path: path.stat().st_size for path in self.folder.rglob("*") if path.is_file()}

    def connections(self) -> str:
        return (self.home / "connections").read_text()

    @contextmanager
    def growth_mb(self) -> Iterator[list[float]]:
        """By how much the memory of the page's process grew meanwhile, at its peak."""
        process, grown = Path(f"/proc/{self.process.pid}"), list[float]()
        if not (process / "clear_refs").exists():
            pytest.skip("the peak of another process can only be read on Linux")

        def peak() -> float:
            return int((process / "status").read_text().split("VmHWM:")[1].split()[0]) / 1024

        (process / "clear_refs").write_text("5")  # forgets the peak
        before = peak()
        yield grown
        grown.append(peak() - before)

    def upload(self, path: Path) -> dict[str, Any]:
        """Upload a file; what stands for it in a request."""
        boundary = "----usrnet"
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{path.name}"\r\n\r\n'
        body = head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        answer = self.post("upload", body, f"multipart/form-data; boundary={boundary}")
        return {"path": json.loads(answer)[0], "meta": {"_type": "gradio.FileData"}}

    def post(self, name: str, body: bytes, kind: str = "application/json") -> str:
        """The answer to a request, whatever its status."""
        request = urllib.request.Request(f"{self.address}/gradio_api/{name}", body, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()

    def begin(self, name: str, *data: Any, **controls: Any) -> str:
        """Call a function of the HTTP interface with the ``CONTROLS`` that are changed; the name of the event."""
        body = {"data": [*data, *(CONTROLS | controls).values()]}
        return json.loads(self.post(f"call/{name}", json.dumps(body).encode()))["event_id"]

    def call(self, name: str, *data: Any, **controls: Any) -> str:
        """What a function of the HTTP interface answers, as text."""
        return self.answer(name, self.begin(name, *data, **controls))

    def answer(self, name: str, event: str) -> str:
        with urllib.request.urlopen(f"{self.address}/gradio_api/call/{name}/{event}") as answer:
            return answer.read().decode()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)


def _start_page(home: Path, *options: str, **limits: float) -> Page:
    port = free_port()
    command = [sys.executable, "-c", COMMAND, json.dumps(limits), str(home / "connections"), "--port", str(port)]
    with (home / "stderr").open("w") as errors:
        process = subprocess.Popen(
            [*command, *options], stdout=subprocess.DEVNULL, stderr=errors, env={**os.environ, "TMPDIR": str(home)}
        )
    page = Page(f"http://127.0.0.1:{port}", process, home)
    for _ in range(480):
        try:
            urllib.request.urlopen(page.address, timeout=5).close()
        except OSError:
            assert process.poll() is None, "the page did not start: " + (home / "stderr").read_text()
            time.sleep(0.5)
        else:
            return page
    process.kill()
    raise AssertionError("the page did not answer")


@pytest.fixture
def start_page(tmp_path_factory) -> Iterator[Callable[..., Page]]:
    """Pages with other options and limits, stopped at the end."""
    started: list[Page] = []

    def start(*options: str, **limits: float) -> Page:
        started.append(_start_page(tmp_path_factory.mktemp("page"), *options, **limits))
        return started[-1]

    yield start
    for page in started:
        page.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Page]:
    page = _start_page(tmp_path_factory.mktemp("page"))
    yield page
    page.stop()


@pytest.fixture(scope="session")
def narrow(tmp_path_factory) -> Iterator[Page]:
    """A page where one job may wait, and whose tiles are small, so that what is stopped stops soon."""
    page = _start_page(tmp_path_factory.mktemp("page"), WAITING=1, LARGEST_TILE=256)
    yield page
    page.stop()


@pytest.fixture(scope="session")
def page(server) -> str:
    """The address of a page that is shared by all tests."""
    return server.address


@pytest.fixture(scope="session")
def picture(tmp_path_factory, photo):
    """A small blurred photo with 16 bits."""
    path = tmp_path_factory.mktemp("picture") / "soft photo.png"
    small = usrnet.degrade(photo, "gaussian:1.8", scale=2, noise_level=2)
    usrnet.io.write(path, usrnet.io.Picture(small.astype(np.uint16) * 257))
    return path


@pytest.fixture(scope="session")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="session")
def browser(downloads):
    from selenium import webdriver

    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("no browser is installed: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument("--window-size=1300,1200")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield made
    made.quit()
