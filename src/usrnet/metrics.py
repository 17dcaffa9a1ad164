"""PSNR and SSIM as the field computes them, over RGB or over the luma Y."""

import numpy as np

from usrnet.errors import UsrnetError


def psnr(a: np.ndarray, b: np.ndarray, *, border: int = 0, y: bool = False) -> float:
    """Peak signal-to-noise ratio in dB, ``10 log10(peak² / mean (a − b)²)``; infinite for equal pictures.

    ``a`` and ``b``: H×W or H×W×3; integers have the peak of their type, floats are in [0,1]. ``border`` pixels
    are left out on every side; ``y`` compares the luma only.
    """
    first, second = _prepare(a, b, border, y)
    error = np.mean((first - second) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def ssim(a: np.ndarray, b: np.ndarray, *, border: int = 0, y: bool = False) -> float:
    """Structural similarity (Wang et al., IEEE TIP 13(4), 2004), mean over the channels.

    An 11×11 Gaussian window with σ = 1.5, where it lies inside the picture; K1 = 0.01, K2 = 0.03. Arguments as
    for ``psnr``; what is left of the picture must be at least 11×11.
    """
    first, second = _prepare(a, b, border, y)
    if min(first.shape[:2]) < 11:
        raise UsrnetError(f"SSIM needs at least 11×11 pixels, not {first.shape[0]}×{first.shape[1]}")
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = _window(first), _window(second)
    var_a = _window(first * first) - mean_a**2
    var_b = _window(second * second) - mean_b**2
    covariance = _window(first * second) - mean_a * mean_b
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    )
    return float(similarity.mean())


def rgb_to_y(rgb: np.ndarray) -> np.ndarray:
    """The luma of ITU-R BT.601 in its studio range 16–235, of H×W×3 on the 0–255 scale → H×W×1."""
    return (rgb @ np.array([65.481, 128.553, 24.966]) / 255 + 16)[..., None]


def _prepare(a: np.ndarray, b: np.ndarray, border: int, y: bool) -> tuple[np.ndarray, np.ndarray]:
    """Both pictures as H×W×C float64 on the 0–255 scale, without the border."""
    for picture in (a, b):
        if picture.dtype not in (np.bool_, np.uint8, np.uint16) and picture.dtype.kind != "f":
            raise UsrnetError(f"pictures to compare are uint8, uint16 or float in [0,1], not {picture.dtype}")
    if a.shape != b.shape:
        raise UsrnetError(f"pictures of different shapes cannot be compared: {a.shape} and {b.shape}")
    if 2 * border >= min(a.shape[:2]):
        raise UsrnetError(f"a border of {border} leaves nothing of {a.shape[0]}×{a.shape[1]} pixels")

    def prepare(picture: np.ndarray) -> np.ndarray:
        peak = 1 if picture.dtype.kind in "fb" else np.iinfo(picture.dtype).max
        values = picture.astype(np.float64) * (255 / peak)
        values = values if values.ndim == 3 else values[..., None]
        if y and values.shape[-1] == 3:
            values = rgb_to_y(values)
            if picture.dtype.kind != "f":
                values = values.round()  # as MATLAB's rgb2ycbcr of integers, which the field's numbers come from
        return values[border : values.shape[0] - border, border : values.shape[1] - border]

    return prepare(a), prepare(b)


def _window(x: np.ndarray) -> np.ndarray:
    from scipy.ndimage import correlate1d

    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps /= taps.sum()
    return correlate1d(correlate1d(x, taps, axis=0), taps, axis=1)[5:-5, 5:-5]
