"""What the page does, without the page."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import usrnet
from usrnet import io, kernels
from usrnet.errors import UsrnetError
from usrnet.estimate.shake import correlation
from usrnet.web import actions, limits
from usrnet.web.actions import BICUBIC, FILE, SHAKE, Screen, Settings
from usrnet.web.jobs import Stopped
from usrnet.weights import registry


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


def test_the_kernel_of_a_shake_is_found(tmp_path):
    skimage_data = pytest.importorskip("skimage.data")
    shaken = usrnet.degrade(skimage_data.astronaut()[:312, 80:392], "motion:16", scale=1, noise_level=2.55)
    io.write(tmp_path / "shaken.png", io.Picture(shaken))
    stop = threading.Event()
    found = actions.find(str(tmp_path / "shaken.png"), Settings(scale=1, kernel_number=3), tmp_path, stop=stop)
    assert "camera shake" in found.text
    assert found.settings.blur == FILE
    taps = found.settings.taps()
    assert correlation(taps, kernels.motion(16)) > 0.85  # of a Gaussian as wide: 0.73
    assert "--kernel shake.npy" in found.settings.command("shaken.png")
    stop.set()
    with pytest.raises(Stopped):
        actions.find(str(tmp_path / "shaken.png"), Settings(scale=1), tmp_path, stop=stop)


def test_command_is_quoted():
    command = Settings(scale=3, width=1, noise_level=2.5, model="tv").command("it's mine.jpg")
    assert command == """usrnet restore 'it'"'"'s mine.jpg' --scale 3 --kernel gaussian:1 --noise 2.5 --model tv"""


def test_commands_from_faithful_to_crisp():
    def said(**options):
        return Settings(scale=4, width=1, **options).command("a.png")

    restore = "usrnet restore a.png --scale 4 --kernel gaussian:1 --noise 2"
    assert said(crisp=0) == restore
    assert said(crisp=1) == f"{restore} --model default-gan"
    assert said(crisp=0.7) == (
        "usrnet models blend default default-gan --t 0.7 -o crisp.safetensors --overwrite && "
        f"{restore} --model crisp.safetensors"
    )
    assert said(crisp=0.7, model="tv") == f"{restore} --model tv"
    with pytest.raises(UsrnetError, match=r"crisp = 1\.5 is not between"):
        Settings(crisp=1.5).weights()


def test_the_crisp_slider_blends_the_weights(tmp_path, photo, monkeypatch):
    model = usrnet.load("default")
    with torch.no_grad():
        model.get_parameter("p.m_tail.weight").mul_(0.9)
    monkeypatch.setattr(registry, "GAN_FILE", usrnet.weights.save(model, tmp_path / "other.safetensors"))
    path = tmp_path / "p.png"
    io.write(path, io.Picture(photo[:48, :48]))
    monkeypatch.setattr(actions, "restorer_of", actions.make_restorer)  # nothing that other tests kept

    def mean(crisp):
        return actions.preview(str(path), Settings(crisp=crisp), 50, 50)[1].mean()

    faithful, between, crisp = (mean(value) for value in (0, 0.5, 1))
    assert faithful > between > crisp


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
    with pytest.raises(Stopped):
        actions.restore_all(str(path), Settings(), folder, stop=stop, progress=lambda done, total: None)
    assert list(folder.iterdir()) == []


def test_too_large_pictures_are_refused(tmp_path, photo, monkeypatch):
    path = tmp_path / "p.png"
    io.write(path, io.Picture(photo))
    monkeypatch.setattr(limits, "MAX_PIXELS", 1000)
    with pytest.raises(UsrnetError, match="384×384 pixels are more than the limit"):
        actions.restore_all(str(path), Settings(), tmp_path, stop=threading.Event(), progress=lambda *_: None)


@pytest.mark.parametrize("strip", [1, 7, 64, 100, 1000])
@pytest.mark.parametrize("shape", [(90, 130), (301, 47, 3), (200, 3, 4), (30, 20, 3)])
def test_the_picture_for_the_screen_is_the_mean_of_blocks(monkeypatch, shape, strip):
    monkeypatch.setattr(limits, "SCREEN_SIDE", 40)
    pixels = np.random.default_rng(0).integers(0, 65535, shape, np.uint16)
    screen = Screen(*shape[:2])
    given = [pixels[top : top + strip] for top in range(0, len(pixels), strip)]
    next(iter(screen.watch(given)))  # an attempt that ran out of memory
    strips = list(screen.watch(given))
    assert np.array_equal(np.concatenate(strips), pixels)
    n, m = screen.block
    height, width = shape[0] // n * n, shape[1] // m * m
    blocks = pixels[:height, :width].reshape(height // n, n, width // m, m, -1).astype(float).mean((1, 3))
    shown = screen.picture()
    assert max(shown.shape[:2]) <= 40
    if max(blocks.shape[:2]) <= 40:  # or it is reduced once more
        expected = blocks / 257 if len(shape) == 3 else np.repeat(blocks / 257, 3, -1)
        assert np.abs(shown - expected).max() <= 1


def test_a_result_above_the_limit_of_reading_is_shown(tmp_path, photo, monkeypatch):
    path = tmp_path / "p.png"
    io.write(path, io.Picture(photo[:60, :50]))
    read = io.read
    monkeypatch.setattr(io, "read", lambda source, max_pixels: read(source, max_pixels=5000))
    before, after, target = actions.restore_all(
        str(path), Settings(scale=4, model="tv"), tmp_path, stop=threading.Event(), progress=lambda *_: None
    )
    assert before.shape == after.shape == (240, 200, 3)
    assert np.array_equal(after, read(target).pixels)
    assert np.array_equal(before, io.enlarge_nearest(photo[:60, :50], 4))


def test_a_kernel_file_is_parsed_once(tmp_path, monkeypatch):
    path = tmp_path / "psf.txt"
    path.write_text("1 2 1\n")
    parsed = []

    def parse(text, *scale):
        parsed.append(text)
        time.sleep(0.1)  # or the first would be done before the others ask
        return np.ones((3, 3)) / 9

    monkeypatch.setattr(kernels, "parse", parse)
    with ThreadPoolExecutor(4) as pool:
        for level in range(8):
            pool.submit(actions.draw_kernel, Settings(blur=FILE, kernel_file=str(path), noise_level=level))
    actions.draw_kernel(Settings(blur=FILE, kernel_file=str(path), scale=4))
    assert parsed == [str(path)]


def test_one_kernel_of_several(tmp_path):
    from scipy.io import savemat

    path = tmp_path / "psfs.mat"
    savemat(path, {"first": np.ones((3, 3)) / 9, "second": np.eye(5) / 5})
    settings = Settings(blur=FILE, kernel_file=str(path), kernel_number=2)
    assert settings.observation().taps.shape == (1, 5, 5)
    assert "--kernel psfs.mat:2" in settings.command("p.png")
    with pytest.raises(UsrnetError, match="holds 2 kernels"):
        Settings(blur=FILE, kernel_file=str(path)).taps()


def test_files_of_the_server_are_named_without_folders():
    assert Settings(model="/home/someone/tuned.safetensors").command("p.png").endswith("--model tuned.safetensors")


def test_a_picture_that_was_deleted(tmp_path):
    with pytest.raises(UsrnetError, match=r"gone\.png: it is no longer here"):
        actions.read_pixels(str(tmp_path / "gone.png"))
