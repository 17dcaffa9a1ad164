"""Pictures with more than 8 bits in formats that Pillow would cut to 8, and formats that Pillow does not know.

What a file declares as its depth is full scale: 10 and 12 bits are stretched to 16.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np

from usrnet.errors import PictureError, require
from usrnet.io.colours import ycbcr_to_rgb
from usrnet.io.provenance import PNG_MAGIC

CURVES = {16: "PQ", 18: "HLG"}  # transfer functions of HDR pictures (ITU-T H.273)

_FRAMES = (b"fcTL", b"fdAT")  # of an animated PNG: they are pixels, whatever their names say


def stretch(values: np.ndarray, top: int) -> np.ndarray:
    """Whole numbers from 0 to ``top`` (at most 65535) as uint8 or uint16, whose largest value is full scale."""
    dtype, full = (np.uint8, 255) if top <= 255 else (np.uint16, 65535)
    if top == full:
        return values.astype(dtype)
    return ((values.astype(np.uint32).clip(0, top) * full + top // 2) // top).astype(dtype)


def png(data: bytes) -> np.ndarray | None:
    """A PNG with several channels of 16 bits; None for others."""
    if len(data) < 26 or data[24] != 16 or data[25] not in (2, 4, 6):
        return None
    import imagecodecs

    return imagecodecs.png_decode(data)


def sound_png(data: bytes, note: Callable[[str], None]) -> bytes:
    """A PNG without the parts beside its pixels whose checksum is wrong; any other file as it is."""
    if not data.startswith(PNG_MAGIC):
        return data
    lost = [
        (name, part)
        for name, part in _chunks(data)
        if name.isalpha() and name[0] & 0x20 and name not in _FRAMES
        if zlib.crc32(data[part.start + 4 : part.stop - 4]) != int.from_bytes(data[part.stop - 4 : part.stop], "big")
    ]
    if not lost:
        return data
    note(f"what it holds beside the pixels is damaged and left out ({', '.join(name.decode() for name, _ in lost)})")
    for _, part in reversed(lost):
        data = data[: part.start] + data[part.stop :]
    return data


def bare_png(data: bytes, *keep: bytes) -> bytes:
    """A PNG with nothing beside its pixels but the chunks that are named."""
    kept = [data[part] for name, part in _chunks(data) if not name[0] & 0x20 or name in keep]
    return b"".join([PNG_MAGIC, *kept])


def _chunks(data: bytes) -> Iterator[tuple[bytes, slice]]:
    """The name of every chunk of a PNG, and where it lies, length and checksum included."""
    place = len(PNG_MAGIC)
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        yield data[place + 4 : place + 8], slice(place, end)
        place = end


def jpeg2000(data: bytes) -> np.ndarray | None:
    """A JPEG 2000 of more than 8 bits; None for others."""
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or len(data) < start + 46:
        return None
    (count,) = struct.unpack(">H", data[start + 40 : start + 42])
    sizes = data[start + 42 : start + 42 + 3 * count]
    depths = set(sizes[::3])
    if len(depths) != 1 or not 8 < (bits := depths.pop() + 1) <= 16:
        return None  # 8 bits, signed, or of several depths: Pillow's matter
    if set(sizes[1::3]) != {1} or set(sizes[2::3]) != {1}:
        return None
    import imagecodecs

    pixels = stretch(imagecodecs.jpeg2k_decode(data), 2**bits - 1)
    if (box := data.find(b"colr\x01")) >= 0 and data[box + 7 : box + 11] == b"\0\0\0\x12" and pixels.ndim == 3:
        pixels = np.concatenate([ycbcr_to_rgb(pixels[..., :3]), pixels[..., 3:]], axis=-1)
    return pixels


def avif(data: bytes) -> np.ndarray | None:
    """An AVIF of 10 or 12 bits; None for others. It is not turned."""
    box = data[:65536].find(b"av1C")
    if box < 0 or not data[box + 6] & 0x40:
        return None
    depths = data[:65536].find(b"pixi")
    if depths >= 0 and max(data[depths + 9 : depths + 9 + data[depths + 8]], default=0) <= 8:
        return None  # a damaged header: the decoder would take it at its word and spoil memory
    import imagecodecs

    pixels = imagecodecs.avif_decode(data, 0)
    pixels = pixels[0] if pixels.ndim == 4 else pixels
    if pixels.dtype != np.uint16:
        return None
    return stretch(pixels, 4095 if data[box + 6] & 0x20 else 1023)


def hdr_curve(data: bytes) -> str | None:
    """The HDR brightness curve that an AVIF or HEIF declares."""
    box = data[:65536].find(b"colrnclx")
    return CURVES.get(int.from_bytes(data[box + 10 : box + 12], "big")) if box >= 0 else None


def is_heif(data: bytes) -> bool:
    """Whether the bytes begin as HEIC or HEIF."""
    if data[4:8] != b"ftyp":
        return False
    brands = {data[at : at + 4] for at in (8, *range(16, min(int.from_bytes(data[:4], "big"), 128), 4))}
    return bool(brands & {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}) and not (
        brands & {b"avif", b"avis"}
    )


def heif(data: bytes, name: str, check: Callable[[int, int], None]) -> tuple[np.ndarray, dict[str, Any], int]:
    """The main picture of a HEIC or HEIF, upright, with Pillow's kind of info and the number of pictures."""
    try:
        heif_package: Any = require("pillow_heif", extra="phone")
    except ValueError as error:
        raise PictureError(f"{name}: {error}") from error
    opened = heif_package.open_heif(BytesIO(data), convert_hdr_to_8bit=False)
    image = opened[opened.primary_index]
    check(*image.size)
    pixels = np.asarray(image)
    if image.mode.startswith(("La", "RGBa")) or image.info.get("premultiplied_alpha"):
        raise PictureError(f"{name}: its colours are multiplied with its transparency: save it as PNG")
    return pixels, dict(image.info), len(opened)


_TOKEN = re.compile(rb"(?:\s|#[^\r\n]*)*([^\s#]+)")


def netpbm(data: bytes, check: Callable[[int, int], None]) -> np.ndarray | None:
    """PGM and PPM of more than 8 bits, PAM, and PFM (floats, from the lowest row up); None for others."""
    kind = data[:2]
    if kind == b"P7":
        return _pam(data, check)
    if kind not in (b"P2", b"P3", b"P5", b"P6", b"Pf", b"PF") or not data[2:3].isspace():
        return None
    numbers, place = [], 2
    for _ in range(3):
        found = _TOKEN.match(data, place)
        if not found:
            raise ValueError("the header ends early")
        numbers.append(float(found[1]) if kind in (b"Pf", b"PF") else int(found[1]))
        place = found.end()
    width, height, top = int(numbers[0]), int(numbers[1]), numbers[2]
    channels = 3 if kind in (b"P3", b"P6", b"PF") else 1
    if kind not in (b"Pf", b"PF") and top <= 255:
        return None
    check(width, height)
    count = _count(width, height, channels)
    if kind in (b"Pf", b"PF"):
        values = _binary(data, place + 1, "<f4" if top < 0 else ">f4", count)
        return _shaped(values, height, width, channels)[::-1].astype(np.float32)
    if not 0 < top < 65536:
        raise ValueError(f"the largest value {top:g} is not below 65536")
    if kind in (b"P2", b"P3"):
        words = data[place:].split(maxsplit=count)[:count]
        if len(words) < count:
            raise ValueError(f"{len(words)} of {count} numbers")
        values = np.array(words, dtype="S8").astype(np.int64)
    else:
        values = _binary(data, place + 1, ">u2", count)
    return stretch(_shaped(values, height, width, channels), int(top))


def _pam(data: bytes, check: Callable[[int, int], None]) -> np.ndarray:
    head, found, _ = data[:4096].partition(b"ENDHDR\n")
    if not found:
        raise ValueError("the header has no end")
    fields = dict(line.split(None, 1) for line in head.splitlines()[1:] if len(line.split(None, 1)) == 2)
    width, height, depth, top = (int(fields[name]) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
    if not 1 <= depth <= 4 or not 0 < top < 65536:
        raise ValueError(f"{depth} channels up to {top}")
    check(width, height)
    kind = ">u2" if top > 255 else "u1"
    values = _binary(data, len(head) + len(found), kind, _count(width, height, depth))
    return stretch(_shaped(values, height, width, depth), top)


def _count(width: int, height: int, channels: int) -> int:
    if width < 1 or height < 1:
        raise ValueError(f"the size {width}×{height}")
    return width * height * channels


def _binary(data: bytes, place: int, kind: str, count: int) -> np.ndarray:
    size = np.dtype(kind).itemsize * count
    if len(data) - place < size:
        raise ValueError(f"{len(data) - place} of {size} bytes")
    return np.frombuffer(data, kind, count, place)


def _shaped(values: np.ndarray, height: int, width: int, channels: int) -> np.ndarray:
    return values.reshape((height, width) if channels == 1 else (height, width, channels))
