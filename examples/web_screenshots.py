"""The screenshots of the page in docs/images, taken with a real browser.

    python examples/web_screenshots.py

Needs chromium and chromedriver, and `pip install 'usrnet[web,dev]'`.
"""

import shutil
import tempfile
import time
from importlib.resources import as_file, files
from io import BytesIO
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By

import usrnet
from usrnet import io
from usrnet.web.server import serving

IMAGES = Path(__file__).parents[1] / "docs" / "images"


def main() -> None:
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium") or ""
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    with (
        as_file(files("usrnet") / "data" / "astronaut.png") as photo,
        tempfile.TemporaryDirectory() as folder,
        serving(port=7877, models=["default", "tv"]) as page,
    ):
        soft = Path(folder) / "soft.png"
        truth = io.read(photo).pixels
        io.write(soft, io.Picture(usrnet.degrade(truth, "gaussian:2.2", scale=2, noise_level=2)[14:-14, 14:-14]))
        driver.set_window_size(1280, 1080)
        driver.get(page.local_url)
        wait_for(driver, "#sharpness input[type=number]")
        set_number(driver, "#sharpness", 2.2)
        driver.find_element(By.CSS_SELECTOR, "#upload input[type=file]").send_keys(str(soft))
        wait_for(driver, "#preview img", 2)
        driver.find_element(By.CSS_SELECTOR, "button#run").click()
        wait_for(driver, "#result img", 2)
        time.sleep(3)
        shoot(driver, IMAGES / "web.png")
        driver.set_window_size(500, 1000)
        driver.execute_script("window.scrollTo(0, 0)")
        time.sleep(2)
        shoot(driver, IMAGES / "web_phone.png")
    driver.quit()


def wait_for(driver: webdriver.Chrome, selector: str, count: int = 1) -> None:
    end = time.monotonic() + 90
    while len(driver.find_elements(By.CSS_SELECTOR, selector)) < count:
        if time.monotonic() > end:
            raise TimeoutError(selector)
        time.sleep(0.2)


def set_number(driver: webdriver.Chrome, selector: str, value: float) -> None:
    field = driver.find_element(By.CSS_SELECTOR, f"{selector} input[type=number]")
    field.clear()
    field.send_keys(f"{value}\n")


def shoot(driver: webdriver.Chrome, path: Path) -> None:
    picture = Image.open(BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    picture.quantize(256).save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    main()
