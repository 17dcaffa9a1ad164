"""Picture files read: whatever the format, the pixels upright, their full scale, and what lies beside them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile

from usrnet.errors import PictureError, UsrnetWarning
from usrnet.io import deep, fits, iptc
from usrnet.io.colours import cmyk_to_rgb, lab_to_rgb
from usrnet.io.foreign import refuse_foreign
from usrnet.io.gaps import filled, note_on_gaps, refuse_infinite, survey
from usrnet.io.levels import Levels, White, choose_with_note, full_scale
from usrnet.io.metadata import Metadata, checked_profile, clean_exif, from_pillow, note_of, profile_space, raw_profile
from usrnet.io.planes import join, split
from usrnet.io.provenance import PNG_MAGIC
from usrnet.io.quiet import quiet
from usrnet.io.tiff import TiffFile, orient

SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jfif", ".jpe", ".mpo", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif",
    ".ppm", ".pgm", ".pbm", ".pnm", ".pam", ".pfm", ".qoi", ".tga", ".avif", ".heic", ".heif", ".hif", ".jp2", ".j2k",
    ".jpx", ".j2c", ".jpf", ".fits", ".fit", ".fts",
)  # fmt: skip
DEFAULT_MAX_PIXELS = 178_956_970  # Pillow's own limit: what 2 GiB of 8-bit RGB hold, divided by four
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_UNFIT = "its colour profile does not fit its pixels and is left out"
# Formats that start other programs, are no pictures, or are read by us.
_NOT_BY_PILLOW = {"EPS", "WMF", "FPX", "MIC", "HDF5", "GRIB", "BUFR", "PDF", "MPEG", "TIFF", "FITS", "XVTHUMB"}


@dataclass(frozen=True)
class Picture:
    """The pixels of an image file and what is kept beside them.

    Attributes
    ----------
    pixels : ndarray, H×W or H×W×C
        Colour (1 or 3), then alpha if there is one, then ``extra`` bands.
    metadata : Metadata
        EXIF, colour profile, resolution and what else goes on to the result.
    extra : int
        How many bands are images of their own (near infrared, fluorescence).
    levels : Levels or None
        What 0 and full scale are, where the file says otherwise than its type.

    Examples
    --------
    >>> import numpy as np
    >>> from usrnet import io
    >>> io.Picture(np.zeros((4, 6, 3), np.uint8)).pixels.shape
    (4, 6, 3)
    """

    pixels: np.ndarray
    metadata: Metadata = field(default_factory=Metadata)
    extra: int = 0
    levels: Levels | None = None

    @property
    def icc_profile(self) -> bytes | None:
        """The colour profile, for short."""
        return self.metadata.icc_profile

    @property
    def gamma(self) -> float | None:
        """The exponent of a PNG's gAMA chunk, for short."""
        return self.metadata.gamma

    @property
    def camera(self) -> bool:
        """Whether a camera says that it exposed the picture, for short."""
        return self.metadata.camera


def read(source: Path | BinaryIO, *, max_pixels: int = DEFAULT_MAX_PIXELS, white: White = None) -> Picture:
    """Read an image as every part of the program can work with it; the first frame if there are several.

    EXIF orientation is applied; palettes, CMYK, YCbCr and Lab become RGB. What is missing (NaN, or the value that the
    file names) is filled with the nearest measured value, with a note.

    Parameters
    ----------
    source : pathlib.Path or BinaryIO
        A file, or a stream that can be read.
    max_pixels : int
        An image with more is refused.
    white : float or "auto", optional
        The value that is full scale, ``"auto"`` for the range of the data, None for what the type means.

    Returns
    -------
    Picture
        Its pixels are H×W, H×W×2, H×W×3 or H×W×4 (grey or colour, with or without alpha), uint8, uint16, or float32
        in the unit range.

    Raises
    ------
    PictureError
        The file cannot be read, is damaged, holds infinite values or nothing but gaps, or has too many pixels.

    Examples
    --------
    >>> from importlib.resources import as_file, files
    >>> from usrnet import io
    >>> with as_file(files("usrnet") / "data" / "astronaut.png") as path:
    ...     io.read(path).pixels.shape
    (384, 384, 3)
    """
    return plain(read_whole(source, max_pixels=max_pixels), name=_name(source), white=white)


def read_rgb(path: Path) -> np.ndarray:
    """A picture as H×W×3 uint8: grey is repeated, alpha left out. Raises ``PictureError``."""
    colour = split(read(path).pixels).colour
    return join(np.broadcast_to(colour, (*colour.shape[:2], 3)), None, like=np.empty((0, 0, 3), np.uint8))


def read_whole(source: Path | BinaryIO, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """Read a picture as the file has it: its own type and values, every band, missing ones too. See ``read``."""
    name = _name(source)
    data = read_bytes(source)
    return guarded(name, lambda: _decode(data, name, max_pixels))


def plain(picture: Picture, *, name: str, white: White = None) -> Picture:
    """A picture as ``read`` gives it, from one as ``read_whole`` does; what is changed is said in a note."""
    note = note_of(name)
    picture = _without_gaps(picture, name, note)
    pixels, dtype = picture.pixels, picture.pixels.dtype
    if picture.extra:
        grey = pixels.shape[-1] - picture.extra == 1
        keep = 3 if grey and pixels.shape[-1] == 3 else pixels.shape[-1] - picture.extra
        if keep == 3 and grey:
            note("three bands, shown as red, green and blue")
        else:
            note(f"{pixels.shape[-1] - keep} bands beyond colour and alpha are left out")
        pixels = pixels[..., 0] if keep == 1 else np.ascontiguousarray(pixels[..., :keep])
    if white is None and picture.levels is None and dtype in (np.uint8, np.uint16):
        return replace(picture, pixels=pixels, extra=0)
    levels = levels_of(picture, white, note)
    if levels == full_scale(dtype) and dtype == np.float32:
        return replace(picture, pixels=pixels, extra=0)
    return replace(picture, pixels=converted(pixels, np.dtype(np.float32), levels), extra=0, levels=None)


def _without_gaps(picture: Picture, name: str, note: Callable[[str], None]) -> Picture:
    """A picture in which what is missing is filled, with a note, and nothing counts as missing any more."""
    missing = picture.metadata.missing
    if picture.pixels.dtype.kind != "f" and missing is None:
        return picture
    found = survey(picture.pixels, extra=picture.extra, missing=missing)
    if text := note_on_gaps([found], name):
        note(text)
    pixels = np.asarray(filled(picture.pixels, found)[0])
    return replace(picture, pixels=pixels, metadata=replace(picture.metadata, missing=None))


def converted(pixels: np.ndarray, dtype: np.dtype, levels: Levels | None = None) -> np.ndarray:
    """Pixels with another type's full scale; ``levels``: which of their values are black and full scale."""
    planes = split(pixels, levels)
    return join(planes.colour, planes.alpha, like=np.empty((0,) * pixels.ndim, dtype))


def levels_of(picture: Picture, white: White, note: Callable[[str], None]) -> Levels:
    """The levels of a picture, from its values, its file and what the user says; with a note where there is doubt."""
    found = survey(picture.pixels, extra=picture.extra)
    levels, text = choose_with_note(found.low, found.high, picture.pixels.dtype, white, declared=picture.levels)
    if text:
        note(text)
    return levels


def _name(source: Path | BinaryIO) -> str:
    return str(source) if isinstance(source, Path) else "standard input"


def read_bytes(source: Path | BinaryIO) -> bytes:
    """The content of a file or stream. Raises ``PictureError``."""
    name = _name(source)
    try:
        data = source.read_bytes() if isinstance(source, Path) else source.read()
    except OSError as error:
        raise PictureError(f"{name}: cannot be read ({error.strerror})") from error
    if not data:
        raise PictureError(f"{name}: the file is empty")
    return data


def guarded(name: str, decode: Callable[[], Any]) -> Any:
    """What ``decode`` returns; whatever a damaged file makes it stumble over becomes one sentence."""
    try:
        with quiet():
            return decode()
    except (PictureError, UsrnetWarning):  # a note may be an error to whoever wants it so
        raise
    except MemoryError as error:
        raise PictureError(f"{name}: there is not enough memory to read it") from error
    except Image.UnidentifiedImageError as error:
        raise PictureError(f"{name}: not a picture in a format that can be read") from error
    except Exception as error:
        text = " ".join(str(error).split())[:160] or type(error).__name__
        raise PictureError(f"{name}: the picture is damaged ({text})") from error


def _decode(data: bytes, name: str, max_pixels: int) -> Picture:
    note = note_of(name)

    def check(width: int, height: int) -> None:
        check_size(width, height, name, max_pixels)

    refuse_foreign(data, name)
    if data[:4] in TIFF_MAGIC:
        with TiffFile(BytesIO(data), name=name) as file:
            return first_of_tiff(file, max_pixels)
    if data[:9] == b"SIMPLE  =":
        return bounded(fits.read(data, name, check, note), name)
    if deep.is_heif(data):
        return _heif(data, name, check, note)
    pixels = deep.netpbm(data, check, note)
    if pixels is not None:
        return bounded(Picture(pixels), name)
    data = deep.sound_png(data, note)
    with _open_noted(data, name, note) as image:
        check(image.width, image.height)
        frames: int = getattr(image, "n_frames", 1)
        if frames > 1:
            image.seek(0)
        metadata, orientation = from_pillow(image, note)
        metadata = iptc.with_iptc(metadata, _iptc_of(image), note)
        if frames > 1:
            note(_of_several(image, frames))
        readers = {"PNG": deep.png, "JPEG2000": deep.jpeg2000, "AVIF": deep.avif}
        reader = readers.get(image.format or "")
        pixels = reader(data) if reader else None
        if pixels is None:
            image.load()
            pixels, metadata = pixels_of(image, metadata, note)
        grey = pixels.ndim == 2 or pixels.shape[2] < 3
        if image.format in ("PNG", "AVIF"):
            metadata = as_declared(metadata, deep.declared_colour(data), note, grey=grey)
        elif image.format == "JPEG2000":
            profile = checked_profile(deep.jpeg2000_profile(data), note)
            if profile_space(profile) == ("GRAY" if grey else "RGB"):
                metadata = replace(metadata, icc_profile=profile)
            elif profile:
                note(_UNFIT)
        if not grey and profile_space(metadata.icc_profile) == "GRAY":
            pixels, metadata = as_grey(pixels, metadata, note)
    return bounded(Picture(orient(pixels, orientation), metadata), name)


def as_grey(pixels: np.ndarray, metadata: Metadata, note: Callable[[str], None]) -> tuple[np.ndarray, Metadata]:
    """Three colours whose profile is of grey, as a palette or another format made them: grey, if they are."""
    if (pixels[..., :1] == pixels[..., 1:3]).all():
        return np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 3 else pixels[..., [0, 3]]), metadata
    note(_UNFIT)
    return pixels, replace(metadata, icc_profile=None)


def _iptc_of(image: ImageFile.ImageFile) -> bytes | None:
    """The block of captions and credits of a JPEG, or of a PNG that ImageMagick wrote."""
    if isinstance(resources := image.info.get("photoshop"), dict):
        return resources.get(iptc.RESOURCE)
    block = raw_profile(image.info, "iptc")
    return (iptc.in_photoshop(block) if block.startswith(b"8BIM") else block) if block else None


def as_declared(
    metadata: Metadata, declared: tuple[int, int] | None, note: Callable[[str], None], *, grey: bool
) -> Metadata:
    """The metadata with a colour profile, where a file declares other colours than sRGB by numbers alone.

    ``declared``: primaries and transfer function in the numbers of ITU-T H.273. A note says what cannot be kept.
    """
    if declared is None:
        return metadata
    primaries, transfer = declared
    curve = deep.CURVES.get(transfer)
    if curve:
        note(f"its HDR brightness curve ({curve}) cannot be kept")
    primaries = 1 if grey else primaries  # of the white at most
    if metadata.icc_profile or deep.is_srgb(primaries, 1 if curve else transfer):
        return metadata
    profile = deep.profile_of(primaries, transfer, grey=grey)
    if profile is None:
        lost = f"brightness curve (transfer {transfer})" if grey else f"colours ({deep.name_of_primaries(primaries)})"
        note(f"its {lost} cannot be kept")
        return metadata
    return replace(metadata, icc_profile=profile, gamma=None, chromaticities=None)


def _of_several(image: Image.Image, frames: int) -> str:
    if image.format == "MPO":
        return f"{frames} pictures in one file, only the first is used (the others are a gain map or views)"
    return f"{frames} frames, only the first is used (--all-pages takes all)"


def first_of_tiff(file: TiffFile, max_pixels: int) -> Picture:
    """The first page of a TIFF as a picture."""
    rows = file.rows()
    check_size(rows.shape[1], rows.shape[0], file.name, max_pixels, channels=rows.channels)
    if len(file) > 1:
        file.note(f"{len(file)} pages, only the first is used (--all-pages takes all)")
    return Picture(rows[:], rows.metadata(), rows.extra, rows.declared)


def _heif(data: bytes, name: str, check: Callable[[int, int], None], note: Callable[[str], None]) -> Picture:
    pixels, info, count = deep.heif(data, name, check)
    if count > 1:
        note(f"{count} pictures in one file, only the main one is used")
    holder = Image.new("L", (1, 1))
    holder.info.update({key: info[key] for key in ("exif", "xmp", "icc_profile") if info.get(key)})
    metadata, _ = from_pillow(holder, note)  # the pixels are upright already
    declared = deep.declared_colour(data) if metadata.icc_profile else None  # beside the profile, a curve at most
    if nclx := info.get("nclx_profile"):  # of the main picture
        declared = nclx["color_primaries"], nclx["transfer_characteristics"]
    metadata = as_declared(metadata, declared, note, grey=pixels.ndim == 2 or pixels.shape[2] < 3)
    return Picture(np.ascontiguousarray(pixels), metadata)


def open_pillow(data: bytes) -> ImageFile.ImageFile:
    """A picture opened by Pillow without its limit of pixels, which is one for the whole process; ours follows.

    Raises ``UnidentifiedImageError``.
    """
    Image.init()
    for identifier in Image.ID:
        if identifier in _NOT_BY_PILLOW:
            continue
        factory, accept = Image.OPEN[identifier]
        accepted = accept is None or accept(data[:16])
        if not accepted or isinstance(accepted, str):
            continue
        try:
            return factory(BytesIO(data), "")
        except Exception:  # another plugin may know the format
            continue
    raise Image.UnidentifiedImageError("not a picture")


def _open_noted(data: bytes, name: str, note: Callable[[str], None]) -> ImageFile.ImageFile:
    """As ``open_pillow``; a PNG that cannot be read for what lies beside its pixels is read without that."""
    try:
        return open_pillow(data)
    except Image.UnidentifiedImageError as error:
        if data.startswith(b"\xff\xd8\xff"):
            raise PictureError(
                f"{name}: not a JPEG that can be read (damaged, lossless or of more than 8 bits): "
                "convert it to PNG or TIFF first"
            ) from error
        if not data.startswith(PNG_MAGIC):
            raise
    try:
        image = open_pillow(deep.bare_png(data, b"tRNS"))
    except Image.UnidentifiedImageError:
        image = open_pillow(deep.bare_png(data))
    note("what it holds beside the pixels is damaged and left out")
    return image


def check_size(width: int, height: int, name: str, max_pixels: int, *, channels: int = 1) -> None:
    """Raise ``PictureError`` for more than ``max_pixels`` pixels; bands beyond four count as pixels too."""
    if width * height * max(1, channels / 4) > max_pixels:
        bands = f" with {channels} bands" if channels > 4 else ""
        raise PictureError(
            f"{name}: {width}×{height} pixels{bands} are more than the limit of {max_pixels} "
            "(raise it with --max-pixels)"
        )


def bounded(picture: Picture, name: str) -> Picture:
    """The picture, if none of its values is infinite. Raises ``PictureError``."""
    refuse_infinite(picture.pixels, name)
    return picture


def pixels_of(image: Image.Image, metadata: Metadata, note: Callable[[str], None]) -> tuple[np.ndarray, Metadata]:
    """The pixels of a PIL image of any mode, and its metadata without what no longer holds."""
    mode = image.mode
    if mode.startswith("I"):
        values = np.asarray(image)
        small = mode != "I" or (values.min() >= 0 and values.max() <= 65535)
        values = values.astype(np.uint16 if small else np.int32)
        if small and isinstance(clear := image.info.get("transparency"), int):
            values = np.stack([values, np.where(values == clear, 0, 65535).astype(np.uint16)], axis=-1)
        return values, metadata
    if mode == "F":
        return np.asarray(image).astype(np.float32), metadata
    if mode == "CMYK":
        return cmyk_to_rgb(np.asarray(image), metadata.icc_profile, note), metadata.without_colour()
    if mode == "LAB":
        codes = np.asarray(image)
        a, b = (codes[..., i].view(np.int8).astype(np.float64) for i in (1, 2))
        return lab_to_rgb(codes[..., 0] * (100 / 255), a, b, np.dtype(np.uint8)), metadata.without_colour()
    pixels = np.asarray(_plain(image))
    if profile_space(metadata.icc_profile) not in ("", "GRAY", "RGB"):
        metadata = metadata.without_colour()
    return pixels, metadata


def _plain(image: Image.Image) -> Image.Image:
    """The picture as L, LA, RGB or RGBA."""
    if image.mode in ("LA", "RGBA"):
        return image
    if "transparency" in image.info or image.mode in ("PA", "La", "RGBa"):
        return image.convert("LA" if image.mode in ("1", "L", "La") else "RGBA")
    if image.mode in ("1", "L"):
        return image.convert("L")
    return image.convert("RGB")


def exif_of(image: Image.Image) -> bytes | None:
    """The EXIF block of a PIL image, upright; None where there is none or it is broken."""
    try:
        return clean_exif(image.getexif())
    except Exception:  # as in from_pillow
        return None
