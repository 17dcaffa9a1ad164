"""What a library user passes, PIL images and arrays, as a ``Picture`` and back."""

from typing import Any

import numpy as np
from PIL import Image

from usrnet.errors import UsrnetError
from usrnet.io.decode import Picture, _array, _finite, of_camera


def from_any(image: Any) -> Picture:
    """A PIL image or an array H×W, H×W×3 or H×W×4, uint8, uint16 or float in [0,1], as a ``Picture``."""
    if isinstance(image, Image.Image):
        return Picture(
            _array(image), image.info.get("icc_profile"), camera=of_camera(image), gamma=image.info.get("gamma")
        )
    if not isinstance(image, np.ndarray):
        raise UsrnetError(f"a picture is a PIL image or a NumPy array, not {type(image).__name__}")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[-1] not in (2, 3, 4)) or not image.size:
        raise UsrnetError(f"a picture is an array H×W, H×W×3 or H×W×4, not {image.shape}")
    if image.dtype.kind == "f":
        return Picture(_finite(image.astype(np.float32), "the picture"))
    if image.dtype not in (np.uint8, np.uint16):
        raise UsrnetError(f"a picture is uint8, uint16 or float in [0,1], not {image.dtype}")
    return Picture(image)


def to_any(pixels: np.ndarray, *, like: Any) -> Any:
    """``pixels`` as what ``like`` is: a PIL image, or an array of the same type."""
    if isinstance(like, Image.Image):
        if pixels.dtype == np.uint16 and pixels.ndim == 2:
            return Image.fromarray(pixels)
        image = Image.fromarray(np.ascontiguousarray(pixels))
        if profile := like.info.get("icc_profile"):
            image.info["icc_profile"] = profile
        return image
    return pixels.astype(like.dtype, copy=False)
