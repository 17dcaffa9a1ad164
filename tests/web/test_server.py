"""What is kept of uploads and results."""

import time
from pathlib import Path

import numpy as np
from PIL import Image

from usrnet.web import limits
from usrnet.web.server import sweep


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
