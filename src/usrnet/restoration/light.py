"""Light and what is stored of it: ``stored = curve⁻¹(light)``, and a lens blurs light.

A shaking hand or a lens out of focus adds up light. Files hold a curve of it, most often sRGB's (IEC 61966-2-1), and
the blur of a curve is not the curve of a blur. Undo the curve, restore, apply it again. Noise that is even in what is
stored is then uneven: its deviation in light is that in the file times the curve's slope at the pixel.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from usrnet.errors import UsrnetError
from usrnet.io.colours import from_linear, to_linear

Light = Literal["auto", "linear", "stored"]


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve between what is stored and light, both 0 for black and 1 for white; arrays of any shape.

    ``decode``: stored → light, ``encode``: light → stored. Both grow with what they are given.
    """

    name: str
    decode: Callable[[np.ndarray], np.ndarray]
    encode: Callable[[np.ndarray], np.ndarray]

    def slope(self, stored: np.ndarray) -> np.ndarray:
        """How much light a step of what is stored is, over one level of eight bits."""
        half = np.float32(0.5 / 255)
        inside = np.clip(stored, half, 1 - half)  # beyond black and white a table says nothing
        return (self.decode(inside + half) - self.decode(inside - half)) * 255


SRGB = Curve("sRGB", to_linear, from_linear)


def power(exponent: float) -> Curve:
    """``light = stored^exponent``, as a gAMA chunk or an ICC profile may say; 2.2 in most cases."""

    def decode(stored: np.ndarray) -> np.ndarray:
        return np.maximum(stored, 0) ** np.float32(exponent)

    def encode(light: np.ndarray) -> np.ndarray:
        return np.maximum(light, 0) ** np.float32(1 / exponent)

    return Curve(f"gamma {exponent:.3g}", decode, encode)


def from_icc(profile: bytes) -> Curve | None:
    """The tone curve of an ICC profile (``rTRC`` or ``kTRC``), or None where it has none.

    ICC.1:2022, sections 10.6 (curveType) and 10.18 (parametricCurveType). Profiles of cameras and screens have the
    same curve for all three colours; the red one is taken.
    """
    try:
        (count,) = struct.unpack_from(">I", profile, 128)
        tags = [struct.unpack_from(">4sII", profile, 132 + 12 * index) for index in range(count)]
        places = {name: profile[start : start + size] for name, start, size in tags}
        data = places.get(b"rTRC") or places.get(b"kTRC")
        return _from_icc_curve(data) if data else None
    except struct.error:
        return None


def _from_icc_curve(data: bytes) -> Curve | None:
    kind = data[:4]
    stored = np.linspace(0, 1, 4097)
    if kind == b"curv":
        (count,) = struct.unpack_from(">I", data, 8)
        values = np.array(struct.unpack_from(f">{count}H", data, 12), np.float64)
        if count < 2:
            exponent = values[0] / 256 if count else 1.0
            return power(exponent) if exponent else None
        light = np.interp(stored, np.linspace(0, 1, count), values / 65535)
    elif kind == b"para":
        (function,) = struct.unpack_from(">H", data, 8)
        names = ("g", "gab", "gabc", "gabcd", "gabcdef")
        if function >= len(names):
            return None
        numbers = struct.unpack_from(f">{len(names[function])}i", data, 12)
        p = (
            dict.fromkeys("gabcdef", 0.0)
            | {"a": 1.0}
            | dict(zip(names[function], np.array(numbers) / 65536, strict=True))
        )
        if function in (1, 2):
            start, below, above = -p["b"] / (p["a"] or 1), np.full_like(stored, p["c"]), p["c"]
        else:
            start, below, above = p["d"], p["c"] * stored + p["f"], p["e"]
        with np.errstate(all="ignore"):  # what is not finite is found below
            rising = np.maximum(p["a"] * stored + p["b"], 0) ** p["g"] + above
        light = np.where(stored >= start, rising, below)
    else:
        return None
    if not (np.isfinite(light).all() and light[-1] > light[0] and (np.diff(light) >= 0).all()):
        return None
    return _from_table(stored, light)


def _from_table(stored: np.ndarray, light: np.ndarray) -> Curve:
    rising = np.concatenate([[True], np.diff(light) > 0])  # the inverse needs steps that go up
    back_light, back_stored = light[rising], stored[rising]

    def decode(values: np.ndarray) -> np.ndarray:
        return np.interp(values, stored, light).astype(values.dtype)

    def encode(values: np.ndarray) -> np.ndarray:
        return np.interp(values, back_light, back_stored).astype(values.dtype)

    return Curve("profile", decode, encode)


def check_light(light: str) -> Light:
    """``light`` itself; raises ``UsrnetError`` for a word that is none."""
    for known in get_args(Light):
        if light == known:
            return known
    raise UsrnetError(f"light {light!r} is not known: choose {', '.join(get_args(Light))}")


def choose_curve(light: Light, *, camera: bool, icc_profile: bytes | None, gamma: float | None) -> Curve | None:
    """The curve to undo before restoring, or None to restore what is stored.

    ``"auto"``: where a ``camera`` took the picture. ``icc_profile`` goes before ``gamma`` (the exponent of a gAMA
    chunk, 1/2.2 = 0.45455), sRGB is what files without either mean. A file that holds light already needs no curve.
    Raises ``UsrnetError`` for another ``light``.
    """
    check_light(light)
    if light == "stored" or (light == "auto" and not camera):
        return None
    curve = from_icc(icc_profile) if icc_profile else None
    if curve is None:
        curve = SRGB if gamma is None or abs(gamma - 0.45455) < 0.002 else power(1 / gamma)
    probe = np.linspace(0, 1, 33)
    return None if np.abs(curve.decode(probe) - probe).max() < 1e-3 else curve
