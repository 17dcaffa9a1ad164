"""PSNR and SSIM as the field computes them, over RGB or over the luma Y."""

import numpy as np

from usrnet.errors import UsrnetError


def psnr(a: np.ndarray, b: np.ndarray, *, border: int = 0, y: bool = False) -> float:
    """Peak signal-to-noise ratio in dB, ``10 log10(peak² / mean (a − b)²)``; infinite for equal images.

    Parameters
    ----------
    a, b : ndarray, H×W or H×W×3
        The images. Whole numbers (uint8, uint16) have the peak of their type, floats are in [0,1].
    border : int
        So many pixels are left out on every side.
    y : bool
        Compare the luma only (BT.601, :func:`rgb_to_y`).

    Returns
    -------
    float
        In dB.

    Raises
    ------
    UsrnetError
        The shapes differ, the type is another, or the border leaves nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from usrnet import metrics
    >>> round(metrics.psnr(np.full((8, 8), 100, np.uint8), np.full((8, 8), 110, np.uint8)), 2)
    28.13
    """
    first, second = _prepare(a, b, border, y)
    error = np.mean((first - second) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def ssim(a: np.ndarray, b: np.ndarray, *, border: int = 0, y: bool = False) -> float:
    """Structural similarity, mean over the channels.

    An 11×11 Gaussian window with σ = 1.5, where it lies inside the image; K1 = 0.01, K2 = 0.03.

    Parameters
    ----------
    a, b : ndarray, H×W or H×W×3
        The images, as for :func:`psnr`.
    border : int
        So many pixels are left out on every side; 11×11 must be left.
    y : bool
        Compare the luma only.

    Returns
    -------
    float
        At most 1, which equal images have.

    Raises
    ------
    UsrnetError
        As :func:`psnr`, and when less than 11×11 pixels are left.

    References
    ----------
    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity",
    IEEE TIP 13(4), 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from usrnet import metrics
    >>> picture = np.random.default_rng(0).random((16, 16, 3))
    >>> metrics.ssim(picture, picture)
    1.0
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
    """The luma of ITU-R BT.601 in its studio range 16–235.

    Parameters
    ----------
    rgb : ndarray, H×W×3
        On the 0–255 scale.

    Returns
    -------
    ndarray, H×W×1
        On the same scale, not rounded.

    Examples
    --------
    >>> import numpy as np
    >>> from usrnet import metrics
    >>> float(metrics.rgb_to_y(np.full((1, 1, 3), 255.0))[0, 0, 0].round(6))
    235.0
    """
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
