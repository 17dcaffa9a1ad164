"""What was not measured in a picture: NaN, and the value that a file names (``GDAL_NODATA`` of a GeoTIFF, ``BLANK``
of a FITS file).

A gap is read as the nearest measured value of its band, as what cannot be seen is, and is put back into the result:
as a number it would spread over its neighbours.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from usrnet.errors import PictureError
from usrnet.io.planes import bleed, enlarge_nearest, has_alpha

if TYPE_CHECKING:
    from usrnet.io.tiff import TiffRows

_ROWS = 256  # that are looked at at once


def value_of(number: object, dtype: np.dtype) -> float | None:
    """What a file names as its missing value, as a sample of the type ``dtype``; None where it can be none."""
    try:
        value = float(str(number).strip("\0 ").replace(",", "."))
    except ValueError:
        return None
    limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    if not float(limits.min) <= value <= float(limits.max):  # nor NaN, which is missing in any case
        return None
    return None if dtype.kind in "iu" and not value.is_integer() else float(dtype.type(value))


def absent(pixels: np.ndarray, missing: float | None) -> np.ndarray:
    """Which samples are gaps: NaN, and those of the value ``missing``."""
    gone = np.isnan(pixels) if pixels.dtype.kind == "f" else np.zeros(pixels.shape, bool)
    return gone if missing is None else gone | (pixels == missing)


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

    ``low`` and ``high``: the range of what was measured, alpha left out; ``usual``: a value of it, 0 where there is
    none; ``count``: how many of the ``total`` samples are gaps; ``missing``: the value that the file names;
    ``meaning``: what counts as a gap, for people.
    """

    low: float
    high: float
    usual: float
    count: int
    total: int
    missing: float | None
    meaning: str

    @property
    def measured(self) -> bool:
        """Whether there is anything else than gaps."""
        return self.low <= self.high


def survey(rows: "np.ndarray | TiffRows", *, extra: int = 0, missing: float | None = None) -> Survey:
    """Look at a picture once, by rows, H×W or H×W×C."""
    low, high, usual, count = np.inf, -np.inf, None, 0
    for top in range(0, rows.shape[0], _ROWS):
        part = rows[top : top + _ROWS]
        values = without_alpha(part, extra)
        if (part.dtype.kind == "f" or missing is not None) and (gone := absent(part, missing)).any():
            count += int(np.count_nonzero(gone))
            values = values[~without_alpha(gone, extra)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            usual = values.flat[0] if usual is None else usual
    total = int(np.prod(rows.shape, dtype=np.int64))
    meaning = ["NaN"] * (rows.dtype.kind == "f") + ([] if missing is None else [f"{missing:.9g}"])
    return Survey(low, high, 0 if usual is None else usual, count, total, missing, " or ".join(meaning))


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
        gone = absent(part, self.found.missing)
        if not gone.any():
            return part
        if part.ndim == 2:
            return self._filled(part, gone)
        bands = [self._filled(part[..., band], gone[..., band]) for band in range(part.shape[-1])]
        return np.stack(bands, axis=-1)

    def _filled(self, band: np.ndarray, gone: np.ndarray) -> np.ndarray:
        if gone.all():
            return np.full_like(band, self.found.usual)
        return bleed(band, (~gone).astype(np.float32))

    def put_back(self, strips: Iterable[np.ndarray], scale: int) -> Iterator[np.ndarray]:
        """The strips of a result ``scale`` times as large, in which every gap is what it was in the picture."""
        top = 0
        for strip in strips:
            rows = slice(top // scale, -(-(top + len(strip)) // scale))
            start, part = top - rows.start * scale, self.rows[rows]
            gone, stored = (
                enlarge_nearest(values, scale)[start : start + len(strip)].reshape(strip.shape)
                for values in (absent(part, self.found.missing), part)
            )
            yield np.where(gone, stored, strip)
            top += len(strip)


def filled(rows: "np.ndarray | TiffRows", found: Survey) -> "tuple[np.ndarray | TiffRows | Gaps, Gaps | None]":
    """A picture without gaps, filled at once where it is in memory, and the gaps that it had."""
    if not found.count:
        return rows, None
    gaps = Gaps(rows, found)
    return (gaps[:] if isinstance(rows, np.ndarray) else gaps), gaps
