"""The example page restores a picture in a real browser, with onnxruntime-web as the package index has it."""

import base64
import io
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image

import usrnet
from usrnet.export import to_onnx

pytestmark = pytest.mark.slow
EXAMPLE = Path(__file__).parents[2] / "examples" / "browser"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("site")
    for name in ("index.html", "restore.js", "package.json"):
        shutil.copy(EXAMPLE / name, folder)
    if (EXAMPLE / "node_modules" / "onnxruntime-web").is_dir():
        (folder / "node_modules").symlink_to(EXAMPLE / "node_modules")
    else:
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm is not installed")
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        if subprocess.run(command, cwd=folder, check=False, capture_output=True, timeout=300).returncode:
            pytest.skip("onnxruntime-web cannot be installed")
    to_onnx("default", folder / "usrnet.onnx", scale=2)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver

    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("no browser is installed: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield made
    made.quit()


def wait_for(browser: Any, words: tuple[str, ...]) -> str:
    end = time.monotonic() + 180
    while True:
        text = browser.find_element("id", "status").text
        if any(word in text for word in words):
            return text
        assert time.monotonic() < end, text
        time.sleep(0.2)


def test_a_picture_in_the_browser(site: str, browser: Any, photo: np.ndarray, tmp_path: Path) -> None:
    small = usrnet.degrade(photo[64:192, 96:216], "gaussian:1.2", scale=2, noise_level=2)
    Image.fromarray(small).save(tmp_path / "small.png")
    browser.get(site)
    assert wait_for(browser, ("Choose", "cannot")) == "Choose a picture."
    browser.find_element("id", "width").clear()
    browser.find_element("id", "width").send_keys("1.2")
    browser.find_element("id", "picture").send_keys(str(tmp_path / "small.png"))
    assert wait_for(browser, ("Done", "cannot")).startswith("Done in ")
    data = browser.execute_script("return document.getElementById('result').toDataURL()")
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))).convert("RGB"))
    ours = usrnet.restore(small, scale=2, kernel="gaussian:1.2", noise_level=2, precision="fp32")
    assert shown.shape == ours.shape == (128, 120, 3)
    difference = np.abs(shown.astype(float) - ours)[12:-12, 12:-12]  # ours knows better what lies beyond the border
    assert difference.max() <= 3
    assert difference.mean() < 0.2


def test_what_is_no_picture_is_said(site: str, browser: Any, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    browser.get(site)
    wait_for(browser, ("Choose",))
    browser.find_element("id", "picture").send_keys(str(tmp_path / "text.png"))
    assert "cannot be restored" in wait_for(browser, ("Done", "cannot"))
