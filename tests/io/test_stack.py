"""Animations: what is shown, how often, and what lies beside the frames."""

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from usrnet import io
from usrnet.errors import PictureError, UsrnetWarning
from usrnet.io import stack
from usrnet.io.deep import profile_of
from usrnet.io.encode import _png16_data, _png16_header, apng16
from usrnet.io.provenance import PNG_MAGIC, png_chunk

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


def deep_frames(channels: int) -> list[np.ndarray]:
    """Frames of 16 bits, of which no byte repeats the other."""
    values = np.random.default_rng(channels).integers(0, 65536, (3, 24, 36, channels)).astype(np.uint16)
    return [frame[..., 0] if channels == 1 else frame for frame in values]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_an_animation_of_16_bits_keeps_them(tmp_path, channels):
    frames = deep_frames(channels)
    (tmp_path / "a.png").write_bytes(apng16(frames, [100, 200, 70_000], 2))
    read = enlarge(tmp_path / "a.png", tmp_path / "b.png")
    assert all(np.array_equal(*pair) for pair in zip(read, frames, strict=True))
    opened = stack.open_stack(tmp_path / "b.png", max_pixels=10**6)
    assert opened is not None
    assert (list(opened.durations), opened.plays) == ([100, 200, 70_000], 2)
    for index, frame in enumerate(frames):
        large = opened.picture(index).pixels
        assert large.dtype == np.uint16
        assert np.array_equal(large, frame.repeat(2, 0).repeat(2, 1))
    assert io.read_provenance(tmp_path / "b.png") == RECIPE
    with Image.open(tmp_path / "b.png") as image:  # another reader
        assert (getattr(image, "n_frames", 1), image.info["loop"]) == (3, 2)
        image.seek(2)
        assert image.info["duration"] == 70_000


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_an_animation_that_loses_bits_says_so(tmp_path, suffix):
    (tmp_path / "a.png").write_bytes(apng16(deep_frames(3), [100, 200, 300], 0))
    with pytest.warns(UsrnetWarning, match=f"{suffix[1:].upper()} holds 8 bits, the picture had 16"):
        enlarge(tmp_path / "a.png", tmp_path / f"b{suffix}")


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dispose", [0, 1, 2])
@pytest.mark.parametrize("blend", [0, 1])
def test_frames_of_16_bits_that_are_parts(tmp_path, channels, dispose, blend):
    """A whole frame, then one of 10×8 pixels, which stays, is cleared or is taken back, then one of 6×5."""
    whole, part, last = deep_frames(channels)
    part, last = part[:8, :10], last[:5, :6]
    parts = [(whole, 0, 0), (part, 5, 7), (last, 9, 10)]
    chunks = [PNG_MAGIC, _png16_header(whole), png_chunk(b"acTL", struct.pack(">II", 3, 0))]
    for index, (frame, top, left) in enumerate(parts):
        height, width = frame.shape[:2]
        control = (
            max(0, 2 * index - 1),
            width,
            height,
            left,
            top,
            1,
            10,
            (0, dispose, 0)[index],
            (0, blend, blend)[index],
        )
        data = _png16_data(frame)
        chunks.append(png_chunk(b"fcTL", struct.pack(">5I2H2B", *control)))
        chunks.append(png_chunk(b"fdAT", struct.pack(">I", 2 * index) + data) if index else png_chunk(b"IDAT", data))
    (tmp_path / "a.png").write_bytes(b"".join([*chunks, png_chunk(b"IEND", b"")]))
    opened = stack.open_stack(tmp_path / "a.png", max_pixels=10**6)
    assert opened is not None
    expected = [whole.copy()]
    canvas = whole.copy()
    for index, (frame, top, left) in enumerate(parts[1:]):
        before, area = canvas.copy(), canvas[top : top + len(frame), left : left + frame.shape[1]]
        area[...] = over(frame, area) if blend and channels == 4 else frame
        expected.append(canvas.copy())
        if index == 0 and dispose == 1:
            area[...] = 0
        elif index == 0 and dispose == 2:
            canvas = before
    for index, frame in enumerate(expected):
        assert np.abs(opened.picture(index).pixels.astype(int) - frame).max() <= 1


def over(front: np.ndarray, back: np.ndarray) -> np.ndarray:
    """One on another, pixel by pixel, in Python's floats."""
    result = np.empty_like(front)
    for place in np.ndindex(front.shape[:2]):
        a, b = front[place][3] / 65535, back[place][3] / 65535
        alpha = a + b - a * b
        for band in range(3):
            result[place][band] = round((front[place][band] * a + back[place][band] * b * (1 - a)) / alpha)
        result[place][3] = round(alpha * 65535)
    return result


def test_frames_of_16_bits_that_are_missing_or_lie_outside(tmp_path):
    data = apng16(deep_frames(3), [1, 1, 1], 0)
    place = data.rindex(b"fcTL")
    (tmp_path / "a.png").write_bytes(data[: place - 4] + png_chunk(b"IEND", b""))
    with pytest.raises(PictureError, match="damaged"):
        stack.open_stack(tmp_path / "a.png", max_pixels=10**6)
    moved = data[place + 4 : place + 16] + struct.pack(">II", 30, 0) + data[place + 24 : place + 30]
    (tmp_path / "a.png").write_bytes(data[: place - 4] + png_chunk(b"fcTL", moved) + data[place + 34 :])
    with pytest.raises(PictureError, match="damaged"):
        stack.open_stack(tmp_path / "a.png", max_pixels=10**6)


def test_an_avif_of_more_than_8_bits_says_that_8_are_read(tmp_path, frames, monkeypatch):
    save(tmp_path / "a.avif", frames)
    monkeypatch.setattr(stack, "avif_bits", lambda data: 10)
    with pytest.warns(UsrnetWarning, match="its frames have 10 bits, of which 8 are read"):
        stack.open_stack(tmp_path / "a.avif", max_pixels=10**6)


def test_a_tiff_does_not_say_how_long_frames_are_shown(tmp_path, frames):
    save(tmp_path / "a.png", frames)
    with pytest.warns(UsrnetWarning, match="TIFF does not hold how long each of the 3 frames is shown"):
        enlarge(tmp_path / "a.png", tmp_path / "b.tif")


@pytest.mark.parametrize("suffix", [".tif", ".fits"])
def test_stacks_name_what_they_cannot_hold_as_pictures_do(tmp_path, suffix):
    fits = pytest.importorskip("astropy.io.fits")
    tags = [(33550, "d", 3, (1.0, 1.0, 0.0), True)]
    source = tmp_path / ("a.fits" if suffix == ".tif" else "a.tif")
    planes = np.zeros((2, 24, 36), np.uint16)
    if suffix == ".tif":
        fits.PrimaryHDU(planes).writeto(source)
    else:
        tifffile.imwrite(source, planes, photometric="minisblack", extratags=tags)
    lost = "FITS header" if suffix == ".tif" else "place on Earth"
    with pytest.warns(UsrnetWarning, match=f"does not hold: {lost}"):
        enlarge(source, tmp_path / f"b{suffix}")


@pytest.mark.parametrize("grey", [True, False])
def test_the_profile_of_a_grey_animation_fits_its_frames(tmp_path, grey):
    """Frames of a palette become colours; the profile of grey belongs to grey ones only."""
    ramp = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    colours = [ramp, ramp if grey else ramp[::-1], ramp]
    frames = [Image.fromarray(np.stack(colours, axis=-1)).quantize(64), Image.fromarray(ramp).convert("P")]
    profile = profile_of(1, 8, grey=True)
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], icc_profile=profile)
    with warnings.catch_warnings(action="ignore"):
        found = stack.open_stack(tmp_path / "a.png", max_pixels=10**6)
    assert found is not None
    picture = found.picture(0)
    assert (picture.pixels.ndim == 2) == grey
    assert picture.metadata.icc_profile == (profile if grey else None)
