"""What the tags of a TIFF say beside the pixels: the photo, the instrument, the place, the size of a pixel."""

import json
import math
import re
from collections.abc import Callable
from typing import Any

from PIL import Image

from usrnet.io import iptc
from usrnet.io.metadata import (
    GEO_TAGS,
    METRES,
    NODATA,
    Metadata,
    PixelSize,
    checked_dpi,
    clean_exif,
    clean_xmp,
    exif_directory,
    read_exif,
    readable,
)
from usrnet.io.quiet import quiet

_GEO_KEYS = 34735  # whole numbers of 16 bits
_COLOURS = (318, 319)  # white, and red, green and blue
_GEO_TEXTS = {34737, 42112}


def from_tags(page: Any, note: Callable[[str], None]) -> Metadata:
    """The tags of a page that speak of the photo, the instrument or the place."""
    file = page.parent
    exif, parsed = None, Image.Exif()
    parsed.endian, parsed.bigtiff = file.byteorder, file.is_bigtiff
    try:
        with quiet():
            parsed.load_from_fp(file.filehandle, page.offset)  # pyright: ignore[reportArgumentType]
            exif = clean_exif(parsed)
    except Exception:  # the pixels are good without it
        note("its EXIF block is broken and is left out")
    description = page.description or None
    software = page.tags.valueof(305)
    dpi, size = _resolution(page, description or "")
    metadata = Metadata(
        exif=_without(exif, {0x010E, 0x0131}),
        xmp=clean_xmp(page.tags.valueof(700), note),
        dpi=dpi,
        chromaticities=_chromaticities(page),
        description=description,
        software=software if isinstance(software, str) and software else None,
        pixel_size=size,
        geo=_geo(page),
        imagej=_imagej(page, note),
    )
    return iptc.with_iptc(metadata, _iptc_of(page), note)


def _chromaticities(page: Any) -> tuple[float, ...] | None:
    """White and primaries, where both are said."""
    numbers = [page.tags.valueof(tag, default=()) for tag in _COLOURS]
    pairs = [number for part in numbers if isinstance(part, tuple) for number in part]
    if len(pairs) != 16 or not all(isinstance(number, int) and number >= 0 for number in pairs) or 0 in pairs[1::2]:
        return None
    points = tuple(above / below for above, below in zip(pairs[::2], pairs[1::2], strict=True))
    return points if max(points) <= 2 else None  # of no light that there is; a PNG could not say it


_OF_PIXELS = ("ROI", "Overlays", "Plot")  # in places that would have to be moved


def _imagej(page: Any, note: Callable[[str], None]) -> dict[str, Any]:
    """What ImageJ keeps in a tag of its own."""
    found = page.tags.valueof(50839)
    found = found if isinstance(found, dict) else {}
    if lost := [name for name in _OF_PIXELS if name in found]:
        note(f"what ImageJ drew on it is left out ({', '.join(lost)})")
    return {name: value for name, value in found.items() if name not in _OF_PIXELS}


def _iptc_of(page: Any) -> bytes | None:
    """The block of captions and credits: a tag of its own, or among Photoshop's resources."""
    block, resources = (page.tags.valueof(tag) for tag in (33723, 34377))
    if isinstance(block, bytes) and block.strip(b"\0"):
        return block
    return iptc.in_photoshop(resources) if isinstance(resources, bytes) else None


def _geo(page: Any) -> dict[int, tuple[float, ...] | str]:
    """The GeoTIFF tags whose values are of the type that they must have."""
    found: dict[int, tuple[float, ...] | str] = {}
    for tag in GEO_TAGS:
        value = page.tags.valueof(tag)
        if tag in _GEO_TEXTS:
            if isinstance(value, str):
                found[tag] = value
            continue
        numbers = value if isinstance(value, tuple) else (value,)
        kind, top = (int, 65535) if tag == _GEO_KEYS else (int | float, math.inf)
        if all(isinstance(number, kind) and abs(number) <= top for number in numbers):
            found[tag] = numbers
    return found


def _without(block: bytes | None, tags: set[int]) -> bytes | None:
    """An EXIF block without tags that are kept elsewhere; None when it says nothing but upright."""
    exif = read_exif(block)
    for tag in tags & set(exif):
        del exif[tag]
    if set(exif) <= {274}:
        return None
    return clean_exif(exif)


def _resolution(page: Any, text: str) -> tuple[tuple[float, float] | None, PixelSize | None]:
    """Dots per inch, or the size of a pixel where a unit of the picture itself is meant."""
    across, down = (_ratio(page.tags.valueof(tag)) for tag in (282, 283))
    unit = page.tags.valueof(296, default=2)
    unit = int(unit) if isinstance(unit, int) else 2
    if found := re.search(r'<(?:\w+:)?Pixels\b[^>]*?\bPhysicalSizeX="([^"]+)"', text):
        return None, _ome_size(text, found[1])
    if text.startswith("ImageJ="):
        found = re.search(r"^unit=(.+)$", text, re.MULTILINE)
        if found and across and down:
            name = found[1].strip()
            if name not in ("inch", "pixel"):
                return None, PixelSize(1 / down, 1 / across, name.replace("\\u00B5", "µ"))
    if not across or not down or unit == 1:
        return None, None
    if unit == 3:
        return None, PixelSize(1 / down, 1 / across, "cm")
    return checked_dpi((across, down)), None


def _ome_size(text: str, across: str) -> PixelSize | None:
    down = re.search(r'\bPhysicalSizeY="([^"]+)"', text)
    unit = re.search(r'\bPhysicalSizeXUnit="([^"]+)"', text)
    try:
        height, width = float(down[1] if down else across), float(across)
    except ValueError:
        return None
    good = 1e-12 < height < 1e12 and 1e-12 < width < 1e12
    return PixelSize(height, width, unit[1] if unit else "µm") if good else None


def _ratio(value: Any) -> float:
    try:
        ratio = value[0] / value[1] if isinstance(value, tuple) else float(value)
    except (TypeError, ValueError, ZeroDivisionError, IndexError):
        return 0.0
    return ratio if 1e-12 < ratio < 1e12 else 0.0


def to_tags(metadata: Metadata, *, big: bool) -> dict[str, Any]:
    """Metadata as the options of tifffile's writer."""
    from tifffile.tifffile import imagej_metadata_tag

    tags: list[tuple[Any, ...]] = [*imagej_metadata_tag(metadata.imagej, "<")]
    photo, directories = exif_directory(metadata.exif, 0)
    for tag, value in photo.items():
        if tag in (0x010E, 0x0131, 0x0132):  # options of their own
            continue
        if isinstance(value, str):
            tags.append((tag, "s", 0, readable(value).encode("utf-8"), True))
        elif isinstance(value, bytes):
            tags.append((tag, "B", len(value), value, True))
    if not big:
        tags += [(tag + 1, "I", 1, 0, True) for tag in directories]  # see _add_directories
    if metadata.chromaticities and not metadata.icc_profile:
        parts = [part for value in metadata.chromaticities for part in (round(value * 100_000), 100_000)]
        tags += [(318, "2I", 2, tuple(parts[:4]), True), (319, "2I", 6, tuple(parts[4:]), True)]
    if metadata.xmp:
        tags.append((700, "B", len(metadata.xmp), metadata.xmp, True))
    missing = metadata.missing
    named = {} if missing is None else {NODATA: str(missing) if isinstance(missing, int) else f"{missing:.17g}"}
    for tag, value in (named | metadata.geo).items():
        if isinstance(value, str):
            tags.append((tag, "s", 0, value.encode("utf-8"), True))
        else:
            tags.append((tag, "H" if tag == _GEO_KEYS else "d", len(value), value, True))
    taken = photo.get(0x0132)
    taken = taken if isinstance(taken, str) and re.fullmatch(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d", taken) else None
    description = metadata.description or readable(photo.get(0x010E))
    resolution, unit = metadata.dpi, 2
    if size := metadata.pixel_size:
        resolution, unit = (1 / size.width, 1 / size.height), 1
        if size.unit == "cm":
            unit = 3
        elif not (description or "").startswith("ImageJ=") and "PhysicalSizeX" not in (description or ""):
            if description is None:
                description = f"ImageJ=1.54f\nunit={_ascii(size.unit)}\n"
            elif metres := METRES.get(size.unit):
                resolution, unit = (0.01 / (size.width * metres), 0.01 / (size.height * metres)), 3
    return {
        "description": description.encode("utf-8") if description else None,
        "software": metadata.made_with.encode("utf-8") if metadata.made_with else False,
        "datetime": taken,
        "resolution": resolution,
        "resolutionunit": unit if resolution else None,
        "iccprofile": metadata.icc_profile,
        "extratags": tags,
    }


def _ascii(unit: str) -> str:
    """ImageJ writes µ as an escape."""
    return unit.replace("µ", "\\u00B5").replace("μ", "\\u00B5")


def shape_of(text: str) -> dict[str, Any] | None:
    """tifffile's own description, JSON with the ``shape`` of the whole stack; None for any other."""
    if not text.startswith("{"):
        return None
    try:
        shaped = json.loads(text)
    except ValueError:
        return None
    shape = shaped.get("shape") if isinstance(shaped, dict) else None
    whole = isinstance(shape, list) and all(isinstance(side, int) and side > 0 for side in shape)
    return shaped if whole else None


_STRUCTURE = ("ImageJ", "images", "channels", "slices", "frames", "hyperstack", "mode", "loop", "unit", "spacing")


def structure_of(text: str | None) -> str | None:
    """What a description says of the planes and axes of a stack, without who made it where and when."""
    if not text:
        return None
    if text.startswith("ImageJ="):
        lines = [line for line in text.splitlines() if line.partition("=")[0] in _STRUCTURE]
        return "\n".join(lines) + "\n"
    if shaped := shape_of(text):
        return json.dumps({key: shaped[key] for key in ("shape", "axes") if key in shaped})
    if not (pixels := re.search(r"<(?:\w+:)?Pixels\b[^>]*>", text)):
        return None
    first = text[pixels.start() :].partition("Pixels>")[0]  # of the first of several images
    names = "DimensionOrder|Type|Size[XYZCT]|PhysicalSize[XYZ](?:Unit)?"
    said = " ".join(found[0] for found in re.finditer(rf'\b(?:{names})="[^"]*"', pixels[0]))
    channels = ""
    for index, channel in enumerate(re.findall(r"<(?:\w+:)?Channel\b[^>]*>", first)):
        samples = re.search(r'\bSamplesPerPixel="\d+"', channel)
        channels += f'<Channel ID="Channel:0:{index}" {samples[0] if samples else ""}/>'
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" {said}>{channels}<TiffData/></Pixels></Image></OME>'
    )


def description_of_result(
    text: str | None, scale: int, size: tuple[int, int], *, pages: int, all_pages: bool, samples: int | None = None
) -> str | None:
    """The description for a result ``scale`` times as large, ``size`` height × width.

    ``samples``: how many a pixel of the result has, None for as many as in the file.

    OME-XML, ImageJ's lines and tifffile's own JSON tell of sizes and planes: they are corrected where all planes
    are written, and left out (ImageJ: what tells of planes) where one of several is.
    """
    if not text:
        return None
    if text.startswith("ImageJ="):
        if all_pages or pages == 1:
            return text
        about = ("images", "channels", "slices", "frames", "hyperstack", "mode", "loop", "min", "max", "spacing")
        lines = [line for line in text.splitlines() if line.partition("=")[0] not in about]
        return "\n".join(lines) + "\n"
    if shaped := shape_of(text):
        return _shaped_result(shaped, scale, size, pages, samples) if all_pages or pages == 1 else None
    if re.search(r"<(?:\w+:)?OME\b", text):
        if not (all_pages or pages == 1):
            return None
        for axis in "XY":  # of every image in the file; they may differ
            text = re.sub(rf'\b(Size{axis}=")([^"]+)"', _times(scale), text)
            text = re.sub(rf'\b(PhysicalSize{axis}=")([^"]+)"', _times(1 / scale), text)
        text = re.sub(r"<(?:\w+:)?UUID\b[^>]*>[^<]*</(?:\w+:)?UUID>", "", text)
        return re.sub(r'\sUUID="[^"]*"', "", text)
    return text


def _shaped_result(
    shaped: dict[str, Any], scale: int, size: tuple[int, int], pages: int, samples: int | None
) -> str | None:
    """tifffile's description of pages as they are written: one for every plane, the samples of a pixel side by side.

    None where it speaks of some of the pages only, or of others than there are.
    """
    shape, (height, width) = shaped["shape"], size
    stored, rest = divmod(math.prod(shape), pages * (height // scale) * (width // scale))
    upright = [height // scale, width // scale]
    for sides in (upright, upright[::-1]):  # a turned picture is written upright
        if stored == 1 and shape[-2:] == sides:
            place, colour = len(shape) - 2, None
        elif shape[-3:] == [*sides, stored]:
            place, colour = len(shape) - 3, len(shape) - 1
        elif shape[-3:] == [stored, *sides]:
            place, colour = len(shape) - 2, len(shape) - 3
        else:
            continue
        break
    else:
        return None
    samples = samples or stored
    planes = [axis for axis in range(len(shape)) if axis not in (place, place + 1, colour)]
    result = {**shaped, "shape": [*(shape[axis] for axis in planes), height, width, *([samples] * (samples > 1))]}
    axes = shaped.get("axes")
    if isinstance(axes, str) and len(axes) == len(shape):
        last = "S" if colour is None else axes[colour]
        result["axes"] = "".join(axes[axis] for axis in (*planes, place, place + 1)) + last * (samples > 1)
    result.pop("truncated", None)  # one directory for all planes
    return None if rest else json.dumps(result)


def _times(factor: float) -> Callable[[re.Match[str]], str]:
    def multiply(found: re.Match[str]) -> str:
        try:
            return f'{found[1]}{float(found[2]) * factor:.10g}"'
        except ValueError:
            return found[0]

    return multiply
