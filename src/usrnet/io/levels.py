"""Full scale: ``unit = (stored − black) / (white − black)``, and back.

Restoring works on the unit range, in which 0 is black, 1 is full scale and noise levels count in 1/255. Values
below 0 and above 1 are kept: a background-subtracted picture has both.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from usrnet.errors import PictureError, UsrnetError

White = float | Literal["auto"] | None
SPARSE = 1 / 8  # data that fill less of their range than this get a note
_SMALL = (np.uint8, np.uint16, np.float32)
FAR = (-1.0, 2.0)  # floats within this are taken for the range from 0 to 1 with something on either side


@dataclass(frozen=True)
class Levels:
    """The stored values that mean 0 and 1."""

    black: float = 0.0
    white: float = 1.0

    def unit(self, stored: np.ndarray) -> np.ndarray:
        """Stored values as float32 in which ``black`` is 0 and ``white`` is 1."""
        if self.black == 0 and stored.dtype in _SMALL:
            values = stored.astype(np.float32)
            values /= np.float32(self.white)
            return values
        return ((stored.astype(np.float64) - self.black) / (self.white - self.black)).astype(np.float32)

    def stored(self, unit: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """The inverse of ``unit``: integers are rounded and held to what ``dtype`` can hold, floats are not."""
        if self.black == 0 and dtype in _SMALL:
            # 32-bit floats hold these numbers exactly, at half the memory.
            values = unit * np.float32(self.white)
            return values if dtype.kind == "f" else values.round().clip(0, np.iinfo(dtype).max).astype(dtype)
        values = unit.astype(np.float64) * (self.white - self.black) + self.black
        if dtype.kind == "f":
            return values.astype(dtype)
        limits = np.iinfo(dtype)
        top = float(limits.max) if limits.bits < 64 else np.nextafter(float(limits.max), 0)
        return values.round().clip(float(limits.min), top).astype(dtype)


def full_scale(dtype: np.dtype) -> Levels:
    """What a type means when nothing else is said: 0 to its largest value, floats 0 to 1."""
    return Levels(0.0, 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max))


def parse_white(text: str | float | None) -> White:
    """What ``--white`` takes: a positive number, ``auto``, or None. Raises ``UsrnetError``."""
    if text is None or text == "auto":
        return text
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 < value < math.inf:
        raise UsrnetError(f"white {text!r} is not full scale: give a number above zero, or auto")
    return value


def choose(low: float, high: float, dtype: np.dtype, white: White, *, declared: Levels | None = None) -> Levels:
    """The levels of data that lie from ``low`` to ``high``; see ``choose_with_note``."""
    return choose_with_note(low, high, dtype, white, declared=declared)[0]


def choose_with_note(
    low: float, high: float, dtype: np.dtype, white: White, *, declared: Levels | None = None
) -> tuple[Levels, str | None]:
    """The levels of data that lie from ``low`` to ``high``, and what the user should know about them.

    ``white``: the value that is full scale, ``"auto"`` for the data's own range, None for what the type means, or
    ``declared``, what the file says. Without it integers of 32 and more bits, which have no full scale of their
    own, and floats far outside the range from 0 to 1 take the data's range. Raises ``PictureError`` for values that
    no range holds.
    """
    if not math.isfinite(float(high) - float(low)):  # 64-bit floats can lie farther apart than one of them holds
        raise PictureError(f"values lie from {low:.6g} to {high:.6g}: too far apart for a picture")
    usual = declared or full_scale(dtype)
    own = Levels(low, high) if high > low else usual
    lie = f"values lie from {low:.6g} to {high:.6g}"
    if white == "auto":
        return own, f"{lie}, which is taken as full scale"
    if white is not None:
        note = f"{lie}, far above {white:g}, which is said to be full scale" if high > 2 * white else None
        return Levels(0.0, white), note
    hint = "--white VALUE says what full scale is, --white auto takes the range of the data"
    if declared is None and dtype.kind == "f" and (low < FAR[0] or high > FAR[1]):
        return own, f"{lie}, not from 0 to 1, and this range is taken as full scale: {hint}"
    if declared is None and dtype.kind in "iu" and dtype.itemsize > 2:
        return own, f"{lie}, and this range is taken as full scale: {hint}"
    if dtype.kind == "f" and (low < 0 or high > 1):
        return usual, f"{lie}, partly outside 0 to 1, and are kept: {hint}"
    fills = (high - low) / (usual.white - usual.black)
    if 0 < fills < SPARSE and dtype != np.uint8:  # with 8 bits that is a picture of little contrast
        count = (usual.white - usual.black) / 255
        return usual, f"{lie}, {fills:.2%} of the range, where a noise level of 1 is {count:.3g}: {hint}"
    return usual, None
