"""Pictures in and out: EXIF orientation, alpha, grey, 16 bits, float, ICC profiles.

In memory a picture is an array H×W (grey), H×W×2 (grey and alpha), H×W×3 or H×W×4, uint8, uint16 or float32.
Restoring works on its planes: colour H×W×{1,3} and alpha H×W, float32 in [0,1].
"""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms

from usrnet.atomic import write_bytes
from usrnet.errors import PictureError, UsrnetError, UsrnetWarning

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")
FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP",
}  # fmt: skip
DEFAULT_MAX_PIXELS = 178_956_970  # Pillow's own limit: what 2 GiB of 8-bit RGB hold, divided by four

_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error, zlib.error)


@dataclass(frozen=True)
class Picture:
    """The pixels of a picture file and what is kept beside them."""

    pixels: np.ndarray
    icc_profile: bytes | None = None


@dataclass(frozen=True)
class Planes:
    """Colour H×W×{1,3} and alpha H×W (or None), float32 in [0,1]."""

    colour: np.ndarray
    alpha: np.ndarray | None


# Reading


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


def enlarge_nearest(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Every pixel as ``scale``×``scale`` equal ones."""
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def _decode(data: BytesIO, name: str, max_pixels: int) -> Picture:
    if data.getvalue()[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        picture = _read_deep_tiff(data, name, max_pixels)
        if picture is not None:
            return picture
        data.seek(0)
    with Image.open(data) as image:
        _check_size(image.width, image.height, name, max_pixels)
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
    return Picture(_finite(_orient(pixels, orientation), name), profile)


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
        _check_size(page.imagewidth, page.imagelength, name, max_pixels)
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


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
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


# What a library user passes


def from_any(image: Any) -> Picture:
    """A PIL image or an array H×W, H×W×3 or H×W×4, uint8, uint16 or float in [0,1], as a ``Picture``."""
    if isinstance(image, Image.Image):
        return Picture(_array(image), image.info.get("icc_profile"))
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


# Planes


def split(pixels: np.ndarray) -> Planes:
    """Colour and alpha of ``pixels``, float32 in [0,1]."""
    values = pixels.astype(np.float32)
    if pixels.dtype.kind == "u":
        values /= np.iinfo(pixels.dtype).max
    if values.ndim == 2:
        return Planes(values[..., None], None)
    if values.shape[-1] in (2, 4):
        return Planes(values[..., :-1], values[..., -1])
    return Planes(values, None)


def join(colour: np.ndarray, alpha: np.ndarray | None, *, like: np.ndarray) -> np.ndarray:
    """The inverse of ``split``, with the type and layout of ``like``; clipped to [0,1] and rounded."""
    values = colour if alpha is None else np.concatenate([colour, alpha[..., None]], axis=-1)
    if like.ndim == 2:
        values = values[..., 0]
    values = values.clip(0, 1)
    if like.dtype.kind == "u":
        values = (values * np.iinfo(like.dtype).max).round()
    return np.ascontiguousarray(values.astype(like.dtype))


def upscale_alpha(alpha: np.ndarray, scale: int) -> np.ndarray:
    """Alpha H×W in [0,1] enlarged by bicubic interpolation, clipped."""
    size = alpha.shape[1] * scale, alpha.shape[0] * scale
    enlarged = Image.fromarray(alpha.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(enlarged).clip(0, 1)


def bleed(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Give pixels that cannot be seen the colour of the nearest one that can, so that none enters the edges."""
    from scipy.ndimage import distance_transform_edt

    hidden = alpha < 1 / 255
    if not hidden.any() or hidden.all():
        return colour
    nearest = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    assert nearest is not None
    return colour[nearest[0], nearest[1]]


# Writing


def write(target: Path | BinaryIO, picture: Picture, *, format: str | None = None) -> None:
    """Write a picture; the file appears whole or not at all.

    The format follows the suffix (a stream gets ``format``, PNG if None). What a format cannot hold is reduced
    with a note: alpha in JPEG and BMP, 16 bits elsewhere than in PNG and TIFF; floats become 16 bits outside
    TIFF. Raises ``PictureError`` when the file cannot be written.
    """
    if not isinstance(target, Path):
        target.write(_encode(picture, format or "PNG", "standard output"))
        target.flush()
        return
    kind = format or FORMATS.get(target.suffix.lower())
    if kind is None:
        raise PictureError(
            f"{target}: cannot write {target.suffix or 'a file without suffix'}: use {', '.join(FORMATS)}"
        )
    encoded = _encode(picture, kind, str(target))
    try:
        write_bytes(target, encoded)
    except OSError as error:
        raise PictureError(f"{target}: cannot be written ({error.strerror or error})") from error


def _encode(picture: Picture, kind: str, name: str) -> bytes:
    pixels, profile = picture.pixels, picture.icc_profile

    def note(text: str) -> None:
        warnings.warn(f"{name}: {text}", UsrnetWarning, stacklevel=4)

    if pixels.dtype.kind == "f" and kind != "TIFF":
        note(f"{kind} holds no floats, written with {16 if kind == 'PNG' else 8} bits")
        pixels = join(*_planes(pixels), like=pixels.astype(np.uint16))
        deep = kind == "PNG"
        pixels = pixels if deep else (pixels / 257).round().astype(np.uint8)
    elif pixels.dtype == np.uint16 and kind not in ("PNG", "TIFF"):
        note(f"{kind} holds 8 bits, the picture had 16")
        pixels = (pixels / 257).round().astype(np.uint8)
    if kind in ("JPEG", "BMP") and pixels.ndim == 3 and pixels.shape[-1] in (2, 4):
        note(f"{kind} holds no transparency, put on white")
        pixels = _on_white(pixels)
    if pixels.dtype == np.uint8:
        return _encode_8bit(pixels, kind, profile)
    return _encode_tiff(pixels, profile) if kind == "TIFF" else _encode_png16(pixels, profile)


def _planes(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    planes = split(pixels)
    return planes.colour, planes.alpha


def _on_white(pixels: np.ndarray) -> np.ndarray:
    planes = split(pixels)
    assert planes.alpha is not None
    alpha = planes.alpha[..., None]
    flat = planes.colour * alpha + 1 - alpha
    return join(flat, None, like=pixels[..., 0] if flat.shape[-1] == 1 else pixels[..., :3])


def _encode_8bit(pixels: np.ndarray, kind: str, profile: bytes | None) -> bytes:
    options: dict[str, Any] = {
        "PNG": {
            "compress_level": 2
        },  # a quarter of the time of 6, which was a sixth of a restoration, for 8 % more bytes
        "JPEG": {"quality": 95, "subsampling": "4:4:4"},
        "WEBP": {"quality": 95, "method": 4},
        "TIFF": {"compression": "tiff_adobe_deflate"},
    }.get(kind, {})
    buffer = BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if kind != "BMP":
        options["icc_profile"] = profile
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _encode_tiff(pixels: np.ndarray, profile: bytes | None) -> bytes:
    import tifffile

    buffer = BytesIO()
    colour = pixels.ndim == 3 and pixels.shape[-1] >= 3
    extra = ["unassalpha"] if pixels.ndim == 3 and pixels.shape[-1] in (2, 4) else None
    tifffile.imwrite(
        buffer, pixels, photometric="rgb" if colour else "minisblack", compression="zlib", extrasamples=extra,
        planarconfig="contig" if pixels.ndim == 3 else None, iccprofile=profile, metadata=None,
    )  # fmt: skip
    return buffer.getvalue()


def _encode_png16(pixels: np.ndarray, profile: bytes | None) -> bytes:
    """A 16-bit PNG with any number of channels (Pillow writes grey ones only); every row has the filter Up."""
    height, width = pixels.shape[:2]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[1 if pixels.ndim == 2 else pixels.shape[-1]]
    rows = np.ascontiguousarray(pixels.astype(">u2")).reshape(height, -1).view(np.uint8)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))]
    if profile:
        parts.append(chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)))
    parts += [chunk(b"IDAT", zlib.compress(filtered.tobytes(), 6)), chunk(b"IEND", b"")]
    return b"".join(parts)
