"""What is kept of uploads and results, and what the page offers."""

import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from usrnet.errors import UsrnetError
from usrnet.web import limits
from usrnet.web.page import names_of
from usrnet.web.server import serving, sweep


def written(path: Path, size: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    time.sleep(0.02)  # the next one is younger
    return path


def test_old_files_go(tmp_path, monkeypatch):
    spared, old, used = (written(tmp_path / name / "x.png", 10) for name in ("spared", "old", "used"))
    monkeypatch.setattr(limits, "KEPT_SECONDS", 0.3)
    time.sleep(0.4)
    used.touch()
    sweep(tmp_path, spared={spared})
    assert spared.exists()
    assert used.exists()
    assert not old.exists()
    time.sleep(0.4)
    sweep(tmp_path, spared={spared})
    assert spared.exists()
    assert not used.exists()
    assert not old.parent.exists()  # its folder goes when it is old, too


def test_the_oldest_go_when_there_is_too_much(tmp_path, monkeypatch):
    files = [written(tmp_path / str(number) / "x.png", 400) for number in range(5)]
    monkeypatch.setattr(limits, "FOLDER_BYTES", 1000)
    sweep(tmp_path)
    assert [path.exists() for path in files] == [False, False, False, True, True]


def test_uploads_and_results_are_deleted(start_page, photo, tmp_path):
    page = start_page(KEPT_SECONDS=8, SWEEP_SECONDS=0.5, FOLDER_BYTES=1_500_000)
    examples = page.files()
    assert examples
    paths = [tmp_path / f"{number}.bmp" for number in range(6)]  # of 440 kB each
    for number, path in enumerate(paths):
        Image.fromarray(np.roll(photo, number, 0)).save(path)
    picture = [page.upload(path) for path in paths][-1]
    assert sum(size for path, size in page.files().items() if path not in examples) < 1_500_000 + 450_000

    answer = page.call("restore_all", picture, scale=1)
    assert "event: complete" in answer
    assert "5_x1.png" in answer
    assert any(path.name == "5_x1.png" for path in page.files())
    end = time.monotonic() + 90
    while page.files() != examples:
        assert time.monotonic() < end, "the files are still there"
        time.sleep(0.5)
    answer = page.call("restore_all", picture, scale=1)
    assert "5.bmp: it is no longer here" in answer
    assert str(page.folder) not in answer


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_nothing_is_left_when_a_busy_page_is_told_to_end(start_page, photo, tmp_path, number, code):
    page = start_page()
    Image.fromarray(np.tile(photo, (3, 3, 1))).save(tmp_path / "mine.png")
    page.begin("restore_all", page.upload(tmp_path / "mine.png"), scale=4)
    time.sleep(5)  # so that it is at work
    assert any(path.name == "mine.png" for path in page.files())
    page.process.send_signal(number)
    assert page.process.wait(timeout=60) == code
    assert not list(page.home.glob("usrnet-web-*"))
    assert (page.home / "stderr").read_text() == f"{page.address}/ (Ctrl-C ends it)\nusrnet: stopped\n"


def test_a_taken_port_and_a_foreign_address_are_told_in_our_words():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = (
            f"cannot listen on 127.0.0.1, port {port} (address already in use): choose another with --host and --port"
        )
        with pytest.raises(UsrnetError) as raised, serving(port=port, models=["tv"]):
            pass
        assert str(raised.value) == taken
        with (
            pytest.raises(UsrnetError, match=r"^cannot listen on 192\.0\.2\.1, "),
            serving(host="192.0.2.1", models=["tv"]),
        ):
            pass


def test_models_of_one_name_are_told_apart():
    models = ["default", "a/m.pth", "b/m.pth", "b/other.pth", "/x/b/m.pth", "tv", "mine/tv", "b/m.pth"]
    assert names_of(models) == {
        "default": "default", "a/m.pth": "a/m.pth", "b/m.pth": "b/m.pth", "other.pth": "b/other.pth",
        "x/b/m.pth": "/x/b/m.pth", "tv": "tv", "mine/tv": "mine/tv",
    }  # fmt: skip
