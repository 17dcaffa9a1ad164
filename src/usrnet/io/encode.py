"""Picture files written, whole or not at all."""

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from usrnet.atomic import write_bytes
from usrnet.errors import PictureError
from usrnet.io import fits, tiff
from usrnet.io.decode import TIFF_MAGIC, Picture, converted
from usrnet.io.gaps import absent
from usrnet.io.levels import Levels, full_scale
from usrnet.io.metadata import (
    SEGMENT,
    Metadata,
    note_of,
    png_chunks,
    profile_space,
    what_is_lost,
    with_software,
    without_orientation,
)
from usrnet.io.provenance import PNG_MAGIC, png_chunk

FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jfif": "JPEG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF",
    ".webp": "WEBP", ".avif": "AVIF", ".fits": "FITS", ".fit": "FITS", ".fts": "FITS",
}  # fmt: skip
ANIMATIONS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG"}  # what can hold several frames
LARGEST_SIDE = {"WEBP": 16383, "JPEG": 65500, "AVIF": 65536, "PNG": 2**31 - 1, "BMP": 2**31 - 1}
_OWN_SUFFIX = {".tif": ".tif", ".tiff": ".tif", ".fits": ".fits", ".fit": ".fits", ".fts": ".fits", ".pfm": ".tif"}

_SEVERAL = {b"GIF8": ".gif", b"SIMPLE  =": ".fits", **dict.fromkeys(TIFF_MAGIC, ".tif")}  # the first bytes of a file


@dataclass(frozen=True)
class _Holds:
    """What the pixels of a format can be."""

    deep: bool = False  # 16 bits
    alpha: bool = True
    anything: bool = False  # any number of bands, any type


_HOLDS = {
    "PNG": _Holds(deep=True), "JPEG": _Holds(alpha=False), "BMP": _Holds(alpha=False), "WEBP": _Holds(),
    "AVIF": _Holds(), "TIFF": _Holds(anything=True), "FITS": _Holds(alpha=False, anything=True),
}  # fmt: skip


def kind_of(target: Path, *, animated: bool = False) -> str:
    """The format that a file name asks for. Raises ``PictureError`` for one that cannot be written."""
    suffix = target.suffix.lower()
    kind = FORMATS.get(suffix) or (ANIMATIONS.get(suffix) if animated else None)
    if kind is None:
        several = f" ({suffix} is written of an animation only, with --all-pages)" if suffix in ANIMATIONS else ""
        raise PictureError(
            f"{target}: cannot write {suffix or 'a file without suffix'}: use {', '.join(FORMATS)}{several}"
        )
    if kind == "AVIF":
        from PIL import features

        if not features.check("avif"):
            raise PictureError(f"{target}: this Pillow cannot write AVIF: pip install -U 'pillow>=12.3', or use .png")
    if kind == "FITS":
        fits._astropy(str(target))
    return kind


def result_suffix(source: Path, *, all_pages: bool) -> str:
    """The suffix of a result whose name is not given: TIFF and FITS stay so, animations too when all of them is
    restored, floats become a TIFF; everything else becomes a PNG, which loses nothing.

    What can hold several pictures is known by its first bytes where all of them are restored: names may be wrong.
    """
    suffix = source.suffix.lower()
    if all_pages:
        try:
            with source.open("rb") as file:
                start = file.read(12)
        except OSError:  # who reads it says why
            start = b""
        for magic, own in _SEVERAL.items():
            if start.startswith(magic):
                return own
        if start[:4] == b"RIFF" and start[8:] == b"WEBP":
            return ".webp"
        if not start and suffix in (".gif", ".webp"):
            return suffix
    return _OWN_SUFFIX.get(suffix, ".png")


def check_target(target: Path | BinaryIO, height: int, width: int, *, animated: bool = False) -> None:
    """Refuse what cannot be written before any work is done for it. Raises ``PictureError``."""
    if isinstance(target, Path):
        _check_sides(kind_of(target, animated=animated), str(target), height, width)


def _check_sides(kind: str, name: str, height: int, width: int) -> None:
    largest = LARGEST_SIDE.get(kind, 2**32 - 1)
    if max(height, width) > largest:
        raise PictureError(
            f"{name}: {kind} holds at most {largest} pixels a side, the result has {width}×{height}: use .png or .tif"
        )


def write(
    target: Path | BinaryIO, picture: Picture, *, format: str | None = None, levels: Levels | None = None
) -> None:
    """Write an image; the file appears whole or not at all.

    What a format cannot hold is reduced with a note: alpha in JPEG and BMP, 16 bits elsewhere than in PNG and TIFF;
    floats become 16 bits outside TIFF and FITS.

    Parameters
    ----------
    target : pathlib.Path or BinaryIO
        A file, whose suffix says the format, or a stream.
    picture : Picture
        What is written.
    format : str, optional
        Of a stream, PNG if None.
    levels : Levels, optional
        What full scale of floats is.

    Raises
    ------
    PictureError
        The file cannot be written.

    Warns
    -----
    UsrnetWarning
        The format cannot hold all of it.

    Examples
    --------
    >>> from io import BytesIO
    >>> import numpy as np
    >>> from usrnet import io
    >>> stream = BytesIO()
    >>> io.write(stream, io.Picture(np.zeros((4, 6), np.uint16)))
    >>> stream.getvalue()[1:4]
    b'PNG'
    """
    name = "standard output"
    if isinstance(target, Path):
        name, format = str(target), format or kind_of(target)
    kind = format or "PNG"
    _check_sides(kind, name, *picture.pixels.shape[:2])
    encoded = _guarded(name, lambda: _encode(picture, kind, name, levels))
    deliver(target, encoded)


def deliver(target: Path | BinaryIO, content: bytes) -> None:
    """The content of a file or stream written, whole or not at all. Raises ``PictureError``."""
    if not isinstance(target, Path):
        target.write(content)
        target.flush()
        return
    try:
        write_bytes(target, content)
    except OSError as error:
        raise PictureError(f"{target}: cannot be written ({error.strerror or error})") from error


def _guarded(name: str, encode: Callable[[], bytes]) -> bytes:
    try:
        return encode()
    except (PictureError, MemoryError):
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:160] or type(error).__name__
        raise PictureError(f"{name}: cannot be written ({text})") from error


def _encode(picture: Picture, kind: str, name: str, levels: Levels | None = None) -> bytes:
    note = note_of(name)
    holds, metadata = _HOLDS[kind], picture.metadata
    note_what_is_lost(metadata, kind, name)
    if holds.anything:
        return _encode_anything(picture, kind, name, note)
    pixels = _reduced(picture, kind, note, levels)
    if kind == "PNG" and pixels.dtype == np.uint16:
        return with_chunks(_png16(pixels), metadata)
    return _encode_8bit(pixels, kind, metadata)


def note_what_is_lost(metadata: Metadata, kind: str, name: str) -> None:
    """Tell the user what a file of the kind ``kind`` cannot hold."""
    if lost := what_is_lost(metadata, kind):
        note_of(name)(f"{kind} does not hold: {', '.join(lost)}")


def _encode_anything(picture: Picture, kind: str, name: str, note: Callable[[str], None]) -> bytes:
    pixels = picture.pixels
    if kind == "TIFF":
        buffer = BytesIO()
        tiff.write(
            buffer, [pixels], shape=pixels.shape, dtype=pixels.dtype, extra=picture.extra, metadata=picture.metadata
        )
        return buffer.getvalue()
    if pixels.ndim == 3:
        if pixels.shape[-1] - picture.extra in (2, 4):
            note("FITS holds no transparency, left out")
            pixels = np.delete(pixels, pixels.shape[-1] - picture.extra - 1, axis=-1)
        pixels = np.moveaxis(pixels, -1, 0)
        pixels = pixels[0] if len(pixels) == 1 else pixels
    return fits.encode(pixels, picture.metadata, name)


def _reduced(picture: Picture, kind: str, note: Callable[[str], None], levels: Levels | None) -> np.ndarray:
    """The pixels as the format holds them: H×W×{-,2,3,4}, uint8 or uint16."""
    pixels, holds = picture.pixels, _HOLDS[kind]
    if picture.extra:
        main = pixels.shape[-1] - picture.extra
        if main == 1 and pixels.shape[-1] == 3:
            note("three bands, written as red, green and blue")
        else:
            note(f"{kind} holds no bands beyond colour and alpha: {picture.extra} of them are left out")
            pixels = pixels[..., 0] if main == 1 else pixels[..., :main]
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    alpha = pixels.ndim == 3 and pixels.shape[-1] in (2, 4)
    pixels = _gaps_said(pixels, picture.metadata.missing, kind, note, levels)
    dtype, deep = pixels.dtype, holds.deep
    if dtype not in (np.uint8, np.uint16):
        what = "floats" if dtype.kind == "f" else f"samples of type {dtype}"
        note(f"{kind} holds no {what}, written with {16 if deep else 8} bits")
        pixels = converted(pixels, np.dtype(np.uint16 if deep else np.uint8), levels)
    elif dtype == np.uint16 and not deep:
        note(f"{kind} holds 8 bits, the picture had 16")
        pixels = converted(pixels, np.dtype(np.uint8), levels)
    if alpha and not holds.alpha:
        note(f"{kind} holds no transparency, put on white")
        pixels = _on_white(pixels)
    return pixels


def _gaps_said(
    pixels: np.ndarray, missing: float | None, kind: str, note: Callable[[str], None], levels: Levels | None
) -> np.ndarray:
    """Pixels for a format that cannot say which are missing: floats become black, whole numbers stay as they are."""
    if pixels.dtype.kind != "f" and missing is None:
        return pixels
    gone = absent(pixels, missing)
    if not gone.any():
        return pixels
    if pixels.dtype.kind != "f":
        note(f"{kind} does not say which values are missing (those that were {missing:.9g})")
        return pixels
    note(f"{kind} does not say which values are missing: they are black")
    return np.where(gone, pixels.dtype.type((levels or full_scale(pixels.dtype)).black), pixels)


def _on_white(pixels: np.ndarray) -> np.ndarray:
    full = full_scale(pixels.dtype)
    values = full.unit(pixels)
    alpha = values[..., -1:]
    flat = full.stored(values[..., :-1] * alpha + 1 - alpha, pixels.dtype)
    return flat[..., 0] if flat.shape[-1] == 1 else flat


def _encode_8bit(pixels: np.ndarray, kind: str, metadata: Metadata) -> bytes:
    options: dict[str, Any] = {
        "PNG": {
            "compress_level": 2
        },  # a quarter of the time of 6, which was a sixth of a restoration, for 8 % more bytes
        "JPEG": {"quality": 95, "subsampling": "4:4:4"},
        "WEBP": {"quality": 95, "method": 4},
        "AVIF": {"quality": 90, "subsampling": "4:4:4"},
    }.get(kind, {})
    buffer = BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if kind in ("JPEG", "WEBP", "AVIF"):
        options |= pillow_options(metadata, kind)
    if kind == "AVIF" and image.mode in ("L", "LA"):
        options["subsampling"] = "4:0:0"  # otherwise it is written as three colours
    if kind in ("JPEG", "BMP") and metadata.dpi:
        options["dpi"] = metadata.dpi
    image.save(buffer, kind, **options)
    data = buffer.getvalue()
    return with_chunks(data, metadata) if kind == "PNG" else data


def pillow_options(metadata: Metadata, kind: str) -> dict[str, Any]:
    """Metadata as the options of Pillow's writers of JPEG, WebP and AVIF."""
    exif = metadata.exif if metadata.made_with is None else with_software(metadata, metadata.made_with)
    if kind == "JPEG" and exif and len(exif) > SEGMENT:
        exif = None
    if kind == "AVIF" and exif:
        exif = without_orientation(exif)
    options: dict[str, Any] = {}
    if exif:
        options["exif"] = b"Exif\0\0" + exif
    if metadata.icc_profile and not (kind == "WEBP" and profile_space(metadata.icc_profile) == "GRAY"):
        options["icc_profile"] = metadata.icc_profile
    if metadata.xmp and not (kind == "JPEG" and len(metadata.xmp) > SEGMENT):
        options["xmp"] = metadata.xmp
    if kind == "JPEG" and metadata.description:
        options["comment"] = metadata.description.encode()[:65000]
    return options


def with_chunks(png: bytes, metadata: Metadata) -> bytes:
    """A PNG with the chunks of its metadata right after the header (33 bytes with the signature)."""
    return b"".join([png[:33], *png_chunks(metadata), png[33:]])


def _png16(pixels: np.ndarray) -> bytes:
    """A 16-bit PNG with any number of channels (Pillow writes grey ones only)."""
    data = png_chunk(b"IDAT", _png16_data(pixels))
    return b"".join([PNG_MAGIC, _png16_header(pixels), data, png_chunk(b"IEND", b"")])


def apng16(frames: Sequence[np.ndarray], durations: Sequence[int], plays: int) -> bytes:
    """An animated PNG of 16 bits (Pillow writes 8); every frame is whole. ``plays``: how often, 0 without end."""
    height, width = frames[0].shape[:2]
    parts = [PNG_MAGIC, _png16_header(frames[0]), png_chunk(b"acTL", struct.pack(">II", len(frames), plays))]
    for index, (frame, duration) in enumerate(zip(frames, durations, strict=True)):
        number = max(0, 2 * index - 1)  # of this chunk among those of the animation
        delay = (duration, 1000) if duration < 2**16 else (min(duration // 1000, 2**16 - 1), 1)
        parts.append(png_chunk(b"fcTL", struct.pack(">5I2H2B", number, width, height, 0, 0, *delay, 0, 0)))
        data = _png16_data(frame)
        parts.append(png_chunk(b"fdAT", struct.pack(">I", number + 1) + data) if index else png_chunk(b"IDAT", data))
    return b"".join([*parts, png_chunk(b"IEND", b"")])


def _png16_header(pixels: np.ndarray) -> bytes:
    height, width = pixels.shape[:2]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[1 if pixels.ndim == 2 else pixels.shape[-1]]
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))


def _png16_data(pixels: np.ndarray) -> bytes:
    """The compressed rows of a 16-bit PNG; every one has the filter Up."""
    rows = np.ascontiguousarray(pixels.astype(">u2")).reshape(len(pixels), -1).view(np.uint8)
    filtered = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return zlib.compress(filtered.tobytes(), 6)


def result_of(picture: Picture, pixels: np.ndarray, scale: float) -> Picture:
    """``pixels``, ``scale`` times as large as the picture (smaller below 1), with its metadata corrected."""
    return replace(
        picture, pixels=pixels, metadata=picture.metadata.enlarged(scale, (pixels.shape[0], pixels.shape[1]))
    )
