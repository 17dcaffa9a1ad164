"""What was not measured in a picture: NaN, and the value that a file names (``GDAL_NODATA`` of a GeoTIFF, ``BLANK``
of a FITS file).

A gap is read as the nearest measured value of its band, as what cannot be seen is, and is put back into the result:
as a number it would spread over its neighbours. How opaque a pixel is was not measured at all: alpha has no gaps.
"""

import math
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from usrnet.errors import PictureError
from usrnet.io.planes import bleed, enlarge_nearest, has_alpha

if TYPE_CHECKING:
    from usrnet.io.tiff import TiffRows

_ROWS = 256  # that are looked at at once
_ROUNDED = 1e-14  # relative: what texts of 15 digits leave open


def value_of(number: object, dtype: np.dtype) -> float | None:
    """What a file names as its missing value, as a sample of the type ``dtype``; None where it can be none."""
    text = str(number).strip("\0 ").replace(",", ".")
    if dtype.kind in "iu" and re.fullmatch(r"[+-]?[0-9]{1,20}", text):  # all 64 bits, which a float has not
        return int(text) if np.iinfo(dtype).min <= int(text) <= np.iinfo(dtype).max else None
    try:
        value = float(text)
    except ValueError:
        return None
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return value if value.is_integer() and limits.min <= value <= limits.max else None
    if math.isnan(value):
        return math.nan
    if "inf" not in str(number).lower():
        value = _unrounded(value)
    with np.errstate(over="ignore"):
        sample = float(dtype.type(value))
    return sample if math.isfinite(sample) else None


def _unrounded(value: float) -> float:
    """A number as it was before a text of 15 digits rounded it, where it is the lowest or the highest of 64 bits."""
    largest = math.copysign(sys.float_info.max, value)
    return largest if math.isinf(value) or math.isclose(value, largest, rel_tol=_ROUNDED) else value


def absent(pixels: np.ndarray, missing: float | None, *, extra: int = 0) -> np.ndarray:
    """Which samples are gaps: NaN, and those of the value ``missing``, but in alpha; ``extra`` as below."""
    gone = np.isnan(pixels) if pixels.dtype.kind == "f" else np.zeros(pixels.shape, bool)
    if missing is not None:
        gone |= pixels == missing
    if has_alpha(pixels.shape, extra):
        gone[..., pixels.shape[-1] - extra - 1] = False
    return gone


def apart(pixels: np.ndarray, missing: float | None, *, extra: int = 0) -> np.ndarray:
    """Whole numbers that came out as ``missing`` though nothing is missing there become the nearest other one."""
    if missing is None or pixels.dtype.kind == "f":
        return pixels
    step = -1 if missing == np.iinfo(pixels.dtype).max else 1
    return np.where(absent(pixels, missing, extra=extra), pixels.dtype.type(int(missing) + step), pixels)


def without_alpha(pixels: np.ndarray, extra: int) -> np.ndarray:
    """The channels whose values have levels; ``extra``: how many of the last are neither colour nor alpha."""
    if not has_alpha(pixels.shape, extra):
        return pixels
    return np.delete(pixels, pixels.shape[-1] - extra - 1, axis=-1)


def refuse_infinite(pixels: np.ndarray, name: str) -> None:
    """Raise ``PictureError`` for values that are infinite: nobody can say what they mean."""
    if pixels.dtype.kind == "f" and np.isinf(pixels).any():
        raise PictureError(
            f"{name}: the picture holds infinite values: replace them by NaN, which counts as missing, or by numbers"
        )


@dataclass(frozen=True)
class Survey:
    """What one pass over a picture finds.

    ``low`` and ``high``: the range of what was measured, alpha left out; ``usual``: a value of it for each channel,
    of another channel where there is none; ``count``: how many of the ``total`` samples are gaps; ``missing``: the
    value that the file names; ``meaning``: what counts as a gap, for people; ``extra``: how many of the last channels
    are neither colour nor alpha.
    """

    low: float
    high: float
    usual: tuple[float, ...]
    count: int
    total: int
    missing: float | None
    meaning: str
    extra: int = 0

    @property
    def measured(self) -> bool:
        """Whether there is anything else than gaps."""
        return self.low <= self.high


def survey(rows: "np.ndarray | TiffRows", *, extra: int = 0, missing: float | None = None) -> Survey:
    """Look at a picture once, by rows, H×W or H×W×C."""
    low, high, count = np.inf, -np.inf, 0
    usual: list[Any] = [None] * (rows.shape[2] if len(rows.shape) == 3 else 1)
    for top in range(0, rows.shape[0], _ROWS):
        part = rows[top : top + _ROWS]
        values, gone = without_alpha(part, extra), None
        if part.dtype.kind == "f" or missing is not None:
            gone = absent(part, missing, extra=extra)
            if gone.any():
                count += int(np.count_nonzero(gone))
                values = values[~without_alpha(gone, extra)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
        for channel in [channel for channel, value in enumerate(usual) if value is None]:
            band = _bands(part)[channel] if gone is None else _bands(part)[channel][~_bands(gone)[channel]]
            usual[channel] = band.flat[0] if band.size else None
    total = int(np.prod(rows.shape, dtype=np.int64)) - has_alpha(rows.shape, extra) * rows.shape[0] * rows.shape[1]
    meaning = ["NaN"] * (rows.dtype.kind == "f")
    meaning += [] if missing is None or math.isnan(missing) else [f"{missing:.9g}"]
    other = next((value for value in usual if value is not None), 0)
    stand_ins = tuple(other if value is None else value for value in usual)
    return Survey(low, high, stand_ins, count, total, missing, " or ".join(meaning), extra)


def _bands(pixels: np.ndarray) -> list[np.ndarray]:
    return [pixels] if pixels.ndim == 2 else list(np.moveaxis(pixels, -1, 0))


def note_on_gaps(surveys: Iterable[Survey], name: str) -> str | None:
    """What the user should know of the gaps of a picture, or of the pages of a stack; None where there are none.

    Raises ``PictureError`` where there is nothing else.
    """
    found = list(surveys)
    count, total = sum(one.count for one in found), sum(one.total for one in found)
    meaning = ", ".join(sorted({one.meaning for one in found if one.count}))
    if not any(one.measured for one in found):
        raise PictureError(f"{name}: nothing in it was measured, all of its values are missing ({meaning})")
    if not count:
        return None
    share = f"{100 * count / total:.3g}%"
    return f"{count} of its {total} values ({share}) are missing ({meaning}), the nearest ones stand in for them"


class Gaps:
    """A picture that is read by rows, in which gaps are filled; ``found``: what a survey of ``rows`` says."""

    def __init__(self, rows: "np.ndarray | TiffRows", found: Survey) -> None:
        self.rows, self.found, self.shape = rows, found, rows.shape

    def __getitem__(self, rows: slice, /) -> np.ndarray:
        part = self.rows[rows]
        gone = self._absent(part)
        if not gone.any():
            return part
        bands = [_filled(*band) for band in zip(_bands(part), _bands(gone), self.found.usual, strict=True)]
        return bands[0] if part.ndim == 2 else np.stack(bands, axis=-1)

    def _absent(self, part: np.ndarray) -> np.ndarray:
        return absent(part, self.found.missing, extra=self.found.extra)

    def put_back(self, strips: Iterable[np.ndarray], scale: int) -> Iterator[np.ndarray]:
        """The strips of a result ``scale`` times as large, in which every gap, and nothing else, is what it was."""
        top = 0
        for strip in strips:
            strip = apart(strip, self.found.missing, extra=self.found.extra)
            if not self.found.count:
                yield strip
                continue
            rows = slice(top // scale, -(-(top + len(strip)) // scale))
            start, part = top - rows.start * scale, self.rows[rows]
            gone, stored = (
                enlarge_nearest(values, scale)[start : start + len(strip)].reshape(strip.shape)
                for values in (self._absent(part), part)
            )
            yield np.where(gone, stored, strip)
            top += len(strip)


def _filled(band: np.ndarray, gone: np.ndarray, usual: float) -> np.ndarray:
    return np.full_like(band, usual) if gone.all() else bleed(band, (~gone).astype(np.float32))


def filled(rows: "np.ndarray | TiffRows", found: Survey) -> "tuple[np.ndarray | TiffRows | Gaps, Gaps | None]":
    """A picture without gaps, filled at once where it is in memory, and the gaps that it had or that can be named."""
    gaps = Gaps(rows, found)
    if not found.count:
        return rows, None if found.missing is None else gaps
    return (gaps[:] if isinstance(rows, np.ndarray) else gaps), gaps
