"""How a picture is degraded before, and compared after, the restoration.

``table1``: Table 1 of arXiv 2003.10428. The 8-bit picture is blurred circularly and cut down to 8 bits (not rounded:
that is what ``scipy.ndimage.convolve`` does with 8-bit pictures, and with it the published numbers were made),
decimated, and noise is added that is not clipped. PSNR over RGB without a border of s².

``table1-float``: the same without the cutting to 8 bits.

``bicubic``: the picture is shrunk as MATLAB's ``imresize`` does, not rounded; nothing wraps around, and the
restoration extends it by Liu and Jia's method. PSNR and SSIM over the luma without a border of s.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from usrnet import kernels
from usrnet.degradation import bicubic_shrink, check_noise_level, check_scale, degrade_batch
from usrnet.errors import UsrnetError
from usrnet.restoration import Boundary


@dataclass(frozen=True, eq=False)
class Row:
    """One degradation: kernel C×kh×kw with the name it has in reports, scale, noise level on the 0–255 scale."""

    scale: int
    kernel_name: int | str
    kernel: np.ndarray
    noise_level: float

    def __post_init__(self) -> None:
        check_scale(self.scale)
        check_noise_level(self.noise_level)

    @property
    def taps(self) -> np.ndarray:
        """The kernel as people give it: kh×kw, or kh×kw×C with one per channel."""
        return self.kernel[0] if len(self.kernel) == 1 else np.moveaxis(self.kernel, 0, -1)

    @property
    def label(self) -> str:
        kernel = f"k{self.kernel_name}" if isinstance(self.kernel_name, int) else self.kernel_name
        return f"x{self.scale}_{kernel}_noise{self.noise_level:g}"


@dataclass(frozen=True)
class Protocol:
    """``degrade``: truth H×W×3 uint8 and row → small picture, float64 on the 0–1 scale, without its noise.

    ``multiple``: scale → what the sides of the truth are cropped to a multiple of. ``border``: scale → pixels that
    are not compared. ``boundary``: how the restoration treats the border.
    """

    name: str
    degrade: Callable[[np.ndarray, Row], np.ndarray]
    multiple: Callable[[int], int]
    border: Callable[[int], int]
    boundary: Boundary

    def truth(self, picture: np.ndarray, scale: int) -> np.ndarray:
        """The upper left part of the picture whose sides are multiples that the protocol asks for."""
        multiple = self.multiple(scale)
        height, width = (length // multiple * multiple for length in picture.shape[:2])
        needed = 2 * self.border(scale) + 11  # the window of SSIM must fit
        if min(height, width) < needed:
            raise UsrnetError(
                f"{picture.shape[1]}×{picture.shape[0]} pixels are too few at ×{scale}: after cropping to a multiple "
                f"of {multiple} the protocol needs {needed}×{needed}"
            )
        return picture[:height, :width]

    def observe(self, truth: np.ndarray, row: Row) -> np.ndarray:
        """The degraded picture with its noise, float32, not clipped. Every picture gets the same seed, 0."""
        small = self.degrade(truth, row)
        if row.noise_level:
            # The legacy generator, because the published noise came from it.
            small = small + np.random.RandomState(0).normal(0, row.noise_level / 255, small.shape)
        return small.astype(np.float32)


def _blur_truncated(truth: np.ndarray, row: Row) -> np.ndarray:
    """What ``scipy.ndimage.convolve(…, mode="wrap")`` leaves after the decimation, without computing the rest.

    Bit for bit: the sums are taken in the same order, because where they are whole numbers the last digit decides.
    """
    scale, (_, kh, kw), (height, width) = row.scale, row.kernel.shape, truth.shape[:2]
    h, w = -(-height // scale), -(-width // scale)
    margins = ((kh - 1 - kh // 2, kh // 2), (kw - 1 - kw // 2, kw // 2))
    weights = np.broadcast_to(row.kernel[:, ::-1, ::-1], (3, kh, kw))
    blurred = np.zeros((h, w, 3))
    for channel in range(3):
        padded = np.pad(truth[..., channel].astype(np.float64), margins, mode="wrap")
        phases = [[padded[i::scale, j::scale].copy() for j in range(scale)] for i in range(scale)]
        total, term = np.zeros((h, w)), np.empty((h, w))
        for i, j in np.argwhere(np.abs(weights[channel]) > np.finfo(float).eps):  # scipy leaves the others out
            kept = phases[i % scale][j % scale][i // scale : i // scale + h, j // scale : j // scale + w]
            total += np.multiply(kept, weights[channel, i, j], out=term)
        blurred[..., channel] = total
    return blurred.astype(np.uint8) / 255


def _blur_exact(truth: np.ndarray, row: Row) -> np.ndarray:
    x = torch.from_numpy(truth.astype(np.float64) / 255).permute(2, 0, 1)[None]
    return degrade_batch(x, torch.from_numpy(row.kernel)[None], row.scale)[0].permute(1, 2, 0).numpy()


def _shrink(truth: np.ndarray, row: Row) -> np.ndarray:
    return bicubic_shrink(truth / 255, row.scale)


def _lcm_with_8(scale: int) -> int:
    return math.lcm(scale, 8)


def _square(scale: int) -> int:
    return scale**2


def _itself(scale: int) -> int:
    return scale


PROTOCOLS = {
    "table1": Protocol("table1", _blur_truncated, _lcm_with_8, _square, boundary="circular"),
    "table1-float": Protocol("table1-float", _blur_exact, _lcm_with_8, _square, boundary="circular"),
    "bicubic": Protocol("bicubic", _shrink, _itself, _itself, boundary="liu-jia"),
}


def published_rows(
    protocol: str,
    taps: Sequence[np.ndarray],
    scales: Sequence[int] | None = None,
    noise: Sequence[float] | None = None,
) -> list[Row]:
    """The rows of a protocol, or every combination of ``scales`` and ``noise`` if one of them is given.

    ``taps``: the kernels of Table 1, kh×kw each, or those of the bicubic degradation at ×2, ×3, ×4 (empty: derived
    exactly, :func:`usrnet.kernels.bicubic`). What is named twice counts once. Raises ``UsrnetError``.
    """
    scales = None if scales is None else list(dict.fromkeys(scales))
    noise = None if noise is None else list(dict.fromkeys(noise))
    if protocol == "bicubic":
        rows = []
        for scale in scales or (2, 3, 4):
            if taps and not 0 <= scale - 2 < len(taps):
                raise UsrnetError(f"the kernels are for ×2 to ×{len(taps) + 1}: there is none for ×{scale}")
            kernel = taps[scale - 2] if taps else kernels.bicubic(check_scale(scale))
            kernel = kernels.resolve(kernel, scale=scale)
            rows += [Row(scale, "bicubic", kernel, level) for level in noise or (0.0,)]
        return rows
    if scales is None and noise is None:
        pairs = [(2, 0.0), (3, 0.0), (3, 2.55), (3, 7.65), (4, 0.0)]
    else:
        pairs = [(scale, level) for scale in scales or (2, 3, 4) for level in noise or (0.0,)]
    return [
        Row(scale, index, kernels.resolve(kernel, scale=scale), level)
        for scale, level in pairs
        for index, kernel in enumerate(taps, 1)
    ]
