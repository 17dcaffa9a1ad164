"""NIQE: how far the local statistics of an image are from those of sharp photos; no truth is needed.

Mittal, Soundararajan, Bovik, "Making a completely blind image quality analyzer", IEEE SPL 20(3), 2013. The luma is
freed of its local mean and contrast; generalised Gaussians are fitted to it and to the products of neighbours, in
blocks of 96×96 and once more at half the size, 36 numbers a block. A multivariate Gaussian over the blocks of the
image is compared with that over sharp blocks of photos.

The photos of the published model are not at hand. Ours, ``niqe.npz``, comes from the photos that the weights are
trained on (``python -m usrnet.evaluate.niqe PHOTOS niqe.npz``), so values are not those that are published: they
compare results with each other and with the truth.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from scipy.ndimage import correlate1d
from scipy.special import gamma

from usrnet.degradation import bicubic_shrink
from usrnet.errors import UsrnetError
from usrnet.metrics import rgb_to_y

BLOCK = 96
SHARP = 0.75
"""Blocks of photos count whose contrast is above this share of that of the sharpest one."""

_SHAPES = np.arange(0.2, 10.001, 0.001)
_RATIOS = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))  # rises with the shape


@dataclass(frozen=True)
class Naturalness:
    """The mean, 36, and the covariance, 36×36, of the features of blocks."""

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, blocks: np.ndarray) -> "Naturalness":
        """From features, blocks × 36; blocks without a finite fit, as flat ones, are left out."""
        kept = blocks[np.isfinite(blocks).all(axis=1)]
        if not len(kept):
            return cls(np.full(blocks.shape[1], np.nan), np.zeros((blocks.shape[1],) * 2))
        centred = kept - kept.mean(axis=0)
        return cls(kept.mean(axis=0), centred.T @ centred / max(1, len(kept) - 1))

    @classmethod
    def of_photos(cls, photos: Iterable[np.ndarray]) -> "Naturalness":
        """What sharp photos, H×W×3 uint8, are like."""
        found = []
        for photo in photos:
            features, contrast = describe(photo)
            found.append(features[contrast > SHARP * contrast.max()])
        return cls.of(np.concatenate(found))

    def distance(self, other: "Naturalness") -> float:
        """``√((μ₁ − μ₂)ᵀ ((Σ₁ + Σ₂) / 2)⁻¹ (μ₁ − μ₂))``, equation 10 of the paper."""
        apart = self.mean - other.mean
        if not np.isfinite(apart).all():
            return float("nan")
        return float(np.sqrt(apart @ np.linalg.pinv((self.covariance + other.covariance) / 2) @ apart))


def niqe(image: np.ndarray) -> float:
    """The distance from sharp photos: less is more natural, photos themselves have about 3 to 4.

    Parameters
    ----------
    image : ndarray, H×W×3 uint8
        At least 96×96; what is beyond a multiple of 96 is left out.

    Returns
    -------
    float
        NaN where all blocks are flat.

    Raises
    ------
    UsrnetError
        The image is smaller than a block.
    """
    features, _ = describe(image)
    return Naturalness.of(features).distance(_photos())


@lru_cache(maxsize=1)
def _photos() -> Naturalness:
    with (files("usrnet.evaluate") / "niqe.npz").open("rb") as file, np.load(file) as arrays:
        return Naturalness(arrays["mean"].astype(np.float64), arrays["covariance"].astype(np.float64))


def describe(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The features, blocks × 36, of an image H×W×3 uint8, and the mean contrast of every block."""
    rows, columns = (side // BLOCK for side in image.shape[:2])
    if not rows or not columns:
        raise UsrnetError(f"NIQE needs at least {BLOCK}×{BLOCK} pixels, not {image.shape[0]}×{image.shape[1]}")
    cut = image[: rows * BLOCK, : columns * BLOCK]
    features, contrast = [], np.empty(0)
    for scale in (1, 2):
        luma = rgb_to_y((bicubic_shrink(cut, scale) if scale > 1 else cut).astype(np.float64))[..., 0]
        normalised, deviation = _normalise(luma)
        blocks, side = _blocks(normalised, BLOCK // scale), BLOCK // scale
        if scale == 1:
            contrast = _blocks(deviation, side).mean(axis=(1, 2))
        features.append([_features(block) for block in blocks])
    return np.concatenate(features, axis=1), contrast


def _normalise(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``(I − μ) / (σ + 1)`` and σ, with μ and σ in a Gaussian window of 7×7, equations 1 to 3."""
    taps = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
    taps /= taps.sum()

    def smooth(x: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(x, taps, axis=0, mode="nearest"), taps, axis=1, mode="nearest")

    mean = smooth(luma)
    deviation = np.sqrt(np.abs(smooth(luma**2) - mean**2))
    return (luma - mean) / (deviation + 1), deviation


def _blocks(x: np.ndarray, side: int) -> np.ndarray:
    """H×W → blocks × side × side, row by row."""
    rows, columns = (length // side for length in x.shape)
    parts = x[: rows * side, : columns * side].reshape(rows, side, columns, side).swapaxes(1, 2)
    return parts.reshape(-1, side, side)


def _features(block: np.ndarray) -> list[float]:
    """Shape and width of the values, then shape, mean and both widths of the products with four neighbours."""
    shape, _, left, right = _fit(block)
    found = [shape, (left + right) / 2]
    for moved in (
        np.roll(block, 1, 1),
        np.roll(block, 1, 0),
        np.roll(block, (1, 1), (0, 1)),
        np.roll(block, (1, -1), (0, 1)),
    ):
        found += _fit(block * moved)
    return found


def _fit(x: np.ndarray) -> tuple[float, float, float, float]:
    """An asymmetric generalised Gaussian by its moments (Lasmar et al., ICIP 2009): shape, mean, both widths."""
    with np.errstate(divide="ignore", invalid="ignore"):
        left, right = (np.sqrt(np.mean(side**2)) if len(side := x[chosen]) else np.nan for chosen in (x < 0, x > 0))
        ratio, energy = left / right, np.mean(x**2)
        measured = np.mean(np.abs(x)) ** 2 / energy * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shape = float(np.interp(measured, _RATIOS, _SHAPES))
    widths = [side * np.sqrt(gamma(1 / shape) / gamma(3 / shape)) for side in (left, right)]
    mean = (widths[1] - widths[0]) * gamma(2 / shape) / gamma(1 / shape)
    return shape, float(mean), float(widths[0]), float(widths[1])


if __name__ == "__main__":
    import sys

    from usrnet import io
    from usrnet.restoration.jobs import find_pictures

    fitted = Naturalness.of_photos(io.read_rgb(path) for path, _ in find_pictures([sys.argv[1]], recursive=True))
    np.savez(sys.argv[2], mean=fitted.mean.astype(np.float32), covariance=fitted.covariance.astype(np.float32))
