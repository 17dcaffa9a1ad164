"""What the page does, without the page."""

import threading

import numpy as np
import pytest

from usrnet import io, kernels
from usrnet.errors import UsrnetError
from usrnet.web import actions
from usrnet.web.actions import BICUBIC, FILE, SHAKE, Settings


def test_kernel_texts_are_those_of_the_command_line():
    assert Settings(width=1.6).kernel() == "gaussian:1.6"
    assert Settings(width=2, ratio=0.25, degrees=30).kernel() == "gaussian:2,0.5,30"
    assert Settings(blur=SHAKE, seed=7).kernel() == "motion:7"
    assert Settings(blur=BICUBIC).kernel() == "bicubic"
    for settings in (Settings(width=2, ratio=0.25, degrees=30), Settings(blur=SHAKE, seed=7), Settings(blur=BICUBIC)):
        kernels.parse(settings.kernel(), settings.scale)
    with pytest.raises(UsrnetError, match="upload the kernel file"):
        Settings(blur=FILE).kernel()
    with pytest.raises(UsrnetError, match="not known"):
        Settings(blur="/etc/passwd").kernel()


def test_command_is_quoted():
    command = Settings(scale=3, width=1, noise_level=2.5, model="tv").command("it's mine.jpg")
    assert command == """usrnet restore 'it'"'"'s mine.jpg' --scale 3 --kernel gaussian:1 --noise 2.5 --model tv"""


def test_frame_stays_inside():
    assert actions.crop_of(500, 300, 0, 0) == (0, 0, 128, 128)
    assert actions.crop_of(500, 300, 100, 100) == (372, 172, 128, 128)
    assert actions.crop_of(50, 300, 50, 50) == (0, 86, 50, 128)


@pytest.mark.parametrize("shape", [(40, 30), (300, 200, 3), (64, 64, 4)])
def test_pictures_of_every_kind(tmp_path, shape):
    rng = np.random.default_rng(0)
    path = tmp_path / "p.png"
    io.write(path, io.Picture(rng.integers(0, 65535, shape, np.uint16)))
    before, after = actions.preview(str(path), Settings(scale=3, model="tv"), 10, 90)
    assert before.shape == after.shape
    assert before.dtype == after.dtype == np.uint8
    assert actions.overview(str(path), 10, 90).shape == (*shape[:2], 3)


def test_stopping_leaves_nothing(tmp_path, photo):
    path, folder = tmp_path / "p.png", tmp_path / "out"
    io.write(path, io.Picture(photo))
    folder.mkdir()
    stop = threading.Event()
    stop.set()
    with pytest.raises(actions.Stopped):
        actions.restore_all(str(path), Settings(), folder, stop=stop, progress=lambda done, total: None)
    assert list(folder.iterdir()) == []


def test_too_large_pictures_are_refused(tmp_path, photo, monkeypatch):
    path = tmp_path / "p.png"
    io.write(path, io.Picture(photo))
    monkeypatch.setattr(actions, "MAX_PIXELS", 1000)
    with pytest.raises(UsrnetError, match="384×384 pixels are more than the limit"):
        actions.restore_all(str(path), Settings(), tmp_path, stop=threading.Event(), progress=lambda *_: None)
