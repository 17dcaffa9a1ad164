"""The log power spectrum of tiles: what a blur leaves of the picture's frequencies.

``log |F(y)|² = log |F(x)|² + log |F(k)|²``: of a Gaussian, the second term is a quadratic in the frequency, and
the first is nearly the same for all photographs. Each tile is cut into overlapping Hann windows whose power is
averaged (P. D. Welch, IEEE Trans. Audio Electroacoustics 15(2), 1967), so that nothing wraps around.
"""

import numpy as np
import torch
from torch import Tensor

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


def features(tiles: Tensor, *, scale: Tensor, noise_level: Tensor, step: Tensor) -> Tensor:
    """What the network sees of tiles N×64×64: N×(2·496 + 6).

    The log spectrum as it is and over the noise floor; one-hot ``scale`` (N), ``noise_level`` (N, 0–255 scale),
    and the JPEG quantisation ``step`` (N, 0: none).
    """
    spectrum = power(tiles).flatten(1)
    plain = (torch.log(spectrum + SMALLEST) - 4) / 3
    over = torch.log1p(spectrum / (noise_level[:, None].square() + 0.1)) / 3 - 1
    about = torch.nn.functional.one_hot(scale - 1, 4)
    return torch.cat((plain, over, about, torch.log1p(noise_level)[:, None], torch.log1p(step)[:, None]), 1)


def cut(grey: np.ndarray, corners: np.ndarray, height: int = TILE, width: int = TILE) -> Tensor:
    """The tiles of a picture H×W at N corners (top, left), float32 N×height×width."""
    tiles = [grey[top : top + height, left : left + width].astype(np.float32) for top, left in corners]
    return torch.from_numpy(np.stack(tiles))
