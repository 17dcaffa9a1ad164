"""Picture files read: EXIF orientation, palettes, alpha, grey, 16 bits, float, ICC profiles."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms

from usrnet.errors import PictureError, UsrnetWarning
from usrnet.io.planes import join, split

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")
DEFAULT_MAX_PIXELS = 178_956_970  # Pillow's own limit: what 2 GiB of 8-bit RGB hold, divided by four
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error, zlib.error)


@dataclass(frozen=True)
class Picture:
    """The pixels of a picture file and what is kept beside them; ``provenance``: how a result was made.

    ``camera``: whether a camera says that it exposed it. ``gamma``: the exponent of a PNG's gAMA chunk.
    """

    pixels: np.ndarray
    icc_profile: bytes | None = None
    provenance: str | None = None
    camera: bool = False
    gamma: float | None = None


def of_camera(image: Image.Image) -> bool:
    """Whether the EXIF block names the make of a camera and an exposure time."""
    exif = image.getexif()
    return 0x010F in exif and (0x829A in exif.get_ifd(0x8769) or 0x829A in exif)


def read(source: Path | BinaryIO, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """Read a picture; the first frame if there are several.

    EXIF orientation is applied; palettes, CMYK, YCbCr and Lab become RGB. Raises ``PictureError`` when the file
    cannot be read, is damaged, holds values that are not finite, or has more than ``max_pixels`` pixels.
    """
    name = str(source) if isinstance(source, Path) else "standard input"
    try:
        data = BytesIO(source.read_bytes() if isinstance(source, Path) else source.read())
    except OSError as error:
        raise PictureError(f"{name}: cannot be read ({error.strerror})") from error
    if not data.getbuffer().nbytes:
        raise PictureError(f"{name}: the file is empty")
    try:
        with _pillow_limit_lifted():
            return _decode(data, name, max_pixels)
    except (PictureError, MemoryError):
        raise
    except Image.UnidentifiedImageError as error:
        raise PictureError(f"{name}: not a picture in a format that can be read") from error
    except _DAMAGED as error:
        raise PictureError(f"{name}: the picture is damaged ({error})") from error


def read_rgb(path: Path) -> np.ndarray:
    """A picture as H×W×3 uint8: grey is repeated, alpha left out. Raises ``PictureError``."""
    colour = split(read(path).pixels).colour
    return join(np.broadcast_to(colour, (*colour.shape[:2], 3)), None, like=np.empty((0, 0, 3), np.uint8))


def _decode(data: BytesIO, name: str, max_pixels: int) -> Picture:
    if data.getvalue()[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        picture = _read_deep_tiff(data, name, max_pixels)
        if picture is not None:
            return picture
        data.seek(0)
    with Image.open(data) as image:
        check_size(image.width, image.height, name, max_pixels)
        frames: int = getattr(image, "n_frames", 1)
        if frames > 1:
            warnings.warn(f"{name}: {frames} frames, only the first is used", UsrnetWarning, stacklevel=2)
            image.seek(0)
        orientation = image.getexif().get(0x0112, 1)
        profile = image.info.get("icc_profile")
        if image.mode in ("CMYK", "LAB"):
            profile = None  # it describes other inks than the RGB that comes out
        pixels = _deep_png(data, image) if image.format == "PNG" else None
        if pixels is None:
            image.load()
            pixels = _array(image)
        camera, gamma = of_camera(image), image.info.get("gamma")
    return Picture(_finite(_orient(pixels, orientation), name), profile, camera=camera, gamma=gamma)


def _deep_png(data: BytesIO, image: Image.Image) -> np.ndarray | None:
    """The pixels of a PNG with several 16-bit channels, which Pillow would cut to 8 bits; None for others.

    Pillow's decoder is run twice: told that the samples are big-endian it returns their high bytes, told that
    they are little-endian it returns what are really the low bytes.
    """
    depth, kind = data.getvalue()[24:26]
    if depth != 16 or kind not in (2, 4, 6):
        return None

    def decode(mode: str, raw: str) -> np.ndarray:
        with Image.open(BytesIO(data.getvalue())) as image:
            image._mode = mode  # pyright: ignore[reportAttributeAccessIssue]
            image.tile = [image.tile[0]._replace(args=raw)]
            image.info.pop("transparency", None)
            image.load()
            return np.asarray(image)

    if kind == 4:  # grey and alpha: two bytes each, the four bytes of RGBA
        both = decode("RGBA", "RGBA").astype(np.uint16)
        return both[..., [0, 2]] << 8 | both[..., [1, 3]]
    mode = "RGB" if kind == 2 else "RGBA"
    high, low = (decode(mode, f"{mode};16{order}").astype(np.uint16) for order in "BL")
    return high << 8 | low


def _read_deep_tiff(data: BytesIO, name: str, max_pixels: int) -> Picture | None:
    """A TIFF of 16 bits or floats, read by tifffile; None for those that Pillow reads as well."""
    import tifffile

    with tifffile.TiffFile(data) as file:
        page = file.pages.first
        if page.dtype is None or page.dtype == np.uint8 or page.dtype.kind == "b":
            return None
        check_size(page.imagewidth, page.imagelength, name, max_pixels)
        if len(file.pages) > 1:
            warnings.warn(f"{name}: {len(file.pages)} pages, only the first is used", UsrnetWarning, stacklevel=2)
        try:
            pixels = page.asarray()
        except ValueError as error:
            if "imagecodecs" in str(error):
                raise PictureError(
                    f"{name}: its compression needs one more package: pip install imagecodecs"
                ) from error
            raise
        orientation = page.tags.valueof(274, default=1)
        profile = page.tags.valueof(34675)
        if page.planarconfig == 2 and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
    if pixels.dtype.kind == "f":
        pixels = pixels.astype(np.float32)
    elif pixels.dtype != np.uint16:
        raise PictureError(f"{name}: samples of type {pixels.dtype} are not supported, only 8 and 16 bits and float")
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[-1] not in (2, 3, 4)):
        raise PictureError(f"{name}: {pixels.shape} is not the shape of a grey or colour picture")
    return Picture(_finite(_orient(pixels, int(orientation)), name), profile)


@contextmanager
def _pillow_limit_lifted() -> Iterator[None]:
    """Our own limit is checked instead of Pillow's, from the header and before anything is decoded."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    """Raise ``PictureError`` for a picture of more than ``max_pixels`` pixels."""
    if width * height > max_pixels:
        raise PictureError(
            f"{name}: {width}×{height} pixels are more than the limit of {max_pixels} (raise it with --max-pixels)"
        )


def _finite(pixels: np.ndarray, name: str) -> np.ndarray:
    if pixels.dtype.kind != "f":
        return pixels
    if not np.isfinite(pixels).all():
        raise PictureError(f"{name}: the picture holds values that are not finite (NaN or infinity)")
    low, high = float(pixels.min()), float(pixels.max())
    if low < -1 or high > 2:
        raise PictureError(f"{name}: float values lie from {low:g} to {high:g}, expected is the range from 0 to 1")
    return pixels


def _orient(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror as the EXIF tag 274 says (TIFF 6.0, p. 36)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _array(image: Image.Image) -> np.ndarray:
    """The pixels of a PIL image of any mode."""
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("32-bit samples are not supported")
        return values.astype(np.uint16)
    if image.mode == "F":
        return np.asarray(image).astype(np.float32)
    return np.asarray(_plain(image))


def _plain(image: Image.Image) -> Image.Image:
    """The picture as L, LA, RGB or RGBA."""
    if image.mode in ("LA", "RGBA"):
        return image
    if "transparency" in image.info or image.mode in ("PA", "La", "RGBa"):
        return image.convert("LA" if image.mode in ("1", "L", "La") else "RGBA")
    if image.mode in ("1", "L"):
        return image.convert("L")
    if image.mode == "CMYK" and (profile := image.info.get("icc_profile")):
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
            if converted is not None:
                return converted
        except ImageCms.PyCMSError:
            pass  # a broken profile: the plain conversion is better than none
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        if converted is not None:
            return converted
    return image.convert("RGB")
