"""What lies beside the pixels of a file: EXIF, XMP, colour profile, resolution, pixel size, place on Earth.

It is read once into a ``Metadata``, corrected for the pixels that are written (upright, enlarged), and every writer
puts in what its format holds.
"""

import math
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from usrnet.errors import UsrnetWarning
from usrnet.io.jpeg import Jpeg, jpeg_of
from usrnet.io.provenance import KEYWORD, PREFIX, SOFTWARE, png_chunk
from usrnet.io.quiet import quiet

_ORIENTATION = 0x0112
_SIZES = {0xA002: 1, 0xA003: 0}  # EXIF's own width and height → axis of H×W
# Tags of a TIFF's or EXIF block's first directory that speak of the photo and not of how the file stores it.
_ABOUT_THE_PHOTO = {
    0x010D, 0x010E, 0x010F, 0x0110, 0x011D, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298, 0x9C9B, 0x9C9C,
    0x9C9D, 0x9C9E, 0x9C9F, 0x8769, 0x8825, 0x9003, 0x829A, 0x829D, 0x8827,
}  # fmt: skip
_DIRECTORIES = (0x8769, 0x8825)  # EXIF and GPS
_MOST_DPI = 65535  # what a JPEG can say
_MAKE, _EXPOSURE = 0x010F, 0x829A
SEGMENT = 65500  # bytes of a block that a JPEG holds
# Keywords of FITS that count in pixels
_REFERENCE_PIXEL = re.compile(r"CRPIX[12][A-Z]?")
_STEP = re.compile(r"(CDELT[12]|CD[1-9]_[12])[A-Z]?|[XY]PIXSZ|PIXSCALE|SECPIX[12]?|PIXSIZE[12]")
_SIP, _SIP_LARGEST = re.compile(r"[AB]P?_([0-9])_([0-9])"), re.compile(r"[AB]P?_DMAX")
_MATRIX = re.compile(r"PC([12])_[12]([A-Z]?)")
SRGB_GAMMA = 0.45455  # as a PNG says it
SRGB_CHROMATICITIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)  # white, red, green, blue
NODATA = 42113  # the tag of a GeoTIFF that names its missing value
GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737, 42112)


@dataclass(frozen=True)
class PixelSize:
    """Height and width of a pixel in ``unit`` (as the file writes it: um, nm, cm …)."""

    height: float
    width: float
    unit: str


@dataclass(frozen=True)
class Metadata:
    """What is known of a picture beside its pixels; everything is optional.

    ``exif``: a TIFF-structured block without the leading ``Exif\\0\\0``, its orientation set to 1. ``dpi``: pixels
    per inch, across and down, a hint for printing that enlarging does not change. ``jpeg``: what a JPEG file says of
    its compression. ``geo``: GeoTIFF tags. ``description``: the text of a TIFF or PNG, ``texts``: further ones of a
    PNG by their keywords. ``imagej``: what ImageJ keeps beside its description, labels of planes and colours of
    channels. ``missing``: the value of samples that were not measured, where the file names one; NaN is none in any
    case. ``software``: what wrote the file; ``provenance``: how a result of ours was made, in its place.
    """

    exif: bytes | None = None
    icc_profile: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    gamma: float | None = None
    chromaticities: tuple[float, ...] | None = None
    description: str | None = None
    texts: dict[str, str] = field(default_factory=dict)
    imagej: dict[str, Any] = field(default_factory=dict, compare=False)
    software: str | None = None
    provenance: str | None = None
    pixel_size: PixelSize | None = None
    geo: dict[int, tuple[float, ...] | str] = field(default_factory=dict)
    jpeg: Jpeg | None = None
    fits_header: Any = None
    missing: float | None = None

    @property
    def camera(self) -> bool:
        """Whether a camera says that it exposed the picture: EXIF names its make and an exposure time."""
        exif = read_exif(self.exif)
        return _MAKE in exif and (_EXPOSURE in exif.get_ifd(0x8769) or _EXPOSURE in exif)

    @property
    def storage(self) -> dict[str, Any]:
        """What says how light is stored, as ``choose_curve`` and ``Observation.stored_as`` take it."""
        return {"camera": self.camera, "icc_profile": self.icc_profile, "gamma": self.gamma}

    def enlarged(self, scale: float, size: tuple[int, int]) -> "Metadata":
        """The same for a result ``scale`` times as large (smaller below 1), of ``size`` height × width."""
        pixel = self.pixel_size and replace(
            self.pixel_size, height=self.pixel_size.height / scale, width=self.pixel_size.width / scale
        )
        return replace(
            self,
            exif=_resized_exif(self.exif, size),
            pixel_size=pixel,
            geo=_enlarged_geo(self.geo, scale),
            fits_header=_enlarged_header(self.fits_header, scale),
            jpeg=None,
        )

    def stripped(self) -> "Metadata":
        """Nothing but what the colours, and the missing value, mean."""
        return Metadata(
            icc_profile=self.icc_profile,
            gamma=self.gamma,
            chromaticities=self.chromaticities,
            provenance=self.provenance,
            missing=self.missing,
        )

    @property
    def made_with(self) -> str | None:
        """The text for the tag *Software*."""
        return self.software if self.provenance is None else PREFIX + self.provenance

    def without_colour(self) -> "Metadata":
        """Without what speaks of the stored colours, for pixels that were converted to sRGB."""
        return replace(self, icc_profile=None, gamma=None, chromaticities=None, exif=_as_srgb(self.exif))


def note_of(name: str) -> Callable[[str], None]:
    """A function that gives the user a note on the picture ``name``, once: every page of a stack may say the same."""
    said: set[str] = set()

    def note(text: str) -> None:
        if text in said:
            return
        said.add(text)
        warnings.warn(f"{name}: {text}", UsrnetWarning, stacklevel=3)

    return note


# EXIF


def read_exif(block: bytes | None) -> Image.Exif:
    """An EXIF block parsed; empty when there is none or it cannot be read."""
    exif = Image.Exif()
    if block:
        try:
            with quiet():
                exif.load(block)
                dict(exif)
        except Exception:  # a block that was written by us or found good is read; others count as none
            return Image.Exif()
    return exif


@quiet()
def clean_exif(exif: Image.Exif) -> bytes | None:
    """The block to keep of a picture whose pixels are upright: what speaks of the photo, orientation 1.

    The thumbnail, which shows the picture as it was, is left out.
    """
    kept = Image.Exif()
    for tag in _ABOUT_THE_PHOTO & set(exif):
        if tag not in _DIRECTORIES:
            kept[tag] = exif[tag]
    for tag in _DIRECTORIES:
        if inner := dict(exif.get_ifd(tag)):
            kept[tag] = _inner(exif, inner)
    if not len(kept):
        return None
    kept[_ORIENTATION] = 1
    return _block(kept)


def _inner(exif: Image.Exif, inner: dict[int, Any]) -> dict[int, Any]:
    """A directory within the block, with the one that it may hold itself (0xA005 says which RGB is meant)."""
    if 0xA005 in inner:
        interop = inner[0xA005] if isinstance(inner[0xA005], dict) else dict(exif.get_ifd(0xA005))
        inner = {tag: value for tag, value in inner.items() if tag != 0xA005}
        if interop:
            inner[0xA005] = interop
    return inner


class _Text(str):
    """A text of an EXIF block that is written with the bytes that it was read from.

    Pillow reads texts as Latin-1, whatever they are (UTF-8 in most files), and would write ASCII, ``?`` for the rest.
    """

    __slots__ = ()

    def encode(self, encoding: str = "latin-1", errors: str = "replace") -> bytes:
        return super().encode("latin-1", "replace")


def _as_read(value: Any) -> Any:
    """A value of an EXIF block, or a directory in it, with its texts as ``_Text``."""
    if isinstance(value, dict):
        return {tag: _as_read(inner) for tag, inner in value.items()}
    return _Text(value) if isinstance(value, str) else value


def readable(value: Any) -> Any:
    """A text of an EXIF block as people read it: what Pillow takes for Latin-1 is UTF-8 where it can be."""
    if not isinstance(value, str):
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _block(exif: Image.Exif) -> bytes | None:
    for tag, value in list(exif.items()):
        exif[tag] = _as_read(value)
    try:
        block = exif.tobytes()
    except Exception:  # values of types that the tags do not allow
        block = _block_of_what_can_be_written(exif)
    return block.removeprefix(b"Exif\0\0") or None


def _block_of_what_can_be_written(exif: Image.Exif) -> bytes:
    """Tag by tag, so that one that cannot be written does not cost the others."""
    kept = Image.Exif()
    for tag, value in exif.items():
        trial = Image.Exif()
        trial[tag] = value
        try:
            trial.tobytes()
        except Exception:
            if isinstance(value, dict):
                value = {inner: item for inner, item in value.items() if _writable(tag, inner, item)}
                kept[tag] = value
            continue
        kept[tag] = value
    return kept.tobytes()


def _writable(tag: int, inner: int, value: Any) -> bool:
    trial = Image.Exif()
    trial[tag] = {inner: value}
    try:
        trial.tobytes()
    except Exception:
        return False
    return True


def _copy(block: bytes | None) -> Image.Exif:
    """A block parsed, its directories in it as values."""
    exif, copy = read_exif(block), Image.Exif()
    for tag, value in exif.items():
        if tag not in _DIRECTORIES:
            copy[tag] = value
    for tag in _DIRECTORIES:
        if inner := dict(exif.get_ifd(tag)):
            copy[tag] = _inner(exif, inner)
    return copy


def _resized_exif(block: bytes | None, size: tuple[int, int]) -> bytes | None:
    if block is None:
        return None
    exif = _copy(block)
    for tag in set(_DIRECTORIES) & set(exif):
        exif[tag] = {key: size[_SIZES[key]] if key in _SIZES else value for key, value in exif[tag].items()}
    return _block(exif)


def _as_srgb(block: bytes | None) -> bytes | None:
    """The block of a picture that was converted to sRGB: it no longer says Adobe RGB."""
    if block is None:
        return None
    exif = read_exif(block)
    inner = dict(exif.get_ifd(0x8769))
    if 0xA001 not in inner and 0xA005 not in inner:
        return block
    inner.pop(0xA005, None)
    inner[0xA001] = 1
    exif[0x8769] = inner
    return _block(exif)


def with_software(metadata: Metadata, text: str) -> bytes | None:
    """The EXIF block with ``text`` as the software that wrote it, for formats that have no other place for it."""
    exif = _copy(metadata.exif)
    exif[SOFTWARE] = text
    return _block(exif)


def without_orientation(block: bytes) -> bytes | None:
    """The EXIF block for AVIF, whose own boxes turn a picture. Pillow would take it out too, and spoil the texts."""
    exif = _copy(block)
    exif.pop(_ORIENTATION, None)
    return _block(exif)


# Pillow's images


def from_pillow(image: Image.Image, note: Callable[[str], None]) -> tuple[Metadata, int]:
    """The metadata of an opened picture and the orientation (1 to 8) that its pixels still have to be given.

    A block that is broken is left out with a note.
    """
    info = image.info
    exif, orientation = None, 1
    try:
        with quiet():
            parsed = image.getexif()
            found = parsed.get(_ORIENTATION, 1)
            orientation = found if found in range(1, 9) else 1
            exif = clean_exif(parsed)
            software = parsed.get(SOFTWARE)
    except Exception:  # whatever the parser stumbles over: the pixels are good without it
        exif, orientation = None, 1
        note("its EXIF block is broken and is left out")
        software = None
    metadata = Metadata(
        exif=exif,
        icc_profile=checked_profile(info.get("icc_profile"), note),
        xmp=clean_xmp(info.get("xmp") or info.get("XML:com.adobe.xmp") or raw_profile(info, "xmp"), note),
        dpi=checked_dpi(info.get("dpi")),
        gamma=_positive(info.get("gamma")),
        chromaticities=_chromaticities(info.get("chromaticity")),
        description=_text(info.get("Description")) or _text(info.get("comment")),
        texts=_texts(info) if image.format == "PNG" else {},
        software=_text(info.get("Software")) or _text(readable(software)),
        jpeg=jpeg_of(image),
    )
    return metadata, orientation


def raw_profile(info: dict[Any, Any], kind: str) -> bytes | None:
    """A block that ImageMagick keeps in a text of a PNG: a name, a length and digits of base 16."""
    words = str(info.get(f"Raw profile type {kind}", "")).split()
    try:
        return bytes.fromhex("".join(words[2:])) or None
    except ValueError:
        return None


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return (value.strip("\0 \n") or None) if isinstance(value, str) else None


def _texts(info: dict[Any, Any]) -> dict[str, str]:
    """The texts of a PNG (Author, Copyright …) but those that are kept as something else or speak of the file."""
    others = {"Description", "Software", "XML:com.adobe.xmp", KEYWORD.decode()}
    return {
        str(name): str(value)
        for name, value in info.items()
        if isinstance(value, str) and value and name not in others
        if not re.match("Raw profile type |date:", name)  # the latter: of the file, by ImageMagick
    }


def _positive(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 < value < math.inf else None


def checked_dpi(value: Any) -> tuple[float, float] | None:
    try:
        across, down = (float(part) for part in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    good = 1 < across <= _MOST_DPI and 1 < down <= _MOST_DPI
    return (round(across, 4), round(down, 4)) if good else None


def _chromaticities(value: Any) -> tuple[float, ...] | None:
    return tuple(map(float, value)) if isinstance(value, tuple | list) and len(value) == 8 else None


def checked_profile(profile: Any, note: Callable[[str], None]) -> bytes | None:
    """A colour profile that can be read, or None."""
    if not isinstance(profile, bytes) or not profile:
        return None
    from PIL import ImageCms

    try:
        ImageCms.ImageCmsProfile(BytesIO(profile))
    except Exception:  # Pillow passes on whatever LittleCMS says
        note("its colour profile is broken and is left out")
        return None
    return profile


def profile_space(profile: bytes | None) -> str:
    """The colours that a profile describes: ``RGB``, ``GRAY``, ``CMYK`` …; empty without one."""
    return profile[16:20].decode("latin-1").strip() if profile and len(profile) > 20 else ""


def clean_xmp(packet: Any, note: Callable[[str], None]) -> bytes | None:
    """An XMP packet that says upright and no longer speaks of what is not kept: a gain map, further segments."""
    if isinstance(packet, str):
        packet = packet.encode()
    if not isinstance(packet, bytes) or not packet.strip(b"\0 \n"):
        return None
    packet = re.sub(rb'(tiff:Orientation\s*=\s*["\'])\d(["\'])', rb"\g<1>1\2", packet)
    packet = re.sub(rb"(<tiff:Orientation>)\d(</tiff:Orientation>)", rb"\g<1>1\2", packet)
    if b"HasExtendedXMP" in packet:
        note("its extended XMP is left out")
        packet = re.sub(rb"\s[\w:]+:HasExtendedXMP\s*=\s*(\"[^\"]*\"|'[^']*')", b"", packet)
        packet = re.sub(rb"<(\w+:HasExtendedXMP)>.*?</\1>", b"", packet, flags=re.DOTALL)
    if b"hdrgm:" in packet or b"HDRGainMap" in packet:
        note("its HDR gain map is left out")
        packet = re.sub(rb"\s(?:hdrgm|HDRGainMap):\w+\s*=\s*(\"[^\"]*\"|'[^']*')", b"", packet)
        packet = re.sub(rb"<Container:Directory>.*?</Container:Directory>", b"", packet, flags=re.DOTALL)
        packet = re.sub(rb"<(hdrgm:\w+)>.*?</\1>", b"", packet, flags=re.DOTALL)
    return packet


# Places and sizes that a larger result changes


def _enlarged_geo(geo: dict[int, Any], scale: float) -> dict[int, Any]:
    """GeoTIFF: the pixel scale becomes smaller, and raster positions of tie points move with the grid.

    Where a pixel's position is its centre (GTRasterType 2) the positions count from centres.
    """
    if scale == 1 or not geo:
        return geo
    keys = geo.get(34735, ())
    centre = 0.5 if any(keys[i : i + 4][0] == 1025 and keys[i + 3] == 2 for i in range(4, len(keys) - 3, 4)) else 0
    changed = dict(geo)
    if len(size := geo.get(33550, ())) >= 2:
        changed[33550] = (size[0] / scale, size[1] / scale, *size[2:])
    if points := geo.get(33922, ()):
        moved = list(points)
        for start in range(0, len(points) - 5, 6):
            for axis in (start, start + 1):
                moved[axis] = (points[axis] + centre) * scale - centre
        changed[33922] = tuple(moved)
    if len(matrix := geo.get(34264, ())) == 16:
        turned = np.reshape(matrix, (4, 4)).astype(float)
        # The old position of the new pixel p is (p + c)/s − c.
        shift = centre / scale - centre
        turned[:, 3] += turned[:, 0] * shift + turned[:, 1] * shift
        turned[:, :2] /= scale
        changed[34264] = tuple(turned.ravel().tolist())
    return changed


def _enlarged_header(header: Any, scale: float) -> Any:
    """A FITS header for a finer grid: reference pixel, steps, matrix and distortion of the world coordinates.

    A coordinate system may have several versions, each with a letter at the end of its keywords. SIP's polynomials
    are of pixels from the reference pixel, in pixels: u + Σ A_pq uᵖvᵠ is ``scale`` times as much where u and v are
    (Shupe et al., ADASS XIV, 2005). PC matrices have no unit, PV parameters are of degrees.
    """
    if header is None or scale == 1:
        return header
    header = header.copy()
    rules = (_REFERENCE_PIXEL, _STEP, _SIP, _SIP_LARGEST, _MATRIX)
    for name in [name for name in header if any(rule.fullmatch(name) for rule in rules)]:
        value = header[name]  # of these cards only: one that is damaged costs nothing until it is looked at
        if not isinstance(value, int | float):
            continue
        if _REFERENCE_PIXEL.fullmatch(name):
            header[name] = (value - 0.5) * scale + 0.5
        elif _STEP.fullmatch(name):
            header[name] = value / scale
        elif found := _SIP.fullmatch(name):
            header[name] = value / scale ** (int(found[1]) + int(found[2]) - 1)
        elif _SIP_LARGEST.fullmatch(name):
            header[name] = value * scale
        elif (found := _MATRIX.fullmatch(name)) and (step := f"CDELT{found[1]}{found[2]}") not in header:
            header[step] = 1 / scale  # 1 is what it is when it is not written
    return header


# Blocks for the writers


def png_chunks(metadata: Metadata) -> list[bytes]:
    """The chunks of a PNG that hold the metadata, to stand before its pixels."""

    def text(keyword: str, value: str | bytes, *, language: bytes = b"") -> bytes:
        data = value.encode() if isinstance(value, str) else value
        return png_chunk(b"iTXt", keyword.encode("latin-1", "replace") + b"\0\0\0" + language + b"\0\0" + data)

    chunks = []
    if metadata.chromaticities:
        points = (round(value * 100000) for value in metadata.chromaticities)
        chunks.append(png_chunk(b"cHRM", struct.pack(">8I", *points)))
    if metadata.gamma:
        chunks.append(png_chunk(b"gAMA", struct.pack(">I", round(metadata.gamma * 100000))))
    if metadata.icc_profile:
        chunks.append(png_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc_profile)))
    if metadata.dpi:
        across, down = (round(value / 0.0254) for value in metadata.dpi)
        chunks.append(png_chunk(b"pHYs", struct.pack(">IIB", across, down, 1)))
    elif metres := _metres(metadata.pixel_size):
        down, across = (1 / value for value in metres)
        if max(down, across) < 2**31:
            chunks.append(png_chunk(b"pHYs", struct.pack(">IIB", round(across), round(down), 1)))
    if metadata.exif:
        chunks.append(png_chunk(b"eXIf", metadata.exif))
    if metadata.xmp:
        chunks.append(text("XML:com.adobe.xmp", metadata.xmp))
    if metadata.description:
        chunks.append(text("Description", metadata.description))
    chunks += [text(keyword, value) for keyword, value in metadata.texts.items()]
    if metadata.software:
        chunks.append(text("Software", metadata.software))
    if metadata.provenance is not None:
        chunks.append(png_chunk(b"tEXt", KEYWORD + b"\0" + metadata.provenance.encode("latin-1", "replace")))
    return chunks


METRES = {
    "m": 1, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "μm": 1e-6, "micron": 1e-6, "nm": 1e-9, "pm": 1e-12,
    "\\u00B5m": 1e-6, "inch": 0.0254, "in": 0.0254,
}  # fmt: skip


def _metres(size: PixelSize | None) -> tuple[float, float] | None:
    """Height and width of a pixel in metres, where the unit is one of length."""
    unit = METRES.get(size.unit) if size else None
    return (size.height * unit, size.width * unit) if size and unit else None


def what_is_lost(metadata: Metadata, kind: str) -> list[str]:
    """What a file of the kind ``kind`` cannot hold, in words."""
    lost = []
    resolution = {"PNG", "JPEG", "TIFF", "BMP"}
    if metadata.dpi and kind not in resolution:
        lost.append("resolution")
    primaries = None if kind == "TIFF" else metadata.chromaticities
    colours = [metadata.gamma or SRGB_GAMMA, *(primaries or SRGB_CHROMATICITIES)]
    usual = [SRGB_GAMMA, *SRGB_CHROMATICITIES]
    if kind != "PNG" and not metadata.icc_profile and not np.allclose(colours, usual, atol=0.01):
        lost.append("gamma" if primaries is None else "gamma and primaries")
    if metadata.pixel_size and kind not in {"TIFF", "FITS"} and not (kind == "PNG" and _metres(metadata.pixel_size)):
        lost.append("pixel size")
    if metadata.geo and kind != "TIFF":
        lost.append("place on Earth")
    if metadata.fits_header is not None and kind != "FITS":
        lost.append("FITS header")
    if metadata.description and kind not in {"PNG", "TIFF", "JPEG", "FITS"}:
        lost.append("description")
    if metadata.texts and kind != "PNG":
        lost.append(f"texts ({', '.join(metadata.texts)})")
    if metadata.imagej and kind != "TIFF":
        lost.append(f"what ImageJ noted ({', '.join(metadata.imagej)})")
    holders = {"PNG", "JPEG", "WEBP", "AVIF", "TIFF"}
    for value, name in ((metadata.exif, "EXIF"), (metadata.icc_profile, "colour profile"), (metadata.xmp, "XMP")):
        if value and (kind not in holders or (kind == "JPEG" and name != "colour profile" and len(value) > SEGMENT)):
            lost.append(name)
    if kind == "WEBP" and profile_space(metadata.icc_profile) == "GRAY":
        lost.append("colour profile of a grey picture")  # it holds three colours always
    return lost


def exif_directory(block: bytes | None, offset: int) -> tuple[dict[int, Any], dict[int, bytes]]:
    """An EXIF block for a TIFF: the tags of its first directory, and its directories as bytes for ``offset``.

    The second directory follows the first; both hold absolute positions.
    """
    exif = read_exif(block)
    tags = {tag: value for tag, value in exif.items() if tag not in _DIRECTORIES and tag != _ORIENTATION}
    encoded: dict[int, bytes] = {}
    for tag in _DIRECTORIES:
        if inner := dict(exif.get_ifd(tag)):
            directory = ImageFileDirectory_v2(ifh=b"II*\0\0\0\0\0", group=tag)
            for key, value in _inner(exif, inner).items():
                directory[key] = _as_read(value)
            try:
                encoded[tag] = directory.tobytes(offset)
            except Exception:  # see _block
                continue
            offset += len(encoded[tag]) + len(encoded[tag]) % 2
    return tags, encoded


GPS, EXIF = ExifTags.IFD.GPSInfo.value, ExifTags.IFD.Exif.value
