"""Noise that is not the same everywhere: σ(p), from a map or from what light and electronics make of it.

N photons come with a deviation of √N: the variance of a pixel of the value v is ``gain · v + read²`` (A. Foi et al.,
"Practical Poissonian-Gaussian noise modeling", IEEE TIP 17(10), 2008). All of it is said of the stored values. Where
light was stored on a curve, the noise in light is that in the file times the curve's slope.
"""

import math
import re
from dataclasses import dataclass

import numpy as np

from usrnet.degradation import check_noise_level
from usrnet.errors import UsrnetError
from usrnet.restoration.light import Curve

SMOOTHING = 1.5  # pixels: the noise follows the picture, not its own noise


@dataclass(frozen=True)
class Poisson:
    """Variance ``gain · value + read²`` of the stored values, all on the 0–255 scale.

    A camera whose white is P electrons has the gain 255 / P where its files hold light (raw, FITS, most TIFFs of
    microscopes); ``read`` is the deviation of what is dark. Values on a curve as sRGB's have no such gain: what
    photons add to them, ``gain · light / slope²``, does not grow with the value, and only a map H×W can say it.
    """

    gain: float
    read: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.gain < math.inf and 0 <= self.read <= 255):
            raise UsrnetError(f"noise poisson:{self.gain:g},{self.read:g}: gain and read noise must be 0 or more")

    def __str__(self) -> str:
        return f"poisson:{self.gain:g},{self.read:g}"


NoiseLevel = float | np.ndarray | Poisson
"""One standard deviation, a map H×W of them, or how they follow from the values; on the 0–255 scale."""


def parse_noise(noise: float | str | np.ndarray | Poisson) -> NoiseLevel:
    """A number, ``"2.5"``, ``"poisson:GAIN,READ"`` or a map H×W, checked. Raises ``UsrnetError``."""
    if isinstance(noise, Poisson):
        return noise
    if isinstance(noise, np.ndarray) and noise.ndim:
        if noise.ndim != 2 or noise.dtype.kind not in "iuf":
            raise UsrnetError(f"a map of noise levels is H×W numbers, not {noise.dtype} {noise.shape}")
        wrong = noise[~((noise >= 0) & (noise <= 255))]  # NaN too
        if len(wrong):
            raise UsrnetError(
                f"a map of noise levels holds numbers from 0 to 255, which {len(wrong)} of its {noise.size} are not: "
                f"the first of them is {wrong[0]:g}"
            )
        return noise.astype(np.float32)
    found = re.fullmatch(r"poisson:([^,]+)(?:,([^,]+))?", noise) if isinstance(noise, str) else None
    try:
        if found:
            return Poisson(float(found[1]), float(found[2] or 0))
        level = float(noise)
    except UsrnetError:
        raise
    except (TypeError, ValueError) as error:
        raise UsrnetError(f"noise {noise!r} is not a number or poisson:GAIN,READ") from error
    return check_noise_level(level)


def deviation(noise: NoiseLevel, stored: np.ndarray, curve: Curve | None) -> float | np.ndarray:
    """σ in [0,1] of the pixels ``stored`` (h×w×C in [0,1]): a number, or h×w; in light with a ``curve``."""
    if curve is None and not isinstance(noise, np.ndarray | Poisson):
        return noise / 255
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(stored, (SMOOTHING, SMOOTHING, 0))
    if isinstance(noise, Poisson):
        # A pixel without a count is not one without noise.
        variance = noise.gain * np.maximum(255 * smooth, noise.gain / 2) + noise.read**2
    else:
        level = noise[..., None] if isinstance(noise, np.ndarray) else noise
        variance = np.broadcast_to(np.float32(level) ** 2, smooth.shape)
    if curve is not None:
        variance = variance * curve.slope(smooth) ** 2
    return np.sqrt(variance.mean(axis=-1)) / np.float32(255)
