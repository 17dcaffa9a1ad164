"""Files of several pictures: TIFF stacks, FITS cubes, animated GIF, WebP and PNG.

A stack is read picture by picture and written back to its own kind, with its axes, times and descriptions.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from usrnet.errors import PictureError
from usrnet.io import fits, tiff
from usrnet.io.decode import (
    TIFF_MAGIC,
    Picture,
    as_declared,
    as_grey,
    bounded,
    check_size,
    guarded,
    open_pillow,
    pixels_of,
    read_bytes,
)
from usrnet.io.deep import apng, avif_bits, declared_colour, sound_png
from usrnet.io.encode import (
    ANIMATIONS,
    apng16,
    converted,
    deliver,
    kind_of,
    note_what_is_lost,
    pillow_options,
    with_chunks,
    write,
)
from usrnet.io.gaps import absent, apart
from usrnet.io.levels import Levels
from usrnet.io.metadata import Metadata, from_pillow, note_of, profile_space
from usrnet.io.provenance import PREFIX
from usrnet.io.tiff import orient

ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")


@dataclass(frozen=True)
class Stack:
    """Several pictures of one file. ``kind``: ``TIFF``, ``FITS`` or a format of ``ANIMATED``; ``channels``: how many
    kinds of light there are; ``picture(i)`` reads one.

    ``durations``: of the frames of an animation in milliseconds; ``plays``: how often it is shown, 0 for without end.
    """

    kind: str
    count: int
    picture: Callable[[int], Picture]
    name: str
    channels: int = 1
    channel_of: Callable[[int], int] = lambda index: 0
    durations: Sequence[int] = ()
    plays: int = 1
    close: Callable[[], None] = lambda: None


def open_stack(source: Path | BinaryIO, *, max_pixels: int) -> Stack | None:
    """The pictures of a file; None when it holds only one, unless as a GIF. Raises ``PictureError``.

    A still GIF is an animation of one frame: its result is a GIF too, which is written here only.
    """
    name = str(source) if isinstance(source, Path) else "standard input"
    data = read_bytes(source)
    found: Stack | None = guarded(name, lambda: _open(data, name, max_pixels))
    if found is None:
        return None
    picture = found.picture
    return replace(found, picture=lambda index: guarded(name, lambda: picture(index)))


def _open(data: bytes, name: str, max_pixels: int) -> Stack | None:
    if data[:4] in TIFF_MAGIC:
        return _tiff_stack(data, name, max_pixels)
    if data[:9] == b"SIMPLE  =":
        return _fits_stack(data, name, max_pixels)
    data = sound_png(data, lambda text: None)  # who reads the first picture says it
    try:
        with open_pillow(data) as image:
            kind, size = image.format or "", image.size
            # A PNG may begin with a picture for programs that know no animations, which is no frame of its own.
            hidden = int(bool(getattr(image, "default_image", False)))
            shown = range(hidden, getattr(image, "n_frames", 1))
    except Image.UnidentifiedImageError:
        return None
    if (len(shown) < 2 and kind != "GIF") or kind not in ANIMATED:
        return None
    check_size(size[0] * len(shown), size[1], name, max_pixels)
    return _animation(data, name, kind, shown, max_pixels)


def _tiff_stack(data: bytes, name: str, max_pixels: int) -> Stack | None:
    file = tiff.TiffFile(BytesIO(data), name=name)
    if len(file) < 2:
        file.close()
        return None
    first = file.rows().metadata()

    def picture(index: int) -> Picture:
        rows = file.rows(index)
        check_size(rows.shape[1], rows.shape[0], name, max_pixels, channels=rows.channels)
        metadata = rows.metadata() if index else first
        return Picture(rows[:], metadata, rows.extra, rows.declared)

    channels, channel_of = _channels(first.description or "", len(file))
    return Stack("TIFF", len(file), picture, name, channels, channel_of, close=file.close)


def _channels(text: str, count: int) -> tuple[int, Callable[[int], int]]:
    """How many channels a stack has, and which one a plane is of, from what ImageJ or OME write."""
    if found := re.search(r"^channels=(\d+)$", text, re.MULTILINE):
        channels = max(1, int(found[1]))
        return channels, lambda index: index % channels  # ImageJ counts channels first
    sizes = {axis: re.search(rf'\bSize{axis}="(\d+)"', text) for axis in "CZT"}
    order = re.search(r'\bDimensionOrder="XY([CZT]{3})"', text)
    if order and all(sizes.values()):
        lengths = {axis: int(match[1]) for axis, match in sizes.items() if match}
        step = 1
        for axis in order[1]:
            if axis == "C":
                break
            step *= lengths[axis]
        channels = max(1, lengths["C"])
        if channels * lengths["Z"] * lengths["T"] == count:
            return channels, lambda index: index // step % channels
    return 1, lambda index: 0


def _fits_stack(data: bytes, name: str, max_pixels: int) -> Stack | None:
    def check(width: int, height: int) -> None:
        check_size(width, height, name, max_pixels)

    notes: list[str] = []
    planes, metadata = fits.read_planes(data, name, check, notes.append)
    if len(planes) < 2:
        return None  # who reads the one picture says what else there is
    for text in notes:
        note_of(name)(text)
    return Stack("FITS", len(planes), lambda index: bounded(Picture(planes[index], metadata), name), name)


def _animation(data: bytes, name: str, kind: str, shown: range, max_pixels: int) -> Stack:
    note = note_of(name)
    image: Any = open_pillow(data)
    metadata, orientation = from_pillow(image, note)
    if kind == "AVIF" and (bits := avif_bits(data)) > 8:
        note(f"its frames have {bits} bits, of which 8 are read")
    if kind == "PNG" and (deep := apng(data, len(shown))):
        frames, durations = deep
    else:
        frames, durations = _frames(image, shown, lambda: pixels_of(image, metadata, note)[0], name, max_pixels)
    frames = [np.array(orient(frame, orientation)) for frame in frames]
    # All frames of one layout: a frame without transparency among others with it is opaque.
    widest = max(frames, key=lambda frame: frame.shape[2] if frame.ndim == 3 else 1)
    layout = widest.shape[2] if widest.ndim == 3 else 1
    if any((frame.shape[2] if frame.ndim == 3 else 1) != layout for frame in frames):
        mode = "RGBA" if layout in (2, 4) else "RGB"
        frames = [np.asarray(Image.fromarray(frame).convert(mode)) for frame in frames]
    if layout > 2 and profile_space(metadata.icc_profile) == "GRAY":
        pixels, metadata = as_grey(np.concatenate(frames), metadata, note)
        frames = np.split(pixels, len(frames))
    if kind in ("PNG", "AVIF"):
        metadata = as_declared(metadata, declared_colour(data), note, grey=layout < 3)
    plays = image.info.get("loop", 1 if kind == "GIF" else 0)
    if kind == "GIF" and "loop" in image.info:
        plays += plays > 0  # a GIF counts how often it is repeated, the others how often it is shown
    return Stack(
        kind, len(frames), lambda index: Picture(frames[index], metadata), name, durations=durations, plays=plays
    )


def _frames(
    image: Any, shown: range, pixels: Callable[[], np.ndarray], name: str, max_pixels: int
) -> tuple[list[np.ndarray], list[int]]:
    """The frames of an animation that Pillow reads, and for how many milliseconds each is shown."""
    frames, durations = [], []
    for index in shown:
        image.seek(index)
        check_size(image.width * len(shown), image.height, name, max_pixels)  # a frame may be larger than the first
        image.load()
        durations.append(int(image.info.get("duration", 0) or 0))
        frames.append(pixels())
    return frames, durations


def target_kind(target: Path | BinaryIO, stack: Stack) -> str:
    """The format that the results of a stack are written in. Raises ``PictureError`` for one that holds no stacks."""
    if not isinstance(target, Path):
        return stack.kind
    kind = kind_of(target, animated=True)
    if stack.count == 1:
        return kind
    allowed = {"TIFF": {"TIFF", "FITS"}, "FITS": {"FITS", "TIFF"}}.get(stack.kind, {*ANIMATIONS.values(), "TIFF"})
    if kind not in allowed:
        raise PictureError(
            f"{target}: {kind} does not hold the {stack.count} pictures of {stack.name}: use .tif"
            + ("" if stack.kind in ("TIFF", "FITS") else ", .gif, .webp or .png")
        )
    return kind


def result_suffix(kind: str) -> str:
    """The suffix of a stack's own kind."""
    return {"TIFF": ".tif", "FITS": ".fits", "GIF": ".gif", "WEBP": ".webp"}.get(kind, ".png")


def write_stack(
    target: Path | BinaryIO,
    results: Iterator[tuple[Picture, Levels | None]],
    stack: Stack,
    *,
    kind: str,
    scale: int,
    size: int,
) -> None:
    """Write the restored pictures of a stack; the file appears whole or not at all.

    ``results``: one after the other, with their levels; ``size``: of all in bytes. Raises ``PictureError``.
    """
    name = str(target) if isinstance(target, Path) else "standard output"
    if stack.count == 1 and kind != "GIF":
        for picture, levels in results:
            write(target, picture, format=kind, levels=levels)
        return
    if kind == "TIFF":
        if stack.durations:
            note_of(name)(f"TIFF does not hold how long each of the {stack.count} frames is shown")
        tiff.write_pages(target, _pages(results, stack, scale, name), size=size)
        return
    pictures = list(results)
    metadata = pictures[0][0].metadata
    note_what_is_lost(metadata, kind, name)
    if kind == "FITS":
        planes = [picture.pixels for picture, _ in pictures]
        if any(plane.ndim != 2 or plane.shape != planes[0].shape for plane in planes):
            raise PictureError(f"{name}: FITS holds grey planes of one size only: use .tif")
        cube, missing = _with_one_missing(planes, [picture.metadata.missing for picture, _ in pictures], name)
        deliver(target, fits.encode(cube, replace(metadata, missing=missing), name))
        return
    if any(picture.pixels.dtype != np.uint8 for picture, _ in pictures):
        if kind == "PNG":
            planes = [converted(picture.pixels, np.dtype(np.uint16), levels) for picture, levels in pictures]
            deliver(target, with_chunks(apng16(planes, stack.durations, stack.plays), metadata))
            return
        note_of(name)(f"{kind} holds 8 bits, the picture had 16")
    frames = [Image.fromarray(converted(picture.pixels, np.dtype(np.uint8), levels)) for picture, levels in pictures]
    deliver(target, _encode_animation(frames, kind, stack, metadata))


def _with_one_missing(
    planes: Sequence[np.ndarray], named: Sequence[float | None], name: str
) -> tuple[np.ndarray, float | None]:
    """Planes as a cube, and its missing value: FITS has one for all of them, and for floats NaN.

    It is one of those that they name, if it can be one that is measured nowhere.
    """
    cube, values = np.stack(planes), [value for value in named if value is not None]
    if not values or (len(set(named)) == 1 and cube.dtype == planes[0].dtype):
        return cube, named[0]
    gone = np.stack([absent(plane, own) for plane, own in zip(planes, named, strict=True)])
    if cube.dtype.kind == "f":
        return np.where(gone, cube.dtype.type(np.nan), cube), None
    free = [value for value in values if not (absent(cube, value) & ~gone).any()]
    missing = (free or values)[0]
    if not free:
        note_of(name)(f"FITS has one missing value for all planes, {missing:.9g}: what was measured so moves by 1")
    return np.where(gone, cube.dtype.type(missing), apart(cube, missing)), missing


def _pages(
    results: Iterator[tuple[Picture, Levels | None]], stack: Stack, scale: int, name: str
) -> Iterator[tiff.Page]:
    for index, (picture, _) in enumerate(results):
        if index == 0:
            note_what_is_lost(picture.metadata, "TIFF", name)
        yield _page(picture, index, stack, scale)


def _page(picture: Picture, index: int, stack: Stack, scale: int) -> tiff.Page:
    metadata = picture.metadata
    if index == 0:
        text = metadata.description
        height, width, *colour = picture.pixels.shape
        samples = colour[0] if colour else 1
        text = tiff.description_of_result(
            text, scale, (height, width), pages=stack.count, all_pages=True, samples=samples
        )
        metadata = replace(metadata, description=text)
    else:  # what is said once, of the whole stack
        metadata = replace(
            metadata, exif=None, xmp=None, provenance=None, imagej={}, description=_own_text(metadata.description)
        )
    pixels = picture.pixels
    return tiff.Page([pixels], pixels.shape, pixels.dtype, picture.extra, metadata)


def _own_text(text: str | None) -> str | None:
    """The description of a further page, unless it is of the whole stack."""
    return None if text and (text.startswith("ImageJ=") or tiff.shape_of(text)) else text


def _encode_animation(frames: list[Image.Image], kind: str, stack: Stack, metadata: Metadata) -> bytes:
    options: dict[str, Any] = {"duration": list(stack.durations), "loop": stack.plays}
    if kind == "GIF":
        options |= {"disposal": 2, "optimize": False, "loop": max(0, stack.plays - 1)}
        if stack.plays == 1:
            del options["loop"]  # 0 would be without end
        if metadata.provenance is not None:
            options["comment"] = (PREFIX + metadata.provenance).encode()
    elif kind == "PNG":
        options |= {"compress_level": 2, "default_image": False}
    else:
        options |= {"quality": 95, "method": 4, **pillow_options(metadata, kind)}
    buffer = BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], **options)
    return with_chunks(buffer.getvalue(), metadata) if kind == "PNG" else buffer.getvalue()
