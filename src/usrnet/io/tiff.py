"""TIFF: one reader and one writer, whatever the size.

A page is read as rows, ``rows[start:stop]``; what a page's tags say about its samples is turned into one rule from
stored samples to pixels, which is the same for a strip of a picture larger than memory and for a thumbnail.
"""

import json
import logging
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from PIL import Image

from usrnet.atomic import replacing
from usrnet.errors import PictureError, UsrnetWarning
from usrnet.io.colours import cmyk_to_rgb, lab_to_rgb, ycbcr_to_rgb
from usrnet.io.levels import Levels, full_scale
from usrnet.io.metadata import (
    EXIF,
    GEO_TAGS,
    GPS,
    METRES,
    Metadata,
    PixelSize,
    checked_profile,
    clean_exif,
    clean_xmp,
    exif_directory,
    note_of,
    profile_space,
    read_exif,
)
from usrnet.io.quiet import quiet

STRIP_BYTES = 2**19  # about what a strip that is written holds before it is compressed
_RAW_SUFFIXES = {
    ".dng", ".nef", ".nrw", ".cr2", ".arw", ".srf", ".sr2", ".pef", ".iiq", ".3fr", ".fff", ".dcr", ".kdc", ".mef",
    ".mos", ".erf", ".rwl", ".orf", ".rw2", ".srw", ".gpr",
}  # fmt: skip
_RAW_PHOTOMETRIC = {32803, 34892}  # colour filter array, linear raw
_DEVELOP = "is a camera's raw file: develop it first (darktable, RawTherapee) and save a TIFF"
_BOUNDED = {1: 1.0, 5: 5000.0, 8: 1100.0, 32946: 1100.0, 32773: 130.0}  # the most that a compression can shrink
_JPEG = (6, 7, 34892, 33007)  # compressions
_NOT_ALPHA, _PREMULTIPLIED, _STRAIGHT = 0, 1, 2  # ExtraSamples

logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)  # it prints what we say in our own words


@dataclass(frozen=True)
class _Rule:
    """How the stored samples of a page become pixels."""

    channels: int  # colour, then alpha, then extra
    extra: int
    dtype: np.dtype
    convert: Callable[[np.ndarray], np.ndarray]  # h×w×S stored → h×w×channels
    levels: Levels | None = None  # full scale, where the file says another than the type's
    srgb: bool = False  # converted to sRGB, so that its profile no longer holds


class TiffFile:
    """An opened TIFF: its pages, of which each can be read as rows.

    Raises ``PictureError`` when it is damaged, a camera's raw file, or of a kind that is not supported.
    """

    def __init__(self, source: Path | BinaryIO, *, name: str | None = None) -> None:
        import tifffile

        self.name = name or str(source)
        self.note = note_of(self.name)
        with _damage(self.name):
            self._file = tifffile.TiffFile(source)
        try:
            with _damage(self.name):
                self._find_pages(source)
        except PictureError:
            self.close()
            raise

    def _find_pages(self, source: Path | BinaryIO) -> None:
        pages: list[Any] = [self._file.pages[index] for index in range(len(self._file.pages))]
        if not pages:
            raise PictureError(f"{self.name}: the picture is damaged (a TIFF without pages)")
        first = pages[0].aspage()
        suffix = Path(self.name).suffix.lower()
        below = _subpages(first)
        if (
            50706 in first.tags
            or suffix in _RAW_SUFFIXES
            or any(int(page.photometric) in _RAW_PHOTOMETRIC for page in [first, *below])
        ):
            raise PictureError(f"{self.name} {_DEVELOP}")
        self.layers = 1  # planes that lie one after the other in the data of one page
        whole = [page.aspage() for page in pages]
        whole = [page for page in whole if not _reduced(page)]
        if _reduced(first):
            larger = [page for page in [*whole, *below] if not _reduced(page)]
            larger = [page for page in larger if page.imagewidth > first.imagewidth]
            if larger and int(larger[0].photometric) != int(first.photometric):
                raise PictureError(f"{self.name} {_DEVELOP} (its first page is a preview of another kind)")
            if larger:
                self.note(
                    f"its first page is a reduced picture ({first.imagewidth}×{first.imagelength}), "
                    f"the one of {larger[0].imagewidth}×{larger[0].imagelength} is used"
                )
                whole = larger[:1]
            else:
                self.note("its only page says that it is a reduced picture")
        self.pages = whole or [first]
        if len(self.pages) == 1 and not self.pages[0].is_tiled and self.pages[0].is_contiguous:
            self.layers = self._layers(self.pages[0])

    def _layers(self, page: Any) -> int:
        """How many planes an ImageJ or tifffile stack keeps in one directory."""
        text = page.description or ""
        count = 1
        if found := re.match(r"ImageJ=.*?\bimages=(\d+)", text, re.DOTALL):
            count = int(found[1])
        elif text.startswith('{"shape":'):
            try:
                shape = json.loads(text)["shape"]
            except (ValueError, KeyError, TypeError):
                return 1
            if isinstance(shape, list) and all(isinstance(side, int) and side > 0 for side in shape):
                count = int(np.prod(shape)) // max(1, int(np.prod(page.shaped)))
        room = self._file.filehandle.size - page.dataoffsets[0]
        return count if count > 1 and count * page.nbytes <= room else 1

    def __len__(self) -> int:
        return self.layers if self.layers > 1 else sum(int(page.imagedepth) for page in self.pages)

    def rows(self, index: int = 0) -> "TiffRows":
        """Plane ``index`` (from 0) as rows."""
        if self.layers > 1:
            return TiffRows(self, self.pages[0], layer=index)
        for page in self.pages:
            if index < page.imagedepth:
                return TiffRows(self, page, depth=index)
            index -= page.imagedepth
        raise IndexError(index)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _subpages(page: Any) -> list[Any]:
    try:
        return [sub.aspage() for sub in page.pages or []]
    except Exception:  # broken SubIFDs say nothing about the page itself
        return []


def _reduced(page: Any) -> bool:
    """Whether a page is an overview, a thumbnail or a mask of another."""
    if page.subfiletype:
        return bool(page.subfiletype & 0b101)
    old = page.tags.valueof(255)
    return old == 2


class TiffRows:
    """One plane of a TIFF as an array of which only rows are read: ``rows[start:stop]``, H×W or H×W×C.

    ``extra``: how many of the last channels are neither colour nor alpha. ``by_rows``: whether the file is read piece
    by piece; otherwise (a turned picture, a single compressed strip) it is decoded whole on the first reading.
    ``levels``: full scale. Raises ``PictureError``.
    """

    def __init__(self, file: TiffFile, page: Any, *, layer: int = 0, depth: int = 0) -> None:
        self.file, self.name, self._page, self._layer, self._depth = file, file.name, page, layer, depth
        self._whole: np.ndarray | None = None
        with _damage(self.name):
            self.orientation = _orientation(page)
            self._profile = checked_profile(page.tags.valueof(34675), file.note)
            rule = self._rule = _rule(page, self.name, self._profile, file.note)
            self.dtype, self.extra = rule.dtype, rule.extra
            self.levels = rule.levels or full_scale(rule.dtype)
            self.declared = rule.levels
            height, width = int(page.imagelength), int(page.imagewidth)
            if height < 1 or width < 1:
                raise PictureError(f"{self.name}: the picture is damaged (its size is {width}×{height})")
            self._mapped = bool(page.is_memmappable) and not self.orientation_turns
            length = page.tilelength if page.is_tiled else page.rowsperstrip
            known = not page.is_subsampled or int(page.compression) in _JPEG
            self.by_rows = self.orientation == 1 and (self._mapped or 0 < length < height) and known
            if self.orientation in (5, 6, 7, 8):
                height, width = width, height
            self.channels = rule.channels
            self.shape: tuple[int, ...] = (height, width) if rule.channels == 1 else (height, width, rule.channels)
            self._check_data()

    @property
    def orientation_turns(self) -> bool:
        """Whether the pixels have to be turned or mirrored."""
        return self.orientation != 1

    def _check_data(self) -> None:
        """Refuse a file that cannot hold what its header says, before memory is taken for it."""
        page = self._page
        if self.file.layers == 1 and len(page.dataoffsets) == 0:
            raise PictureError(f"{self.name}: the picture is damaged (no data)")
        ratio = _BOUNDED.get(int(page.compression))
        if ratio is None or page.is_tiled:
            return
        needed = page.imagewidth * page.imagelength * page.samplesperpixel * page.bitspersample // 8
        held = sum(min(count, self.file._file.filehandle.size) for count in page.databytecounts)
        if 0 not in page.databytecounts and held * ratio < needed:
            raise PictureError(f"{self.name}: the picture is damaged ({held} bytes for {needed})")

    def metadata(self) -> Metadata:
        """What lies beside the pixels of this page."""
        found = _metadata(self._page, self.file)
        found = replace(found, icc_profile=self._profile)
        return found.without_colour() if self._rule.srgb else found

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        with _damage(self.name):
            pixels = self._pixels(self._stored(start, stop)) if self.by_rows else self._all()[start:stop]
        if self.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise PictureError(f"{self.name}: the picture holds values that are not finite (NaN or infinity)")
        return pixels

    def _all(self) -> np.ndarray:
        if self._whole is None:
            page = self._page
            if self._mapped:
                stored = self._mapped_rows(0, int(page.imagelength))
            else:
                try:
                    stored = self._decoded_rows(0, int(page.imagelength))
                except NotImplementedError:
                    self._whole = self._by_pillow()
                    return self._whole
            self._whole = orient(self._pixels(stored), self.orientation)
        return self._whole

    def _pixels(self, stored: np.ndarray) -> np.ndarray:
        pixels = self._rule.convert(stored)
        return np.ascontiguousarray(pixels[..., 0] if self._rule.channels == 1 else pixels)

    def _stored(self, start: int, stop: int) -> np.ndarray:
        return self._mapped_rows(start, stop) if self._mapped else self._decoded_rows(start, stop)

    def _mapped_rows(self, start: int, stop: int) -> np.ndarray:
        # Read, not mapped: pages of a mapping would stay resident and look like memory that is used.
        page = self._page
        planes, depth, height, width, samples = page.shaped
        dtype = np.dtype(page.dtype).newbyteorder(self.file._file.byteorder)
        row = width * samples * dtype.itemsize
        handle = self.file._file.filehandle
        parts = []
        for plane in range(planes):
            lines = self._layer * planes * depth * height + (plane * depth + self._depth) * height + start
            handle.seek(page.dataoffsets[0] + lines * row)
            data = handle.read((stop - start) * row)
            parts.append(np.frombuffer(data, dtype).reshape(stop - start, width, samples))
        stored = parts[0] if planes == 1 else np.concatenate(parts, axis=-1)
        return stored.astype(dtype.newbyteorder("="))

    def _decoded_rows(self, start: int, stop: int) -> np.ndarray:
        page = self._page
        planes, depth, height, width, samples = page.shaped
        length = page.tilelength if page.is_tiled else page.rowsperstrip
        across = -(-width // page.tilewidth) if page.is_tiled else 1
        down = -(-height // length)
        deep = page.tiledepth if page.is_tiled else 1
        layers = -(-depth // deep)
        stored = np.zeros((stop - start, width, planes * samples), np.dtype(page.dtype).newbyteorder("="))
        options = {}
        if int(page.compression) in _JPEG:
            options = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
        handle, decode = self.file._file.filehandle, page.decode  # making the decoder moves the file's position
        for plane in range(planes):
            base = (plane * layers + self._depth // deep) * down * across
            for index in range(base + start // length * across, base + -(-stop // length) * across):
                if index >= len(page.dataoffsets):
                    raise PictureError(f"{self.name}: the picture is damaged (a piece of it is missing)")
                count = page.databytecounts[index]
                if count == 0:  # a hole in a sparse file
                    continue
                handle.seek(page.dataoffsets[index])
                segment, (_, _, top, left, _), _ = decode(handle.read(count), index, **options)
                if segment is None:
                    continue
                first, last = max(start, top), min(stop, top + segment.shape[1], height)
                part = segment[self._depth % deep, first - top : last - top, : width - left]
                place = slice(plane * samples, plane * samples + part.shape[2])
                stored[first - start : last - start, left : left + part.shape[1], place] = part
        return stored

    def _by_pillow(self) -> np.ndarray:
        """The pixels of kinds that tifffile leaves out, such as subsampled chrominance; Pillow turns them itself."""
        handle = self.file._file.filehandle
        handle.seek(0)
        with Image.open(BytesIO(handle.read())) as image:
            pixels = np.asarray(image.convert("RGB"))
        if pixels.shape != self.shape or self.dtype != np.uint8:
            raise PictureError(f"{self.name}: a TIFF of this kind is not supported: save it as RGB")
        return pixels


@contextmanager
def _damage(name: str) -> Iterator[None]:
    """Whatever a damaged file makes the decoders stumble over becomes one sentence."""
    try:
        yield
    except (PictureError, MemoryError, UsrnetWarning):  # a note may be an error to whoever wants it so
        raise
    except NotImplementedError as error:
        raise PictureError(f"{name}: a TIFF of this kind is not supported: save it as RGB or grey") from error
    except Exception as error:
        text = " ".join(str(error).split())[:160]
        raise PictureError(f"{name}: the picture is damaged ({text or type(error).__name__})") from error


def _orientation(page: Any) -> int:
    value = page.tags.valueof(274, default=1)
    return int(value) if value in range(1, 9) else 1


def orient(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror as the tag 274 says (TIFF 6.0, p. 36)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


# From stored samples to pixels


def _same(stored: np.ndarray) -> np.ndarray:
    return stored


def _rule(page: Any, name: str, profile: bytes | None, note: Callable[[str], None]) -> _Rule:
    """What the tags of a page say about its samples. Raises ``PictureError`` for what is not supported."""

    def refuse(what: str) -> PictureError:
        return PictureError(f"{name}: {what}")

    photometric, samples, bits = int(page.photometric), int(page.samplesperpixel), page.bitspersample
    if page.dtype is None or np.dtype(page.dtype).kind not in "buif":
        kind = "complex numbers" if page.dtype is not None else f"samples of {bits} bits"
        raise refuse(f"{kind} are not supported: save whole numbers of 8 to 32 bits or floats")
    dtype = np.dtype(page.dtype).newbyteorder("=")
    depth, scale = _depth(dtype, int(bits))
    if scale is not None and dtype.kind != "b":
        note(f"its {bits} bits per sample become {8 * depth.itemsize}, full scale staying full scale")
    levels = Levels(0, 2 ** int(bits) - 1) if 16 < bits < 32 and dtype.kind == "u" else None
    colours, convert, srgb = 1, _same, False
    signed = dtype.kind not in "u"
    top = int(np.iinfo(depth).max) if depth.kind == "u" else 1
    if photometric == 0:
        if dtype.kind in "if":
            raise refuse(f"white is its lowest value and its samples are {dtype}, whose white is not known")
        top = 2 ** int(bits) - 1 if levels else top
        convert = _inverted(samples, top)
    elif photometric == 2 and samples >= 3:
        colours = 3
    elif photometric == 3:
        return _palette(page, name)
    elif photometric == 5:
        if samples < 4 or page.tags.valueof(332, default=1) != 1 or signed or depth.itemsize > 2:
            raise refuse("its inks are not cyan, magenta, yellow and black in 8 or 16 bits: save it as RGB")
        colours, srgb, convert = 3, True, _first(4, lambda inks: cmyk_to_rgb(inks, profile, note))
        samples -= 1
        if profile_space(profile) != "CMYK":
            note("four inks without a profile, converted plainly to RGB")
    elif photometric == 6 and samples >= 3:
        if signed or depth.itemsize > 2:
            raise refuse(f"luminance and chrominance in {dtype} are not supported: save it as RGB")
        colours = 3
        if int(page.compression) not in _JPEG:  # those decoders give RGB already
            weights = _ratios(page.tags.valueof(529), 3) or (0.299, 0.587, 0.114)
            reference = _ratios(page.tags.valueof(532), 6) if bits == 8 * depth.itemsize else ()
            if depth.itemsize == 2 and max(reference, default=0) < 256:  # codes of 8 bits all the same
                reference = tuple(257 * code for code in reference)
            convert = _first(3, lambda values: ycbcr_to_rgb(values, weights=weights, reference=reference))
    elif photometric in (8, 9, 10) and samples >= 3:
        if depth.itemsize > 2 or photometric == 10 or dtype.kind == "f":
            raise refuse(f"Lab colours of this kind ({dtype}) are not supported: save it as RGB")
        colours, srgb = 3, True
        depth = np.dtype(f"u{depth.itemsize}")
        convert = _first(3, _lab(photometric, depth))
    elif photometric not in (1, 2, 6, 8, 9):
        kind = getattr(page.photometric, "name", str(photometric))
        raise refuse(f"colours of the kind {kind} are not supported: save it as grey or RGB")
    if bits == 24 and page.parent.byteorder == "<":
        scale = _swapped24  # tifffile reads three bytes as the other order has them
    if scale is not None:
        convert = _scaled(convert, scale)
    kinds = [int(kind) for kind in page.extrasamples or ()]
    kinds = (kinds + [_NOT_ALPHA] * samples)[: samples - colours]
    alpha = next((place for place, kind in enumerate(kinds) if kind in (_PREMULTIPLIED, _STRAIGHT)), None)
    if alpha is not None:
        convert = _with_alpha(convert, colours, colours + alpha, depth, premultiplied=kinds[alpha] == _PREMULTIPLIED)
    extra = samples - colours - (alpha is not None)
    return _Rule(samples, extra, depth, convert, levels, srgb)


def _depth(dtype: np.dtype, bits: int) -> tuple[np.dtype, Callable[[np.ndarray], np.ndarray] | None]:
    """The type that samples of ``bits`` bits get, and how they are stretched to fill it."""
    if dtype.kind == "b":
        return np.dtype(np.uint8), lambda stored: stored.astype(np.uint8) * np.uint8(255)
    if dtype.kind != "u" or bits >= 16 or bits == 8:
        return dtype, None
    full, top = (255, 2**bits - 1) if bits < 8 else (65535, 2**bits - 1)
    wide = np.dtype(np.uint8 if bits < 8 else np.uint16)
    return wide, lambda stored: ((stored.astype(np.uint32) * full + top // 2) // top).astype(wide)


def _swapped24(stored: np.ndarray) -> np.ndarray:
    return (stored & 0xFF) << 16 | (stored & 0xFF00) | stored >> 16


def _scaled(
    convert: Callable[[np.ndarray], np.ndarray], scale: Callable[[np.ndarray], np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    return lambda stored: convert(scale(stored))


def _inverted(samples: int, top: int) -> Callable[[np.ndarray], np.ndarray]:
    """White is zero: the first sample is turned round, others beside it are not grey."""

    def convert(stored: np.ndarray) -> np.ndarray:
        stored = stored.copy()
        stored[..., 0] = stored.dtype.type(top) - stored[..., 0]
        return stored

    return convert


def _first(count: int, colours: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """``colours`` for the first samples, the others as they are."""

    def convert(stored: np.ndarray) -> np.ndarray:
        made = colours(stored[..., :count])
        rest = stored[..., count:]
        return made if not rest.shape[-1] else np.concatenate([made, rest.astype(made.dtype)], axis=-1)

    return convert


def _lab(photometric: int, dtype: np.dtype) -> Callable[[np.ndarray], np.ndarray]:
    """CIELAB (a and b signed) and ICCLab (a and b shifted by half the range)."""
    unit = 1 if dtype.itemsize == 1 else 256

    def convert(stored: np.ndarray) -> np.ndarray:
        codes = stored.view(dtype) if stored.dtype.kind == "i" else stored
        white = 255 * unit if photometric == 9 and unit > 1 else np.iinfo(dtype).max
        lightness = codes[..., 0] * (100 / white)
        ab = codes[..., 1:].view(f"i{dtype.itemsize}") / unit if photometric == 8 else codes[..., 1:] / unit - 128
        return lab_to_rgb(lightness, ab[..., 0], ab[..., 1], dtype)

    return lambda stored: convert(np.ascontiguousarray(stored))


def _with_alpha(
    convert: Callable[[np.ndarray], np.ndarray], colours: int, place: int, dtype: np.dtype, *, premultiplied: bool
) -> Callable[[np.ndarray], np.ndarray]:
    """Alpha right after the colours, which are divided by it where they were multiplied with it."""
    top = 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)

    def moved(stored: np.ndarray) -> np.ndarray:
        values = convert(stored)
        others = [index for index in range(colours, values.shape[-1]) if index != place]
        values = values[..., [*range(colours), place, *others]]
        if premultiplied:
            alpha = values[..., colours : colours + 1].astype(np.float64)
            straight = np.divide(
                values[..., :colours] * top, alpha, out=np.zeros(values[..., :colours].shape), where=alpha > 0
            )
            straight = straight if dtype.kind == "f" else straight.round().clip(0, top)
            values[..., :colours] = straight.astype(dtype)
        return values

    return moved


def _ratios(value: Any, count: int) -> tuple[float, ...]:
    """``count`` fractions as a tag holds them, numerators and denominators in turn; empty when it does not."""
    if not isinstance(value, tuple) or len(value) not in (count, 2 * count):
        return ()
    if len(value) == 2 * count:
        if not all(value[1::2]):
            return ()
        value = tuple(value[i] / value[i + 1] for i in range(0, 2 * count, 2))
    return tuple(float(part) for part in value)


def _palette(page: Any, name: str) -> _Rule:
    colours = page.colormap
    if colours is None or np.dtype(page.dtype).kind not in "bu":
        raise PictureError(f"{name}: the picture is damaged (a palette is missing)")
    table = np.asarray(colours).reshape(3, -1).T
    # 16 bits are what the format means, 8 what some programs write.
    table = (table if table.max() < 256 else table >> 8).astype(np.uint8)
    others = int(page.samplesperpixel) - 1
    if others:
        raise PictureError(f"{name}: a palette with {others} more samples is not supported: save it as RGB")
    return _Rule(3, 0, np.dtype(np.uint8), lambda stored: table[stored[..., 0].astype(np.intp)])


# Metadata


def _metadata(page: Any, file: TiffFile) -> Metadata:
    """The tags of a page that speak of the photo, the instrument or the place."""
    handle = file._file.filehandle
    exif, parsed = None, Image.Exif()
    parsed.endian, parsed.bigtiff = file._file.byteorder, file._file.is_bigtiff
    try:
        with quiet():
            parsed.load_from_fp(handle, page.offset)  # pyright: ignore[reportArgumentType]
            exif = clean_exif(parsed)
    except Exception:  # the pixels are good without it
        file.note("its EXIF block is broken and is left out")
    description = page.description or None
    software = page.tags.valueof(305)
    dpi, size = _resolution(page, description or "", file)
    geo = {tag: page.tags[tag].value for tag in GEO_TAGS if tag in page.tags}
    return Metadata(
        exif=_without(exif, {0x010E, 0x0131}),
        xmp=clean_xmp(page.tags.valueof(700), file.note),
        dpi=dpi,
        description=description,
        software=software if isinstance(software, str) and software else None,
        pixel_size=size,
        geo=geo,
    )


def _without(block: bytes | None, tags: set[int]) -> bytes | None:
    """An EXIF block without tags that are kept elsewhere; None when it says nothing but upright."""
    exif = read_exif(block)
    for tag in tags & set(exif):
        del exif[tag]
    if set(exif) <= {274}:
        return None
    return clean_exif(exif)


def _resolution(page: Any, text: str, file: TiffFile) -> tuple[tuple[float, float] | None, PixelSize | None]:
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
    return ((across, down) if across > 1 and down > 1 else None), None


def _ome_size(text: str, across: str) -> PixelSize | None:
    down = re.search(r'\bPhysicalSizeY="([^"]+)"', text)
    unit = re.search(r'\bPhysicalSizeXUnit="([^"]+)"', text)
    try:
        return PixelSize(float(down[1] if down else across), float(across), unit[1] if unit else "µm")
    except ValueError:
        return None


def _ratio(value: Any) -> float:
    try:
        ratio = value[0] / value[1] if isinstance(value, tuple) else float(value)
    except (TypeError, ValueError, ZeroDivisionError, IndexError):
        return 0.0
    return ratio if 0 < ratio < 1e12 else 0.0


# Writing


def write(
    target: Path | BinaryIO,
    strips: Iterable[np.ndarray],
    *,
    shape: tuple[int, ...],
    dtype: np.dtype,
    extra: int = 0,
    metadata: Metadata | None = None,
) -> None:
    """Write strips of rows, from top to bottom, as a TIFF; beyond 2 GB as BigTIFF.

    The file appears whole or not at all. Raises ``PictureError`` when it cannot be written.
    """
    page = Page(strips, shape=shape, dtype=dtype, extra=extra, metadata=metadata or Metadata())
    write_pages(target, [page], size=int(np.prod(shape)) * dtype.itemsize)


@dataclass(frozen=True)
class Page:
    """One page to write: strips of rows from top to bottom, of an array H×W or H×W×C."""

    strips: Iterable[np.ndarray]
    shape: tuple[int, ...]
    dtype: np.dtype
    extra: int = 0
    metadata: Metadata = field(default_factory=Metadata)
    tags: tuple[Any, ...] = ()


def write_pages(target: Path | BinaryIO, pages: Iterable[Page], *, size: int) -> None:
    """Write the pages of a TIFF, whole or not at all; a BigTIFF where ``size`` bytes need one."""
    big = size >= 2**31
    if not isinstance(target, Path):
        _write_pages(target, pages, big=big)
        return
    try:
        with replacing(target) as part:
            _write_pages(part, pages, big=big)
    except OSError as error:
        raise PictureError(f"{target}: cannot be written ({error.strerror or error})") from error


def _write_pages(target: Path | BinaryIO, pages: Iterable[Page], *, big: bool) -> None:
    import tifffile

    blocks: list[bytes | None] = []
    with tifffile.TiffWriter(target, bigtiff=big, byteorder="<") as writer:
        for page in pages:
            _write_page(writer, page, big=big)
            blocks.append(None if big else page.metadata.exif)
    if any(blocks):
        if isinstance(target, Path):
            with target.open("rb+") as file:
                _add_directories(file, blocks)
        else:
            _add_directories(target, blocks)


def _write_page(writer: Any, page: Page, *, big: bool) -> None:
    samples = page.shape[2] if len(page.shape) == 3 else 1
    main = samples - page.extra
    alpha = main in (2, 4)
    kinds = ["unassalpha"] * alpha + ["unspecified"] * page.extra
    row = max(1, int(np.prod(page.shape[1:])) * page.dtype.itemsize)
    rows = max(1, min(page.shape[0], STRIP_BYTES // row))
    options = _tags(page.metadata, big=big)
    options["extratags"] = [*options["extratags"], *page.tags]
    writer.write(
        _encoded(page.strips, rows, page.dtype),
        shape=page.shape,
        dtype=page.dtype,
        rowsperstrip=rows,
        photometric="rgb" if main >= 3 else "minisblack",
        planarconfig="contig" if samples > 1 else None,
        extrasamples=kinds or None,
        compression="zlib",
        metadata=None,
        **options,
    )


def _encoded(strips: Iterable[np.ndarray], rows: int, dtype: np.dtype) -> Iterator[bytes]:
    """Strips of any height → compressed ones of ``rows`` rows."""
    waiting: np.ndarray | None = None
    little = dtype.newbyteorder("<")
    for strip in strips:
        waiting = strip if waiting is None or not len(waiting) else np.concatenate([waiting, strip])
        whole = len(waiting) // rows * rows
        for top in range(0, whole, rows):
            yield zlib.compress(waiting[top : top + rows].astype(little).tobytes(), 6)
        waiting = waiting[whole:]
    if waiting is not None and len(waiting):
        yield zlib.compress(waiting.astype(little).tobytes(), 6)


def _tags(metadata: Metadata, *, big: bool) -> dict[str, Any]:
    """Metadata as the options of tifffile's writer."""
    tags: list[tuple[Any, ...]] = []
    photo, directories = exif_directory(metadata.exif, 0)
    for tag, value in photo.items():
        if tag in (0x010E, 0x0131, 0x0132):  # options of their own
            continue
        if isinstance(value, str):
            tags.append((tag, "s", 0, value.encode("utf-8"), True))
        elif isinstance(value, bytes):
            tags.append((tag, "B", len(value), value, True))
    if not big:
        tags += [(tag + 1, "I", 1, 0, True) for tag in directories]  # see _add_directories
    if metadata.xmp:
        tags.append((700, "B", len(metadata.xmp), metadata.xmp, True))
    for tag, value in metadata.geo.items():
        if isinstance(value, str):
            tags.append((tag, "s", 0, value, True))
        else:
            values: list[Any] = list(value) if isinstance(value, tuple | list) else [value]
            kind = "H" if tag == 34735 else "d"
            tags.append((tag, kind, len(values), tuple(values) if len(values) > 1 else values[0], True))
    taken = photo.get(0x0132)
    taken = taken if isinstance(taken, str) and re.fullmatch(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d", taken) else None
    description = metadata.description
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
        "software": metadata.made_with or False,
        "datetime": taken,
        "resolution": resolution,
        "resolutionunit": unit if resolution else None,
        "iccprofile": metadata.icc_profile,
        "extratags": tags,
    }


def _ascii(unit: str) -> str:
    """ImageJ writes µ as an escape."""
    return unit.replace("µ", "\\u00B5").replace("μ", "\\u00B5")


def _add_directories(file: BinaryIO, blocks: list[bytes | None]) -> None:
    """Append the EXIF and GPS directories and point the pages' tags at them.

    tifffile does not write these tags: those after them, which nobody uses, hold their places and get their numbers.
    """
    file.seek(4)
    (place,) = struct.unpack("<I", file.read(4))
    for block in blocks:
        file.seek(place)
        (count,) = struct.unpack("<H", file.read(2))
        entries = {}
        for index in range(count):
            (tag,) = struct.unpack("<H", file.read(12)[:2])
            entries[tag] = place + 2 + 12 * index
        (place,) = struct.unpack("<I", file.read(4))
        if block is None:
            continue
        end = file.seek(0, 2)
        end += end % 2
        _, directories = exif_directory(block, end)
        for tag in (EXIF, GPS):
            if tag in directories and tag + 1 in entries:
                file.seek(end)
                file.write(directories[tag])
                file.seek(entries[tag + 1])
                file.write(struct.pack("<HHII", tag, 4, 1, end))
                end += len(directories[tag]) + len(directories[tag]) % 2


def description_of_result(
    text: str | None, scale: int, size: tuple[int, int], *, pages: int, all_pages: bool
) -> str | None:
    """The description for a result ``scale`` times as large, ``size`` height × width.

    OME-XML, ImageJ's lines and tifffile's own JSON tell of sizes and planes: they are corrected where all planes
    are written, and left out (ImageJ: what tells of planes) where one of several is.
    """
    if not text:
        return None
    height, width = size
    if text.startswith("ImageJ="):
        if all_pages or pages == 1:
            return text
        about = ("images", "channels", "slices", "frames", "hyperstack", "mode", "loop", "min", "max", "spacing")
        lines = [line for line in text.splitlines() if line.partition("=")[0] not in about]
        return "\n".join(lines) + "\n"
    if text.startswith('{"shape":'):
        try:
            shaped = json.loads(text)
            shape = list(shaped["shape"])
        except (ValueError, KeyError, TypeError):
            return None
        if not (all_pages or pages == 1) or len(shape) < 2:
            return None
        colour = len(shape) > 2 and shape[-1] in (2, 3, 4) and str(shaped.get("axes", "S"))[-1:] == "S"
        at = -3 if colour and shape[-2] * scale == width else -2
        shape[at], shape[at + 1] = height, width
        return json.dumps({**shaped, "shape": shape})
    if re.search(r"<(?:\w+:)?OME\b", text):
        if not (all_pages or pages == 1):
            return None
        text = re.sub(r'\b(SizeX=")[^"]*"', rf'\g<1>{width}"', text)
        text = re.sub(r'\b(SizeY=")[^"]*"', rf'\g<1>{height}"', text)
        for axis in "XY":
            text = re.sub(rf'\b(PhysicalSize{axis}=")([^"]+)"', _divided(scale), text)
        text = re.sub(r"<(?:\w+:)?UUID\b[^>]*>[^<]*</(?:\w+:)?UUID>", "", text)
        return re.sub(r'\sUUID="[^"]*"', "", text)
    return text


def _divided(scale: int) -> Callable[[re.Match[str]], str]:
    def divide(found: re.Match[str]) -> str:
        try:
            return f'{found[1]}{float(found[2]) / scale:.10g}"'
        except ValueError:
            return found[0]

    return divide
