"""The log power spectrum of tiles: what a blur leaves of the picture's frequencies.

``log |F(y)|² = log |F(x)|² + log |F(k)|²``: of a Gaussian, the second term is a quadratic in the frequency, and
the first is nearly the same for all photographs. Each tile is cut into overlapping Hann windows whose power is
averaged (P. D. Welch, IEEE Trans. Audio Electroacoustics 15(2), 1967), so that nothing wraps around.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from usrnet.estimate.masks import Tiles
    from usrnet.restoration.light import Curve

TILE = 64  # side of a tile
WINDOW, STEP = 32, 16
BINS = (WINDOW - 1) * (WINDOW // 2)  # frequencies in the spectrum of a real picture, without the Nyquist ones
SMALLEST = 0.05  # added to the power: the rounding to 8 bits has 1/12


def _window() -> Tensor:
    ramp = torch.hann_window(WINDOW, periodic=True)
    window = ramp[:, None] * ramp
    return window / window.square().sum().sqrt()  # white noise of variance σ² has the power σ²


def power(tiles: Tensor) -> Tensor:
    """The mean power spectrum of tiles N×h×w on the 0–255 scale → N×31×16: rows −15…15, columns 0…15 of 32."""
    patches = tiles.unfold(1, WINDOW, STEP).unfold(2, WINDOW, STEP)
    patches = patches - patches.mean(dim=(-1, -2), keepdim=True)
    spectra = torch.fft.rfft2(patches * _window()).abs().square().mean(dim=(1, 2))
    half = WINDOW // 2
    return torch.cat((spectra[:, half + 1 :, :half], spectra[:, :half, :half]), 1)


def turned(spectra: Tensor, *, transposed: bool = False, mirrored: bool = False) -> Tensor:
    """The spectra …×31×16 of the tiles when those are mirrored left to right and then transposed.

    Exact, without the tiles: a spectrum of real numbers is the same at f and −f.
    """
    if mirrored:
        spectra = spectra.flip(-2)
    if transposed:
        half = WINDOW // 2
        whole = torch.cat((spectra[..., 1:].flip(-1, -2), spectra), -1)  # columns −15…15
        spectra = whole.mT[..., half - 1 :]
    return spectra


def features(spectra: Tensor, *, scale: Tensor, noise_level: Tensor, step: Tensor) -> Tensor:
    """What the network sees of the power spectra N×31×16 of tiles: N×(2·496 + 6).

    The log spectrum as it is and over the noise floor; one-hot ``scale`` (N), ``noise_level`` (N, 0–255 scale),
    and the JPEG quantisation ``step`` (N, 0: none).
    """
    spectrum = spectra.flatten(1)
    plain = (torch.log(spectrum + SMALLEST) - 4) / 3
    over = torch.log1p(spectrum / (noise_level[:, None].square() + 0.1)) / 3 - 1
    about = torch.nn.functional.one_hot(scale - 1, 4)
    return torch.cat((plain, over, about, torch.log1p(noise_level)[:, None], torch.log1p(step)[:, None]), 1)


def spectra_of(
    grey: np.ndarray, tiles: "Tiles", noise_level: float, curve: "Curve | None" = None
) -> tuple[Tensor, Tensor]:
    """The power spectra N×31×16 of the tiles of a picture H×W on the 0–255 scale, and the noise of each, N.

    With a ``curve`` they are those of the light that is stored as these values, where even noise is no longer even.
    """
    noise = torch.full((len(tiles.corners),), float(noise_level))
    if curve is None:
        return power(cut(grey, tiles.corners, tiles.height, tiles.width)), noise
    stored = (grey / 255).astype(np.float32)
    slopes = cut(curve.slope(stored), tiles.corners, tiles.height, tiles.width)
    light = cut(255 * curve.decode(stored), tiles.corners, tiles.height, tiles.width)
    return power(light), noise * slopes.square().mean(dim=(1, 2)).sqrt()


def cut(grey: np.ndarray, corners: np.ndarray, height: int = TILE, width: int = TILE) -> Tensor:
    """The tiles of a picture H×W at N corners (top, left), float32 N×height×width."""
    tiles = [grey[top : top + height, left : left + width].astype(np.float32) for top, left in corners]
    return torch.from_numpy(np.stack(tiles))
