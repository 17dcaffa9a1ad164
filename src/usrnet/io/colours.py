"""Inks, luminance and chrominance, and Lab as RGB, with 8 and 16 bits alike.

Arrays are H×W×C of whole numbers (uint8 or uint16) in and H×W×3 of the same type out.
"""

from collections.abc import Callable, Sequence

import numpy as np

from usrnet.io.metadata import profile_space

# CIELAB is measured under D50; this takes XYZ there to linear sRGB, whose white is D65 (Bradford's adaptation).
_XYZ_D50_TO_SRGB = np.array(
    [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
)
_D50 = np.array([0.96422, 1.0, 0.82521])


def cmyk_to_rgb(inks: np.ndarray, profile: bytes | None, note: Callable[[str], None]) -> np.ndarray:
    """Four inks (0 is none) as sRGB through their profile, or plainly where there is none that can be used."""
    if profile_space(profile) == "CMYK":
        import imagecodecs
        from PIL import ImageCms

        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        try:
            assert profile
            return imagecodecs.cms_transform(
                np.ascontiguousarray(inks), profile, srgb, colorspace="cmyk", outcolorspace="rgb"
            )
        except Exception:  # a broken profile: the plain conversion is better than none
            note("its profile of inks cannot be used: converted plainly")
    top = np.iinfo(inks.dtype).max
    share = 1 - inks.astype(np.float32) / top
    return (share[..., :3] * share[..., 3:] * top).round().astype(inks.dtype)


def ycbcr_to_rgb(
    values: np.ndarray, *, weights: Sequence[float] = (0.299, 0.587, 0.114), reference: Sequence[float] = ()
) -> np.ndarray:
    """Luminance and two colour differences as RGB (TIFF 6.0, section 21).

    ``weights``: of red, green and blue in the luminance; ``reference``: the codes of black and white of each of the
    three, by default 0 and full scale, and half and full scale.
    """
    top = np.iinfo(values.dtype).max
    half = (top + 1) // 2
    black_white = list(reference) if len(reference) == 6 else [0, top, half, top, half, top]
    y, cb, cr = (
        (values[..., i].astype(np.float64) - black_white[2 * i])
        * ((top if i == 0 else top - half) / ((black_white[2 * i + 1] - black_white[2 * i]) or 1))
        for i in range(3)
    )
    red_share, green_share, blue_share = (float(weight) for weight in weights)
    red = y + (2 - 2 * red_share) * cr
    blue = y + (2 - 2 * blue_share) * cb
    green = (y - blue_share * blue - red_share * red) / (green_share or 1)
    return np.stack([red, green, blue], axis=-1).round().clip(0, top).astype(values.dtype)


def lab_to_rgb(lightness: np.ndarray, a: np.ndarray, b: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """CIELAB under D50 (L from 0 to 100) as sRGB; colours that sRGB has not are clipped."""
    fy = (lightness + 16) / 116
    f = np.stack([fy + a / 500, fy, fy - b / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * _D50
    linear = (xyz @ _XYZ_D50_TO_SRGB.T).clip(0, 1)
    return (from_linear(linear) * np.iinfo(dtype).max).round().astype(dtype)


def to_linear(stored: np.ndarray) -> np.ndarray:
    """sRGB's curve undone (IEC 61966-2-1): stored values, 0 for black and 1 for white, as light."""
    power = ((np.maximum(stored, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(stored <= 0.04045, stored / 12.92, power).astype(stored.dtype)


def from_linear(light: np.ndarray) -> np.ndarray:
    """The inverse of :func:`to_linear`."""
    root = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(light <= 0.0031308, 12.92 * light, root).astype(light.dtype)
