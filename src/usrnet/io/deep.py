"""Pictures with more than 8 bits in formats that Pillow would cut to 8, and formats that Pillow does not know.

What a file declares as its depth is full scale: 10 and 12 bits are stretched to 16. What it declares of its colours
by numbers alone (ITU-T H.273) is a colour profile.
"""

import re
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np

from usrnet.errors import PictureError, require
from usrnet.io.colours import to_linear, ycbcr_to_rgb
from usrnet.io.provenance import PNG_MAGIC, png_chunk

# The numbers of ITU-T H.273
CURVES = {16: "PQ", 18: "HLG"}  # transfer functions of HDR pictures
_D65 = (0.3127, 0.3290)
_PRIMARIES = {  # name, red, green, blue, white
    1: ("BT.709", (0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    4: ("BT.470 M", (0.670, 0.330), (0.210, 0.710), (0.140, 0.080), (0.310, 0.316)),
    5: ("BT.470 BG", (0.640, 0.330), (0.290, 0.600), (0.150, 0.060), _D65),
    6: ("BT.601", (0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ("SMPTE 240M", (0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    9: ("BT.2020", (0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ("DCI-P3", (0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ("Display P3", (0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ("EBU 3213", (0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
_UNSPECIFIED = 2
# sRGB's own and the curves of television, which programs that show pictures take for sRGB's
_AS_SRGB = {1, _UNSPECIFIED, 6, 11, 12, 13, 14, 15}
_POWERS = {4: 2.2, 5: 2.8, 8: 1.0}
_CLEARED, _TAKEN_BACK, _BLENDED = 1, 2, 1  # what becomes of a frame after it, and how it is put there
_FRAMES = (b"fcTL", b"fdAT")  # of an animated PNG: they are pixels, whatever their names say

_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"eXIf")
_KEYWORD = 79  # bytes at most
_HEADER = 33  # bytes of a PNG until its first chunk that may be missing
_END = png_chunk(b"IEND", b"")


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


def apng(data: bytes, count: int) -> tuple[list[np.ndarray], list[int]] | None:
    """The ``count`` frames of an animated PNG of 16 bits, each as it is shown, H×W×{-,2,3,4}, and for how many
    milliseconds; None for others.

    A frame may be a part that is put, or blended, onto what is there (PNG 3rd edition, section 11.3.7).
    """
    if len(data) < 26 or data[24] != 16 or not data.startswith(PNG_MAGIC):
        return None
    import imagecodecs

    width, height = struct.unpack_from(">II", data, 16)
    frames = list(_frames(data))
    if len(frames) != count:
        raise ValueError(f"{len(frames)} of {count} frames")
    canvas: np.ndarray | None = None
    shown: list[np.ndarray] = []
    durations: list[int] = []
    for control, frame in frames:
        across, down, left, top = struct.unpack_from(">4I", control, 4)
        if left + across > width or top + down > height:
            raise ValueError(f"a frame of {across}×{down} pixels does not lie in {width}×{height}")
        pixels = np.atleast_3d(imagecodecs.png_decode(frame))
        if canvas is None:
            canvas = np.zeros((height, width, pixels.shape[-1]), np.uint16)
        before, area = canvas.copy(), canvas[top : top + down, left : left + across]
        area[...] = _over(pixels, area) if control[25] == _BLENDED and pixels.shape[-1] in (2, 4) else pixels
        delay, parts_of_a_second = struct.unpack_from(">2H", control, 20)
        durations.append(1000 * delay // (parts_of_a_second or 100))
        shown.append(canvas[..., 0].copy() if canvas.shape[-1] == 1 else canvas.copy())
        if control[24] == _CLEARED or (control[24] == _TAKEN_BACK and len(shown) == 1):
            area[...] = 0
        elif control[24] == _TAKEN_BACK:
            canvas = before
    return shown, durations


def _frames(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The parts of an animated PNG: where each belongs (the chunk fcTL), and it as a PNG of its own."""
    head, control, parts = b"", b"", []
    clear = [data[part] for name, part in _chunks(data) if name == b"tRNS"]

    def frame() -> tuple[bytes, bytes]:
        header = png_chunk(b"IHDR", control[4:12] + head[8:])
        return control, b"".join([PNG_MAGIC, header, *clear, png_chunk(b"IDAT", b"".join(parts)), _END])

    for name, part in _chunks(data):
        body = data[part.start + 8 : part.stop - 4]
        if name == b"IHDR":
            head = body
        elif name == b"fcTL":
            if control:
                yield frame()
            control, parts = body, []
        elif name in (b"IDAT", b"fdAT") and control:  # before the first fcTL: for programs without animations
            parts.append(body[4:] if name == b"fdAT" else body)
    if control:
        yield frame()


def _over(front: np.ndarray, back: np.ndarray) -> np.ndarray:
    """One picture with alpha put on another, of 16 bits."""
    share = front[..., -1:] / 65535
    behind = back[..., -1:] / 65535 * (1 - share)
    alpha = share + behind
    colour = (front[..., :-1] * share + back[..., :-1] * behind) / np.where(alpha > 0, alpha, 1)
    return np.concatenate([colour, alpha * 65535], axis=-1).round().astype(np.uint16)


def sound_png(data: bytes, note: Callable[[str], None]) -> bytes:
    """A PNG without the parts beside its pixels whose checksum is wrong, and with its texts before its pixels, where
    Pillow looks for them; any other file as it is."""
    if not data.startswith(PNG_MAGIC):
        return data
    data = _without_wrong_parts(data, note)
    places = [part.start + 8 for name, part in _chunks(data) if name in _TEXTS and name != b"eXIf"]
    words = Counter(data[place : place + _KEYWORD].partition(b"\0")[0].decode("latin-1") for place in places)
    if repeated := [word for word, count in words.items() if count > 1 and word.isprintable()]:
        more = ", …" * (len(repeated) > 3)
        note(f"of several texts of one name ({', '.join(repeated[:3])}{more}) the last is kept")
    return _texts_first(data)


def _texts_first(data: bytes) -> bytes:
    late, pixels = [], False
    for name, part in _chunks(data):
        pixels = pixels or name == b"IDAT"
        if pixels and name in _TEXTS:
            late.append(part)
    if not late:
        return data
    rest = _without(data, late)
    return b"".join([rest[:_HEADER], *(data[part] for part in late), rest[_HEADER:]])


def _without(data: bytes, parts: list[slice]) -> bytes:
    """The data without these parts, which lie one after the other."""
    starts, stops = [0, *(part.stop for part in parts)], [*(part.start for part in parts), len(data)]
    return b"".join(data[start:stop] for start, stop in zip(starts, stops, strict=True))


def _without_wrong_parts(data: bytes, note: Callable[[str], None]) -> bytes:
    lost = [
        (name, part)
        for name, part in _chunks(data)
        if name.isalpha() and name[0] & 0x20 and name not in _FRAMES
        if zlib.crc32(data[part.start + 4 : part.stop - 4]) != int.from_bytes(data[part.stop - 4 : part.stop], "big")
    ]
    if not lost:
        return data
    note(f"what it holds beside the pixels is damaged and left out ({', '.join(name.decode() for name, _ in lost)})")
    return _without(data, [part for _, part in lost])


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


def jpeg2000_profile(data: bytes) -> bytes | None:
    """The colour profile of a JPEG 2000, from the box ``colr`` of method 2 or 3; None for others."""
    start = data.find(b"\xff\x4f\xff\x51")
    for method in (b"colr\x02", b"colr\x03"):
        if (box := data.find(method, 0, max(start, 0))) >= 4:
            return data[box + 7 : box - 4 + int.from_bytes(data[box - 4 : box], "big")]
    return None


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
    bits = avif_bits(data)
    if bits == 8:
        return None
    import imagecodecs

    pixels = imagecodecs.avif_decode(data, 0)
    pixels = pixels[0] if pixels.ndim == 4 else pixels
    if pixels.dtype != np.uint16:
        return None
    return stretch(pixels, 2**bits - 1)


def avif_bits(data: bytes) -> int:
    """How many bits the samples of an AVIF have: 8, 10 or 12."""
    box, depths = (data[:65536].find(name) for name in (b"av1C", b"pixi"))
    if box < 0 or not data[box + 6] & 0x40:
        return 8
    if depths >= 0 and max(data[depths + 9 : depths + 9 + data[depths + 8]], default=0) <= 8:
        return 8  # a damaged header: the decoder would take it at its word and spoil memory
    return 12 if data[box + 6] & 0x20 else 10


def declared_colour(data: bytes) -> tuple[int, int] | None:
    """Primaries and transfer function of an AVIF or HEIF (``nclx``) or a PNG (``cICP``); None where none is said."""
    if data.startswith(PNG_MAGIC):
        for name, part in _chunks(data):
            if name == b"cICP" and part.stop - part.start == 16:
                return data[part.start + 8], data[part.start + 9]
            if name == b"IDAT":
                break
        return None
    box = data[:65536].find(b"colrnclx")
    numbers = data[box + 8 : box + 12]
    return (numbers[1] + 256 * numbers[0], numbers[3] + 256 * numbers[2]) if box >= 0 and len(numbers) == 4 else None


def is_srgb(primaries: int, transfer: int) -> bool:
    """Whether colours that are declared so are what a file without a profile means."""
    return primaries in (1, _UNSPECIFIED) and transfer in _AS_SRGB


def name_of_primaries(primaries: int) -> str:
    """What people call them."""
    return _PRIMARIES[primaries][0] if primaries in _PRIMARIES else f"primaries {primaries}"


def profile_of(primaries: int, transfer: int, *, grey: bool = False) -> bytes | None:
    """The profile of colours, or grey, that are declared so; None for numbers that none can be made of."""
    if primaries == _UNSPECIFIED:
        primaries = 1
    if primaries not in _PRIMARIES or transfer not in _AS_SRGB | set(_POWERS):
        return None
    import imagecodecs

    _, *points, white = _PRIMARIES[primaries]
    profile = imagecodecs.cms_profile(
        "gray" if grey else "rgb",
        whitepoint=[*white, 1.0],
        primaries=[value for point in points for value in (*point, 1.0)],
        transferfunction=None if transfer in _POWERS else _srgb_light(),
        gamma=_POWERS.get(transfer),
    )
    return profile[:24] + struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + profile[36:]  # of one day, not of today


def _srgb_light() -> np.ndarray:
    return (to_linear(np.linspace(0, 1, 1024)) * 65535).round().astype(np.uint16)


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
    if pixels.dtype == np.uint16 and 8 < (bits := image.info.get("bit_depth", 16)) < 16:
        pixels = stretch(pixels >> (16 - bits), 2**bits - 1)  # it fills up with zeros
    if image.mode.startswith(("La", "RGBa")) or image.info.get("premultiplied_alpha"):
        raise PictureError(f"{name}: its colours are multiplied with its transparency: save it as PNG")
    return pixels, dict(image.info), len(opened)


_TOKEN = re.compile(rb"(?:\s|#[^\r\n]*)*([^\s#]+)")


def netpbm(
    data: bytes, check: Callable[[int, int], None], note: Callable[[str], None] = lambda text: None
) -> np.ndarray | None:
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
    count = width * height * channels
    if kind in (b"P5", b"P6") and data[place + 1 + count * (1 if top <= 255 else 2) :].startswith(kind):
        note("several pictures in one file, only the first is used")
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
