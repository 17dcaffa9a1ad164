"""Animations: what is shown, how often, and what lies beside the frames."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from usrnet import io
from usrnet.errors import UsrnetWarning
from usrnet.io import stack

RECIPE = '{"scale": 2, "kernel": "gaussian:0.7", "noise_level": 2, "model": "default"}'


@pytest.fixture
def frames(photo) -> list[Image.Image]:
    return [Image.fromarray(photo[top : top + 24, :36]).quantize(32).convert("RGB") for top in (0, 60, 120)]


def save(path: Path, frames: list[Image.Image], **options: Any) -> Path:
    if path.suffix == ".webp":
        options |= {"lossless": True}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, **options)
    return path


def enlarge(source: Path, target: Path) -> list[np.ndarray]:
    """Every frame twice as large, through the program's own stacks; the frames as they were read."""
    opened = stack.open_stack(source, max_pixels=10**6)
    assert opened is not None
    read = [opened.picture(index) for index in range(opened.count)]

    def results():
        for picture in read:
            large = io.result_of(picture, picture.pixels.repeat(2, 0).repeat(2, 1), 2)
            yield io.Picture(large.pixels, io.Metadata(**{**vars(large.metadata), "provenance": RECIPE})), None

    kind = stack.target_kind(target, opened)
    stack.write_stack(target, results(), opened, kind=kind, scale=2, size=0)
    return [picture.pixels for picture in read]


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".jpg", ".tif"])
def test_a_still_gif_is_an_animation_of_one_frame(tmp_path, frames, suffix):
    frames[0].save(tmp_path / "a.gif")
    enlarge(tmp_path / "a.gif", tmp_path / f"b{suffix}")
    assert io.read(tmp_path / f"b{suffix}").pixels.shape == (48, 72, 3)
    assert io.read_provenance(tmp_path / f"b{suffix}") == RECIPE


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_an_animation_carries_how_it_was_made_and_what_the_first_one_said(tmp_path, frames, suffix):
    exif = Image.Exif()
    exif[0x013B] = "M. Anning"
    save(tmp_path / f"a{suffix}", frames, exif=exif.tobytes())
    enlarge(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    assert io.read_provenance(tmp_path / f"b{suffix}") == RECIPE
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert getattr(image, "n_frames", 1) == 3
        assert image.getexif()[0x013B] == "M. Anning"


def test_a_gif_that_cannot_hold_what_is_beside_the_frames_says_so(tmp_path, frames):
    exif = Image.Exif()
    exif[0x013B] = "M. Anning"
    save(tmp_path / "a.webp", frames, exif=exif.tobytes())
    with pytest.warns(UsrnetWarning, match="GIF does not hold: EXIF"):
        enlarge(tmp_path / "a.webp", tmp_path / "b.gif")


@pytest.mark.parametrize("suffix", [".png", ".webp"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_every_frame_is_turned_upright(tmp_path, frames, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path / f"a{suffix}", frames, exif=exif.tobytes())
    read = enlarge(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    for frame, found in zip(frames, read, strict=True):
        frame.getexif()[0x0112] = orientation
        assert np.array_equal(found, np.asarray(ImageOps.exif_transpose(frame)))
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert image.size == (2 * read[0].shape[1], 2 * read[0].shape[0])


def test_the_picture_for_programs_without_animations_is_no_frame(tmp_path, frames):
    save(tmp_path / "a.png", frames, default_image=True)
    read = enlarge(tmp_path / "a.png", tmp_path / "b.png")
    assert len(read) == 2
    for frame, found in zip(frames[1:], read, strict=True):
        assert np.array_equal(found, np.asarray(frame))
    with Image.open(tmp_path / "b.png") as image:
        assert getattr(image, "n_frames", 1) == 2


@pytest.mark.parametrize("target", [".gif", ".png", ".webp"])
@pytest.mark.parametrize(("source", "loop", "plays"), [
    (".gif", None, 1), (".gif", 0, 0), (".gif", 2, 3), (".png", 1, 1), (".png", 3, 3), (".webp", 0, 0),
])  # fmt: skip
def test_it_is_shown_as_often_as_before(tmp_path, frames, source, loop, plays, target):
    save(tmp_path / f"a{source}", frames, **({} if loop is None else {"loop": loop}))
    enlarge(tmp_path / f"a{source}", tmp_path / f"b{target}")
    with Image.open(tmp_path / f"b{target}") as image:
        if target == ".gif":  # which counts how often it is repeated
            assert image.info.get("loop") == {0: 0, 1: None}.get(plays, plays - 1)
        else:
            assert image.info["loop"] == plays
