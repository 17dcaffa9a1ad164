"""What is known of one picture ``y = (x ⊗ k)↓s + n``: scale, kernel and noise; and how light became its values."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from usrnet import kernels
from usrnet.degradation import check_scale
from usrnet.errors import UsrnetError
from usrnet.restoration.highlights import AUTO_LEVEL
from usrnet.restoration.light import Curve, Light, check_light, choose_curve
from usrnet.restoration.noise import NoiseLevel, Poisson, deviation, parse_noise

DEFAULT_WIDTHS = {1: 0.4, 2: 0.7, 3: 1.5, 4: 2.0}
"""Gaussian widths (in high-resolution pixels) that suit clean photos, by scale (the published choice)."""

DEFAULT_NOISE_LEVEL = 2.0


@dataclass(frozen=True, eq=False)
class Observation:
    """``scale``: s; ``taps``: the kernel, C×kh×kw float64 with C = 1 or 3; ``noise_level``: see ``NoiseLevel``.

    ``saturation``: the stored value in [0,1] from which a pixel is clipped, None where none is. ``curve``: how light
    is stored, None where the stored values are what was blurred; ``light``: what was asked for, until it is known how
    the picture was stored. ``field``: the kernels of a blur that varies over the picture, whose mean ``taps`` are.
    """

    scale: int
    taps: np.ndarray
    noise_level: NoiseLevel
    saturation: float | None = None
    light: Light = "stored"
    curve: Curve | None = None
    field: kernels.Field | None = None

    @cached_property
    def extent(self) -> tuple[int, int]:
        """The sides of the window that holds the kernel; the margins of nothing around it cost time for nothing."""
        return kernels.extent(self.taps)

    @cached_property
    def is_identity(self) -> bool:
        """Whether the picture is the scene itself, ``y = x``: no enlarging, no blur and no noise."""
        height, width = self.taps.shape[-2:]
        middle = self.taps[:, height // 2, width // 2]
        alone = bool((middle == 1).all()) and float(np.abs(self.taps).sum()) == float(middle.sum())
        quiet = isinstance(self.noise_level, float | int) and self.noise_level == 0
        return self.scale == 1 and quiet and alone and self.field is None

    def stored_as(
        self, *, camera: bool = False, icc_profile: bytes | None = None, gamma: float | None = None
    ) -> "Observation":
        """The same for one picture, of which is known how it was stored; see ``choose_curve``."""
        return self.with_curve(choose_curve(self.light, camera=camera, icc_profile=icc_profile, gamma=gamma))

    def with_curve(self, curve: Curve | None) -> "Observation":
        """The same for a picture that stores light on a curve, or of which what is stored is restored."""
        return replace(self, curve=curve, light="stored" if curve is None else "linear")

    def part(self, rows: slice, columns: slice, height: int, width: int) -> "Observation":
        """What is known of the part ``rows``, ``columns`` of a picture of ``height``×``width`` pixels."""
        noise = self.noise_level
        if self.field is None and not isinstance(noise, np.ndarray):
            return self
        if isinstance(noise, np.ndarray):
            noise = noise[rows, columns]
        field = self.field and self.field.part(
            rows.start / height, rows.stop / height, columns.start / width, columns.stop / width
        )
        return replace(self, noise_level=noise, field=field)

    def at(self, y: float, x: float) -> "Observation":
        """The same with one kernel, that at the fractions ``y`` and ``x`` of the sides, where it varies."""
        return self if self.field is None else replace(self, taps=self.field.at(y, x), field=None)

    def sigma(self, stored: np.ndarray) -> float | np.ndarray:
        """σ in [0,1] of the pixels h×w×C that this observation is of: a number, or h×w."""
        return deviation(self.noise_level, stored, self.curve)


def observe(
    *,
    scale: int = 2,
    kernel: np.ndarray | str | kernels.Field | None = None,
    noise_level: float | str | np.ndarray | Poisson = DEFAULT_NOISE_LEVEL,
    light: Light = "auto",
    saturation: float | str = "auto",
    corner_boost: float = 1.0,
    align: bool | None = None,
) -> Observation:
    """What a person says of a picture, checked: a kernel is an array, a text, a field, or None for the mild default.

    ``align``: whether a kernel file is moved for the scale; when it is false a note says if one would have to be.
    ``corner_boost``: how many times as wide a single kernel is in the corners as in the middle. The others are as for
    :func:`restore`. Raises ``UsrnetError`` for a scale, a kernel, a noise level or anything else that makes no sense.
    """
    s = check_scale(scale)
    check_light(light)
    if light == "auto" and (kernel is None or (isinstance(kernel, str) and kernel == "bicubic")):
        light = "stored"  # no lens blurred it: programs shrink what is stored, and the default is made for that
    field = kernels.resolve_field(kernel, scale=s, align=align)
    if field is not None:
        if corner_boost != 1:
            raise UsrnetError(
                "a grid of kernels says itself how wide the blur is in the corners: leave the boost out"
            )
        taps = field.mean()
    else:
        assert not isinstance(kernel, kernels.Field)
        taps = kernels.resolve(default_kernel(s) if kernel is None else kernel, scale=s, align=align)
        field = None if corner_boost == 1 else kernels.widening(taps, corner_boost)
    return Observation(s, taps, parse_noise(noise_level), _check_saturation(saturation), light, field=field)


def _check_saturation(saturation: float | str) -> float | None:
    if saturation in ("auto", "off"):
        return AUTO_LEVEL if saturation == "auto" else None
    try:
        level = float(saturation)
    except (TypeError, ValueError) as error:
        raise UsrnetError(f"saturation {saturation!r} is not auto, off or a level from 1 to 255") from error
    if not 1 <= level <= 255:
        raise UsrnetError(f"saturation {level:g} is not a level from 1 to 255")
    return level / 255


def default_kernel(scale: int) -> str:
    """The text of the kernel that is used when none is given."""
    return f"gaussian:{DEFAULT_WIDTHS[check_scale(scale)]}"
