"""One running page and one browser for all tests of this folder."""

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

import usrnet


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def _start_page(*options: str) -> tuple[subprocess.Popen, str]:
    """``usrnet web`` in a process of its own, and its address."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "usrnet", "web", "--port", str(port), *options],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            assert process.poll() is None, "the page did not start"
            time.sleep(0.5)
        else:
            return process, address
    process.kill()
    raise AssertionError("the page did not answer")


@pytest.fixture
def start_page():
    return _start_page


@pytest.fixture(scope="session")
def page() -> Iterator[str]:
    process, address = _start_page()
    yield address
    process.terminate()
    process.wait(timeout=30)


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


def save(path, pixels: np.ndarray):
    Image.fromarray(pixels).save(path)
    return path
