"""The page in a real browser, its HTTP interface, and what strangers may not do."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from usrnet import io, metrics

SOFT = "soft (Gaussian)"

# gradio's client leaves sockets open.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def until(condition, *, seconds: float = 60):
    """The condition's first true value; it may fail while the page is being changed."""
    end = time.monotonic() + seconds
    while True:
        try:
            value = condition()
        except Exception:
            value = None
        if value:
            return value
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.1)


def command_line(*arguments) -> None:
    subprocess.run([sys.executable, "-m", "usrnet", *map(str, arguments)], check=True, capture_output=True)


def test_the_whole_path_in_a_browser(server, page, picture, browser, downloads, tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    def find(selector):
        return browser.find_elements(By.CSS_SELECTOR, selector)

    def sources(selector):
        return [element.get_attribute("src") for element in find(f"{selector} img")]

    browser.get(page)
    until(lambda: find("#upload input[type=file]"))[0].send_keys(str(picture))
    before = until(lambda: len(sources("#preview")) >= 2 and sources("#preview"))
    kernel = until(lambda: sources("#kernel"))

    # With the keyboard: eleven steps of 0.1 on the slider, from 0.7 to 1.8.
    slider = until(lambda: find("#sharpness input[type=range]"))[0]
    slider.send_keys(Keys.ARROW_RIGHT * 11)
    assert until(lambda: "gaussian:1.8" in find("#command")[0].text)
    until(lambda: sources("#kernel") != kernel)
    until(lambda: len(sources("#preview")) >= 2 and sources("#preview")[-1] != before[-1])
    assert "usrnet restore 'soft photo.png' --scale 2 --kernel gaussian:1.8 --noise 2" in find("#command")[0].text

    until(lambda: find("button#run") or find("#run button"))[0].click()
    until(lambda: len(sources("#result")) >= 2, seconds=120)
    find("button#download, #download button")[0].click()
    downloaded = until(lambda: list(downloads.glob("*.png")))[0]
    assert downloaded.name == "soft photo_x2.png"
    command_line(
        "restore", picture, "--scale", 2, "--kernel", "gaussian:1.8", "--noise", 2, "-o", tmp_path / "cli.png"
    )
    assert downloaded.read_bytes() == (tmp_path / "cli.png").read_bytes()
    assert io.read(downloaded).pixels.dtype == np.uint16

    # Clicking moves the frame.
    from selenium.webdriver.common.action_chains import ActionChains

    shown = find("#overview img")[0]
    ActionChains(browser).move_to_element_with_offset(shown, -30, -30).click().perform()
    until(lambda: float(find("#x input[type=number]")[0].get_attribute("value")) < 45)

    assert [line for line in server.connections().splitlines() if "127.0.0.1" not in line] == []
    hosts = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = urllib.parse.urlparse(message["params"]["request"]["url"])
            hosts.add(url.netloc if url.scheme.startswith("http") else "")
    assert hosts <= {"", urllib.parse.urlparse(page).netloc}


def test_find_moves_the_sliders(page, picture, browser):
    from selenium.webdriver.common.by import By

    def find(selector):
        return browser.find_elements(By.CSS_SELECTOR, selector)

    def value(selector):
        return float(find(f"{selector} input[type=number]")[0].get_attribute("value"))

    browser.get(page)
    until(lambda: find("#upload input[type=file]"))[0].send_keys(str(picture))
    until(lambda: len(find("#preview img")) >= 2)
    kernel = until(lambda: find("#kernel img"))[0].get_attribute("src")
    until(lambda: find("button#find, #find button"))[0].click()
    said = until(lambda: find("#found")[0].text)
    assert "confidence" in said
    assert "pixels" in said
    until(lambda: value("#sharpness") != 0.7)
    assert 1.2 < value("#sharpness") < 2.6
    assert 1 <= value("#smoothness") <= 4
    until(lambda: find("#kernel img")[0].get_attribute("src") != kernel)
    until(lambda: "gaussian:" + f"{value('#sharpness'):g}" in find("#command")[0].text)


def test_what_is_wrong_with_a_kernel_is_said_once(page, browser, tmp_path):
    from selenium.webdriver.common.by import By

    def find(selector):
        return browser.find_elements(By.CSS_SELECTOR, selector)

    def upload(path):
        find("#kernel-file input[type=file]")[0].send_keys(str(path))

    broken, odd = tmp_path / "broken.npy", tmp_path / "odd.npy"
    broken.write_bytes(b"\x93NUMPY\x01\x00garbage")
    np.save(odd, np.pad(np.ones((4, 4)) / 16, ((0, 9), (0, 9))))
    browser.get(page)
    until(lambda: "gaussian" in find("#command")[0].text)
    # What fails covers no slider.
    until(lambda: find("button#find, #find button"))[0].click()
    until(lambda: "choose a picture first" in find("body")[0].text)
    assert "error" not in find("#sharpness")[0].text.lower()

    find("#advanced > button")[0].click()
    until(lambda: find("#kernel-file input[type=file]"))
    upload(odd)
    until(lambda: "odd.npy: the centre of mass" in "".join(toast.text for toast in find(".toast-body")))
    until(lambda: "--kernel odd.npy" in find("#command")[0].text)
    # A kernel file that is uploaded is used, and the slider says that it is not.
    assert find("#blur input")[0].get_attribute("value") == "my own kernel file"
    until(lambda: "Not used" in find("#sharpness")[0].text)
    assert not find("#sharpness input[type=range]")[0].is_enabled()

    find("#kernel-file button[aria-label*=lear], #kernel-file button[aria-label*=emove]")[0].click()
    until(lambda: find("#kernel-file input[type=file]"))
    upload(broken)
    until(lambda: "# broken.npy: the kernel cannot be read" in find("#command")[0].text)  # and no older command
    until(lambda: [toast for toast in find(".toast-body") if "broken.npy" in toast.text])
    time.sleep(1)  # as long as a second one would take
    assert "".join(toast.text for toast in find(".toast-body")).count("broken.npy") == 1


def test_nothing_of_another_picture_stays(page, browser, downloads, photo, tmp_path):
    from selenium.webdriver.common.by import By

    def find(selector):
        return browser.find_elements(By.CSS_SELECTOR, selector)

    path = tmp_path / "before.tif"
    io.write(path, io.Picture(photo[:40, :40].astype(np.uint16) * 257))
    browser.get(page)
    until(lambda: find("#upload input[type=file]"))[0].send_keys(str(path))
    until(lambda: len(find("#preview img")) >= 2)
    until(lambda: not find("#upload img")[0].is_displayed())  # browsers cannot show a TIFF
    find("button#run, #run button")[0].click()
    until(lambda: len(find("#result img")) >= 2)
    find("#upload button[title='Remove Image']")[0].click()
    until(lambda: not find("#result img"))
    find("button#download, #download button")[0].click()
    time.sleep(2)
    assert not list(downloads.glob("before*"))


def test_phone(page, picture, browser):
    from selenium.webdriver.common.by import By

    browser.set_window_size(500, 900)  # as narrow as chromium's window gets
    try:
        browser.get(page)
        until(lambda: browser.find_elements(By.CSS_SELECTOR, "#upload input[type=file]"))[0].send_keys(str(picture))
        until(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#preview img")) >= 2)
        assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth + 1")
    finally:
        browser.set_window_size(1300, 1200)


def test_cancel_while_another_picture_is_restored(narrow, picture, browser, photo, tmp_path):
    from selenium.webdriver.common.by import By

    def find(selector):
        return browser.find_elements(By.CSS_SELECTOR, selector)

    large = tmp_path / "large.png"
    Image.fromarray(np.tile(photo, (4, 4, 1))).save(large)
    browser.get(narrow.address)
    until(lambda: find("#upload input[type=file]"))[0].send_keys(str(picture))
    until(lambda: len(find("#preview img")) >= 2)
    other = Client(narrow.address, verbose=False)
    running = other.submit(handle_file(large), scale=4, kernel_file=None, api_name="/restore_all")
    until(lambda: running.status().progress_data)
    try:
        find("button#run, #run button")[0].click()
        until(lambda: "1 before you" in find("#result")[0].text)
        find("button#cancel, #cancel button")[0].click()
        until(lambda: "Stopped." in find("body")[0].text)
        assert not running.done()
    finally:
        other.predict(api_name="/cancel")
    running.result(timeout=120)


def restore_all(client: Client, path: Path, *, scale=2, width=1.8, noise_level=2, model="default") -> Path:
    _, result = client.predict(
        handle_file(path), scale, width, noise_level, SOFT, 1, 0, 0, None, model, api_name="/restore_all"
    )
    return Path(result)


def test_preview_agrees_with_the_whole(page, picture):
    client = Client(page, verbose=False)
    whole = io.read(restore_all(client, picture)).pixels / 257
    _, (_, after) = client.predict(
        handle_file(picture), 30, 60, 2, 1.8, 2, SOFT, 1, 0, 0, None, "default", api_name="/preview"
    )
    preview = np.asarray(Image.open(after).convert("RGB"))
    assert preview.shape == (256, 256, 3)
    top, left = 2 * round(192 * 0.6 - 64), 2 * 0
    part = whole[top : top + 256, left : left + 256].round().astype(np.uint8)
    assert metrics.psnr(preview, part) > 45


def test_twenty_clients_at_once(page, tmp_path, photo):
    path = tmp_path / "photo.png"
    Image.fromarray(photo[:256, :256]).save(path)

    def one(number: int) -> tuple[int, ...]:
        result = restore_all(Client(page, verbose=False), path, scale=1, width=0.5 + 0.05 * number)
        return Image.open(result).size

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(one, range(20))) == [(256, 256)] * 20


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.png", b"not a picture", "not a picture"),
        ("empty.png", b"", "empty"),
        ("cut.png", None, "damaged"),
    ],
)
def test_bad_uploads_get_a_message_and_leave_the_page_up(page, picture, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(picture.read_bytes()[:2000] if content is None else content)
    client = Client(page, verbose=False)
    with pytest.raises(Exception, match=name) as caught:
        restore_all(client, path)
    assert "Traceback" not in str(caught.value)
    assert restore_all(client, picture, scale=1).exists()


def test_wrong_values_get_a_message(page, picture):
    client = Client(page, verbose=False)
    with pytest.raises(Exception, match=r"not offered here|not in the list"):
        restore_all(client, picture, model="/etc/passwd")
    with pytest.raises(Exception, match=r"scale 7|not in the list"):
        restore_all(client, picture, scale=7)


def test_values_of_the_page_and_of_its_examples(server):
    assert "--kernel gaussian:0.7 --noise 2" in server.call("describe", None, width=None)  # a field that is emptied
    assert "--scale 3" in server.call("describe", None, scale="3")  # as "Use via API" writes it


def test_files_of_the_machine_cannot_be_read(page, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    link = tmp_path / "link.png"
    link.symlink_to(secret)
    for target in ("/etc/passwd", secret, link, "../../../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{page}/gradio_api/file={target}")
        assert caught.value.code in (403, 404)
    stolen = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    body = {"data": [stolen, 50, 50, 2, 1, 2, SOFT, 1, 0, 0, None, "default"]}
    request = urllib.request.Request(
        f"{page}/gradio_api/call/preview", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        event = json.loads(urllib.request.urlopen(request).read())["event_id"]
        answer = urllib.request.urlopen(f"{page}/gradio_api/call/preview/{event}").read().decode()
    except urllib.error.HTTPError as error:
        answer = error.read().decode()
    assert "event: complete" not in answer
    assert "secret" not in answer.replace(str(secret), "")


def test_password(picture, start_page):
    address = start_page("--password", "open sesame").address
    with pytest.raises(Exception, match=r"401|Login|login|credentials|auth"):
        restore_all(Client(address, verbose=False), picture)
    with urllib.request.urlopen(address) as answer:
        assert "The user's name is usrnet." in answer.read().decode().replace("\\u0027", "'")
    client = Client(address, auth=("usrnet", "open sesame"), verbose=False)
    assert restore_all(client, picture, scale=1).exists()


@pytest.mark.parametrize("language", ["python", "sh"])
def test_the_examples_of_the_docs(page, picture, tmp_path, language):
    text = (Path(__file__).parents[2] / "docs" / "web.md").read_text("utf-8")
    example = text.split(f"```{language}\n")[1].split("```")[0].replace("http://127.0.0.1:7860", page)
    (tmp_path / "photo.png").write_bytes(picture.read_bytes())
    command = [sys.executable, "-c", example] if language == "python" else ["sh", "-c", example]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "photo_x2.png" in answer
