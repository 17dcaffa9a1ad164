"""From the stored samples of a TIFF page to pixels: one rule, made of what the tags of the page say."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from usrnet.errors import PictureError
from usrnet.io.colours import cmyk_to_rgb, lab_to_rgb, ycbcr_to_rgb
from usrnet.io.gaps import absent, apart, value_of
from usrnet.io.levels import Levels
from usrnet.io.metadata import NODATA, profile_space

JPEG = (6, 7, 34892, 33007)  # compressions
_NOT_ALPHA, _PREMULTIPLIED, _STRAIGHT = 0, 1, 2  # ExtraSamples


@dataclass(frozen=True)
class Rule:
    """How the stored samples of a page become pixels."""

    channels: int  # colour, then alpha, then extra
    extra: int
    dtype: np.dtype
    convert: Callable[[np.ndarray], np.ndarray]  # h×w×S stored → h×w×channels
    levels: Levels | None = None  # full scale, where the file says another than the type's
    srgb: bool = False  # converted to sRGB, so that its profile no longer holds
    hole: float | None = None  # the stored sample that the file names as missing
    missing: float | None = None  # what becomes of it, where that is a value of its own


def rule_of(page: Any, name: str, profile: bytes | None, note: Callable[[str], None]) -> Rule:
    """What the tags of a page say about its samples. Raises ``PictureError`` for what is not supported."""

    def refuse(what: str) -> PictureError:
        return PictureError(f"{name}: {what}")

    photometric, samples, bits = int(page.photometric), int(page.samplesperpixel), page.bitspersample
    if page.dtype is None or np.dtype(page.dtype).kind not in "buif":
        kind = "complex numbers" if page.dtype is not None else f"samples of {bits} bits"
        raise refuse(f"{kind} are not supported: save whole numbers of 8 to 32 bits or floats")
    dtype = np.dtype(page.dtype).newbyteorder("=")
    depth, scale = _depth(dtype, int(bits))
    if scale is not None and dtype.kind != "b":
        note(f"its {bits} bits per sample become {8 * depth.itemsize}, full scale staying full scale")
    levels = Levels(0, 2 ** int(bits) - 1) if 16 < bits < 32 and dtype.kind == "u" else None
    colours, convert, srgb, hole = 1, _same, False, _hole(page, dtype, int(bits))
    mixed = photometric == 5 or (photometric in (8, 9, 10) and samples >= 3)  # several samples make a colour
    signed = dtype.kind not in "u"
    top = int(np.iinfo(depth).max) if depth.kind == "u" else 1
    if photometric == 0:
        if dtype.kind in "if":
            raise refuse(f"white is its lowest value and its samples are {dtype}, whose white is not known")
        top = 2 ** int(bits) - 1 if levels else top
        convert = _inverted(samples, top)
    elif photometric == 2 and samples >= 3:
        colours = 3
    elif photometric == 3:
        _say_unknown(hole, note)
        return replace(_palette(page, name), hole=hole)
    elif photometric == 5:
        if samples < 4 or page.tags.valueof(332, default=1) != 1 or signed or depth.itemsize > 2:
            raise refuse("its inks are not cyan, magenta, yellow and black in 8 or 16 bits: save it as RGB")
        colours, srgb, convert = 3, True, _first(4, lambda inks: cmyk_to_rgb(inks, profile, note))
        samples -= 1
        if profile_space(profile) != "CMYK":
            note("four inks without a profile, converted plainly to RGB")
    elif photometric == 6 and samples >= 3:
        if signed or depth.itemsize > 2:
            raise refuse(f"luminance and chrominance in {dtype} are not supported: save it as RGB")
        colours = 3
        if mixed := int(page.compression) not in JPEG:  # those decoders give RGB already
            weights = _ratios(page.tags.valueof(529), 3) or (0.299, 0.587, 0.114)
            reference = _ratios(page.tags.valueof(532), 6) if bits == 8 * depth.itemsize else ()
            if depth.itemsize == 2 and max(reference, default=0) < 256:  # codes of 8 bits all the same
                reference = tuple(257 * code for code in reference)
            convert = _first(3, lambda values: ycbcr_to_rgb(values, weights=weights, reference=reference))
    elif photometric in (8, 9, 10) and samples >= 3:
        if depth.itemsize > 2 or photometric == 10 or dtype.kind == "f":
            raise refuse(f"Lab colours of this kind ({dtype}) are not supported: save it as RGB")
        colours, srgb = 3, True
        depth = np.dtype(f"u{depth.itemsize}")
        convert = _first(3, _lab(photometric, depth))
    elif photometric not in (1, 2, 6, 8, 9):
        kind = getattr(page.photometric, "name", str(photometric))
        raise refuse(f"colours of the kind {kind} are not supported: save it as grey or RGB")
    if scale is not None:
        convert = _scaled(convert, scale)
    kinds = [int(kind) for kind in page.extrasamples or ()]
    kinds = (kinds + [_NOT_ALPHA] * samples)[: samples - colours]
    alpha = next((place for place, kind in enumerate(kinds) if kind in (_PREMULTIPLIED, _STRAIGHT)), None)
    place = None if alpha is None else colours + alpha
    missing = None if mixed else _as_pixel(hole, convert, samples, place, dtype)
    if missing is None:
        _say_unknown(hole, note)
    if bits == 24:
        convert = _scaled(convert, _of_three_bytes(page.parent.byteorder))
    if alpha is not None and place is not None:
        divided = kinds[alpha] == _PREMULTIPLIED
        convert = _with_alpha(convert, colours, place, depth, premultiplied=divided, missing=missing)
    extra = samples - colours - (alpha is not None)
    return Rule(samples, extra, depth, convert, levels, srgb, hole, missing)


def _hole(page: Any, dtype: np.dtype, bits: int) -> float | None:
    """The stored sample that the file names as missing; None where it names none."""
    value = value_of(page.tags.valueof(NODATA, default=""), np.dtype(np.uint8) if dtype.kind == "b" else dtype)
    return None if value is not None and dtype.kind in "bu" and value >= 2**bits else value


def _as_pixel(
    hole: float | None, convert: Callable[[np.ndarray], np.ndarray], samples: int, alpha: int | None, dtype: np.dtype
) -> float | None:
    """What the stored sample ``hole`` becomes in all channels but ``alpha``; None where these differ."""
    if hole is None or dtype.kind in "if":  # which stay as they are
        return hole
    made = convert(np.full((1, 1, samples), hole, dtype))[0, 0]
    values = set((made if alpha is None else np.delete(made, alpha)).tolist())
    return values.pop() if len(values) == 1 else None


def _say_unknown(hole: float | None, note: Callable[[str], None]) -> None:
    if hole is not None:
        note(f"its missing value ({hole:.9g}) is one of stored samples, not of colours, and is taken for measured")


def _depth(dtype: np.dtype, bits: int) -> tuple[np.dtype, Callable[[np.ndarray], np.ndarray] | None]:
    """The type that samples of ``bits`` bits get, and how they are stretched to fill it."""
    if dtype.kind == "b":
        return np.dtype(np.uint8), lambda stored: stored.astype(np.uint8) * np.uint8(255)
    if dtype.kind != "u" or bits >= 16 or bits == 8:
        return dtype, None
    full, top = (255, 2**bits - 1) if bits < 8 else (65535, 2**bits - 1)
    wide = np.dtype(np.uint8 if bits < 8 else np.uint16)
    return wide, lambda stored: ((stored.astype(np.uint32) * full + top // 2) // top).astype(wide)


def _of_three_bytes(byteorder: str) -> Callable[[np.ndarray], np.ndarray]:
    """Samples of 24 bits with their bytes in order: where the decoder puts which byte depends on its version."""
    import imagecodecs

    units = (bytes(int(place == byte) for place in range(3)) for byte in range(3))
    found = [int(imagecodecs.packints_decode(unit, np.uint32, 24)[0]).bit_length() - 1 for unit in units]
    right = (0, 8, 16) if byteorder == "<" else (16, 8, 0)

    def convert(stored: np.ndarray) -> np.ndarray:
        ordered = np.zeros_like(stored)
        for shift, place in zip(found, right, strict=True):
            ordered |= (stored >> shift & 0xFF) << place
        return ordered

    return convert


def _scaled(
    convert: Callable[[np.ndarray], np.ndarray], scale: Callable[[np.ndarray], np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    return lambda stored: convert(scale(stored))


def _inverted(samples: int, top: int) -> Callable[[np.ndarray], np.ndarray]:
    """White is zero: the first sample is turned round, others beside it are not grey."""

    def convert(stored: np.ndarray) -> np.ndarray:
        stored = stored.copy()
        stored[..., 0] = stored.dtype.type(top) - stored[..., 0]
        return stored

    return convert


def _first(count: int, colours: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """``colours`` for the first samples, the others as they are."""

    def convert(stored: np.ndarray) -> np.ndarray:
        made = colours(stored[..., :count])
        rest = stored[..., count:]
        return made if not rest.shape[-1] else np.concatenate([made, rest.astype(made.dtype)], axis=-1)

    return convert


def _lab(photometric: int, dtype: np.dtype) -> Callable[[np.ndarray], np.ndarray]:
    """CIELAB (a and b signed) and ICCLab (a and b shifted by half the range)."""
    unit = 1 if dtype.itemsize == 1 else 256

    def convert(stored: np.ndarray) -> np.ndarray:
        codes = stored.view(dtype) if stored.dtype.kind == "i" else stored
        white = 255 * unit if photometric == 9 and unit > 1 else np.iinfo(dtype).max
        lightness = codes[..., 0] * (100 / white)
        ab = codes[..., 1:].view(f"i{dtype.itemsize}") / unit if photometric == 8 else codes[..., 1:] / unit - 128
        return lab_to_rgb(lightness, ab[..., 0], ab[..., 1], dtype)

    return lambda stored: convert(np.ascontiguousarray(stored))


def _with_alpha(
    convert: Callable[[np.ndarray], np.ndarray],
    colours: int,
    place: int,
    dtype: np.dtype,
    *,
    premultiplied: bool,
    missing: float | None,
) -> Callable[[np.ndarray], np.ndarray]:
    """Alpha right after the colours, which are divided by it where they were multiplied with it and not missing."""
    top = 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)

    def moved(stored: np.ndarray) -> np.ndarray:
        values = convert(stored)
        others = [index for index in range(colours, values.shape[-1]) if index != place]
        values = values[..., [*range(colours), place, *others]]
        if dtype.kind == "f":  # what is not known to be opaque cannot be seen
            values[..., colours][np.isnan(values[..., colours])] = 0
        if premultiplied:
            alpha = values[..., colours : colours + 1].astype(np.float64)
            straight = np.divide(
                values[..., :colours] * top, alpha, out=np.zeros(values[..., :colours].shape), where=alpha > 0
            )
            straight = straight if dtype.kind == "f" else straight.round().clip(0, top)
            gone = absent(values[..., :colours], missing)
            values[..., :colours] = np.where(gone, values[..., :colours], apart(straight.astype(dtype), missing))
        return values

    return moved


def _ratios(value: Any, count: int) -> tuple[float, ...]:
    """``count`` fractions as a tag holds them, numerators and denominators in turn; empty when it does not."""
    if not isinstance(value, tuple) or len(value) not in (count, 2 * count):
        return ()
    if len(value) == 2 * count:
        if not all(value[1::2]):
            return ()
        value = tuple(value[i] / value[i + 1] for i in range(0, 2 * count, 2))
    return tuple(float(part) for part in value)


def _palette(page: Any, name: str) -> Rule:
    colours = page.colormap
    if colours is None or np.dtype(page.dtype).kind not in "bu":
        raise PictureError(f"{name}: the picture is damaged (a palette is missing)")
    table = np.asarray(colours).reshape(3, -1).T
    # 16 bits are what the format means, 8 what some programs write.
    table = (table if table.max() < 256 else table >> 8).astype(np.uint8)
    others = int(page.samplesperpixel) - 1
    if others:
        raise PictureError(f"{name}: a palette with {others} more samples is not supported: save it as RGB")
    return Rule(3, 0, np.dtype(np.uint8), lambda stored: table[stored[..., 0].astype(np.intp)])


def _same(stored: np.ndarray) -> np.ndarray:
    return stored
