"""A picture whose kernel or noise level nobody knows: ``kernel="auto"``, ``noise_level="auto"``.

The one place where what is unknown becomes an ``Observation``, picture by picture; the library's ``restore``, files,
large TIFFs and folders all come here.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from usrnet import kernels
from usrnet.degradation import check_scale
from usrnet.errors import UsrnetError
from usrnet.restoration.light import Light, choose_curve
from usrnet.restoration.noise import NoiseLevel, Poisson
from usrnet.restoration.observation import DEFAULT_NOISE_LEVEL, Observation, observe

if TYPE_CHECKING:
    from usrnet.estimate import Estimate
    from usrnet.io import Metadata

AUTO = "auto"


@dataclass(frozen=True, eq=False)
class Unknown:
    """What is known of every picture; None is what has to be found in each.

    ``taps``: C×kh×kw. ``saturation``, ``light`` and ``field``: as in an ``Observation``.
    """

    scale: int
    taps: np.ndarray | None
    noise_level: NoiseLevel | None
    saturation: float | None = None
    light: Light = "stored"
    field: kernels.Field | None = None

    def with_noise(self, level: NoiseLevel) -> Observation:
        """The observation that it is once the noise is known too."""
        assert self.taps is not None
        return Observation(self.scale, self.taps, level, self.saturation, self.light, field=self.field)


def ask(
    *,
    scale: int = 2,
    kernel: np.ndarray | str | kernels.Field | None = None,
    noise_level: float | str | np.ndarray | Poisson = DEFAULT_NOISE_LEVEL,
    light: Light = "auto",
    saturation: float | str = "auto",
    corner_boost: float = 1.0,
    align: bool | None = None,
) -> Observation | Unknown:
    """As :func:`~usrnet.restoration.observe`, but kernel and noise level may also be ``"auto"``.

    A blur is found in the light in which the picture is restored. A kernel that is an array is looked at as one from
    a file is, with a note on what is doubtful. Raises ``UsrnetError`` for what makes no sense.
    """
    unknown_kernel = isinstance(kernel, str) and kernel == AUTO
    unknown_noise = isinstance(noise_level, str) and noise_level == AUTO
    if unknown_kernel and corner_boost != 1:
        raise UsrnetError("the corners can only be wider than a blur that is known: name the kernel")
    if isinstance(kernel, np.ndarray):  # measured ones come as arrays too
        kernel = kernels.from_file(kernels.check(kernel), "the kernel", check_scale(scale), align=align)
    known = observe(
        scale=scale,
        kernel=None if unknown_kernel else kernel,
        noise_level=DEFAULT_NOISE_LEVEL if unknown_noise else noise_level,
        light=light,
        saturation=saturation,
        corner_boost=corner_boost,
        align=align,
    )
    if not (unknown_kernel or unknown_noise):
        return known
    return Unknown(
        known.scale,
        None if unknown_kernel else known.taps,
        None if unknown_noise else known.noise_level,
        known.saturation,
        light if unknown_kernel else known.light,
        known.field,
    )


def ask_channels(*, kernel: str | None, **known: Any) -> list[Observation | Unknown]:
    """As :func:`ask`, for each kernel of a file that holds several."""
    file = kernels.split_index(kernel) if kernel is not None else None
    if kernel is None or file is None or file[1] is not None or (count := len(kernels.load_all(file[0]))) == 1:
        return [ask(kernel=kernel, **known)]
    return [ask(kernel=f"{kernel}:{index + 1}", **known) for index in range(count)]


def settle(known: Observation | Unknown, pixels: Any, beside: "Metadata") -> "tuple[Observation, Estimate | None]":
    """What is known of one picture once it has been looked at, and the estimate if one was needed.

    ``pixels``: an array, or a file of which rows can be read; ``beside``: what lies beside them, which says how light
    was stored and what a JPEG lost.
    """
    stored = beside.storage
    if isinstance(known, Observation):
        return known.stored_as(**stored), None
    from usrnet.estimate import estimate_parts, noise_to_feed, parts_of

    curve = choose_curve(known.light, **stored)
    found = estimate_parts(
        parts_of(pixels),
        scale=known.scale,
        jpeg=beside.jpeg,
        curve=curve,
        shake="off" if known.taps is not None else "auto",
    )
    taps = kernels.resolve(found.kernel, scale=known.scale) if known.taps is None else known.taps
    level = noise_to_feed(found.noise_level) if known.noise_level is None else known.noise_level
    observation = Observation(known.scale, taps, level, known.saturation, field=known.field)
    return observation.with_curve(curve), found
