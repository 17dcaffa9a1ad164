"""What a library user passes, PIL images and arrays, as the pixels that restoring works on, and back."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from usrnet.errors import UsrnetError
from usrnet.io.decode import Picture, converted, levels_of, pixels_of
from usrnet.io.levels import Levels, White, full_scale, parse_white
from usrnet.io.metadata import Metadata, from_pillow, note_of
from usrnet.io.tiff import orient

_NAME = "the picture"


@dataclass(frozen=True)
class Given:
    """A picture as it was given: its ``pixels``, upright, which of their values are black and full scale, and
    what leads back to ``like``, the PIL image or array.
    """

    pixels: np.ndarray
    levels: Levels
    metadata: Metadata
    like: Any

    def plain(self) -> np.ndarray:
        """The pixels as uint8, uint16, or float32 in the unit range."""
        dtype = self.pixels.dtype
        if self.levels == full_scale(dtype) and dtype in (np.uint8, np.uint16, np.float32):
            return self.pixels
        return converted(self.pixels, np.dtype(np.float32), self.levels)


def from_any(image: Any, *, white: White = None) -> Given:
    """A PIL image or an array H×W, H×W×1, H×W×3 or H×W×4 (H×W×2: with alpha) of whole numbers or floats.

    ``white``: the value that is full scale, ``"auto"`` for the range of the data, None for what the type means
    (floats: 1). A PIL image is turned upright as its EXIF block says. Raises ``UsrnetError`` for what is no picture.
    """
    white = parse_white(white)
    picture = _from_pillow(image) if isinstance(image, Image.Image) else Picture(_checked(image))
    if picture.pixels.dtype.kind == "f" and not np.isfinite(picture.pixels).all():  # gaps are those of files
        raise UsrnetError(f"{_NAME} holds values that are not finite (NaN or infinity)")
    return Given(picture.pixels, levels_of(picture, white, note_of(_NAME)), picture.metadata, image)


def _from_pillow(image: Image.Image) -> Picture:
    note = note_of(_NAME)
    metadata, orientation = from_pillow(image, note)
    pixels, metadata = pixels_of(image, metadata, note)
    return Picture(orient(pixels, orientation), metadata)


def _checked(image: Any) -> np.ndarray:
    """The array in the machine's byte order. Raises ``UsrnetError``."""
    if not isinstance(image, np.ndarray):
        raise UsrnetError(f"a picture is a PIL image or a NumPy array, not {type(image).__name__}")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[-1] not in (1, 2, 3, 4)) or not image.size:
        raise UsrnetError(f"a picture is an array H×W, H×W×3 or H×W×4, not {image.shape}")
    if image.dtype.kind not in "uif":
        raise UsrnetError(f"a picture is made of whole numbers or floats, not {image.dtype}")
    return image.astype(image.dtype.newbyteorder("="), copy=False)


def to_any(pixels: np.ndarray, *, given: Given) -> Any:
    """``pixels`` (of the type of ``given.pixels``) as what was given: a PIL image, or an array of the same type."""
    if not isinstance(given.like, Image.Image):
        return pixels.astype(given.like.dtype, copy=False)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    scale = max(1, pixels.shape[0] // given.pixels.shape[0])
    metadata = given.metadata.enlarged(scale, (pixels.shape[0], pixels.shape[1]))
    kept = {
        "icc_profile": metadata.icc_profile,
        "exif": metadata.exif and b"Exif\0\0" + metadata.exif,
        "xmp": metadata.xmp,
        "dpi": metadata.dpi,
        "gamma": metadata.gamma,
    }
    image.info.update({key: value for key, value in kept.items() if value is not None})
    return image
