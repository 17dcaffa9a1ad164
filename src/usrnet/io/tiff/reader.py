"""Reading TIFFs: the pages of a file, each as rows ``rows[start:stop]``, whatever the size.

The rule from stored samples to pixels is the same for a strip of a picture larger than memory and for a thumbnail.
"""

import logging
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from PIL import Image, Jpeg2KImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from usrnet.errors import PictureError, UsrnetWarning
from usrnet.io.foreign import DEVELOP
from usrnet.io.gaps import refuse_infinite
from usrnet.io.levels import full_scale
from usrnet.io.metadata import Metadata, checked_profile, note_of
from usrnet.io.quiet import quiet
from usrnet.io.tiff.samples import JPEG, rule_of
from usrnet.io.tiff.tags import from_tags, shape_of

_RAW_SUFFIXES = {
    ".dng", ".nef", ".nrw", ".cr2", ".arw", ".srf", ".sr2", ".pef", ".iiq", ".3fr", ".fff", ".dcr", ".kdc", ".mef",
    ".mos", ".erf", ".rwl", ".orf", ".rw2", ".srw", ".gpr",
}  # fmt: skip
_RAW_PHOTOMETRIC = {32803, 34892}  # colour filter array, linear raw
_DEPTH, _WHOLE = 32997, (1, 3, 4, 16)  # a tag, and the types of whole numbers
_MASK = 4  # a kind of page
_FAX = (2, 3, 4)  # compressions
_LERC = 34887
_FILES = {34933: PngImagePlugin.PngImageFile, 50001: WebPImagePlugin.WebPImageFile}  # compressions that are formats
_FILES |= dict.fromkeys((6, 7, 33007, 34892), JpegImagePlugin.JpegImageFile)
_FILES |= dict.fromkeys((33003, 33005, 34712), Jpeg2KImagePlugin.Jpeg2KImageFile)
_JPEG_XL = (50002, 52546)
_RATIOS = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # of its sides, by number
LARGEST_TILE = 2048  # pixels a side, unless the picture itself is larger
_BOUNDED = {1: 1.0, 5: 5000.0, 8: 1100.0, 32946: 1100.0, 32773: 130.0}  # the most that a compression can shrink
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)  # it prints what we say in our own words


class TiffFile:
    """An opened TIFF: its pages, of which each can be read as rows.

    Raises ``PictureError`` when it is damaged, a camera's raw file, or of a kind that is not supported.
    """

    def __init__(self, source: Path | BinaryIO, *, name: str | None = None) -> None:
        import tifffile

        self.name = name or str(source)
        self.note = note_of(self.name)
        if isinstance(source, Path):
            with source.open("rb") as file:
                _check_depths(file, self.name)
        else:
            _check_depths(source, self.name)
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
            raise PictureError(f"{self.name} {DEVELOP}")
        self.layers = 1  # planes that lie one after the other in the data of one page
        whole = [page.aspage() for page in pages]
        if not _reduced(first) and any(page.subfiletype == _MASK for page in [*whole, *below]):
            self.note("its transparency mask, a page of its own, is left out")
        whole = [page for page in whole if not _reduced(page)]
        if _reduced(first):
            larger = [page for page in [*whole, *below] if not _reduced(page)]
            larger = [page for page in larger if page.imagewidth > first.imagewidth]
            if larger and int(larger[0].photometric) != int(first.photometric):
                raise PictureError(f"{self.name} {DEVELOP} (its first page is a preview of another kind)")
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
        elif shaped := shape_of(text):
            count = int(np.prod(shaped["shape"])) // max(1, int(np.prod(page.shaped)))
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


def _check_depths(file: BinaryIO, name: str) -> None:
    """Refuse a page whose depth is a text: tifffile multiplies it with the number of strips, into gigabytes."""
    start = file.tell()
    head = file.read(8)
    order = "<" if head[:2] == b"II" else ">"
    large = head[2:4] in (b"+\0", b"\0+")
    number, count = ("Q", "Q") if large else ("I", "H")
    place, entry = (8, 20) if large else (4, 12)
    seen: set[int] = set()

    def read(kind: str) -> int:
        data = file.read(struct.calcsize(order + kind))
        return struct.unpack(order + kind, data)[0]

    with suppress(struct.error, OSError, OverflowError):  # cut off: tifffile says so
        file.seek(start + place)
        while (offset := read(number)) and offset not in seen:
            seen.add(offset)
            file.seek(start + offset)
            size = read(count) * entry
            entries = file.read(size)
            for at in range(0, len(entries) - 3, entry):
                tag, kind = struct.unpack_from(order + "HH", entries, at)
                if tag == _DEPTH and kind not in _WHOLE:
                    raise PictureError(f"{name}: the picture is damaged (its depth is no number)")
    file.seek(start)


def _subpages(page: Any) -> list[Any]:
    try:
        return [sub.aspage() for sub in page.pages or []]
    except Exception:  # broken SubIFDs say nothing about the page itself
        return []


def _own_size(data: bytes, compression: int) -> tuple[int, int]:
    """The width and height that a strip or tile itself says it has; 0×0 where it does not say."""
    if compression == _LERC and data.startswith(b"Lerc2 "):
        (version,) = struct.unpack_from("<i", data, 6)
        height, width = struct.unpack_from("<2i", data, 14 if version >= 3 else 10)
        return width, height
    if compression in _JPEG_XL:
        return _size_of_jpeg_xl(data)
    if kind := _FILES.get(compression):
        with suppress(Exception):  # the decoder says why
            return kind(BytesIO(data)).size
    return 0, 0


def _size_of_jpeg_xl(data: bytes) -> tuple[int, int]:
    """The width and height in the header of a JPEG XL codestream, bare or boxed (ISO/IEC 18181-1, SizeHeader)."""
    start = data.find(b"\xff\x0a") if data.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")) else -1
    bits = int.from_bytes(data[start + 2 : start + 14], "little") if start >= 0 else 0

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

    height = side()
    ratio = take(3)
    if start < 0:
        return 0, 0
    return height * _RATIOS[ratio][0] // _RATIOS[ratio][1] if ratio else side(), height


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
            if not 0 < page.samplesperpixel < 2**16:  # what follows counts them one by one
                raise PictureError(f"{self.name}: the picture is damaged ({page.samplesperpixel} samples per pixel)")
            self._profile = checked_profile(page.tags.valueof(34675), file.note)
            rule = self._rule = rule_of(page, self.name, self._profile, file.note)
            self.dtype, self.extra = rule.dtype, rule.extra
            self.levels = rule.levels or full_scale(rule.dtype)
            self.declared = rule.levels
            height, width = int(page.imagelength), int(page.imagewidth)
            if height < 1 or width < 1:
                raise PictureError(f"{self.name}: the picture is damaged (its size is {width}×{height})")
            if page.shaped[0] * page.shaped[-1] != page.samplesperpixel:
                raise PictureError(f"{self.name}: the picture is damaged ({page.samplesperpixel} samples per pixel)")
            self._check_tiles(height, width)
            sparse = 0 in page.dataoffsets
            self._mapped = bool(page.is_memmappable) and not self.orientation_turns and not sparse
            length = page.tilelength if page.is_tiled else page.rowsperstrip
            compression = int(page.compression)
            known = compression not in _FAX and (not page.is_subsampled or compression in JPEG)
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

    @property
    def missing(self) -> float | None:
        """The pixel value that the file names as missing."""
        return self._rule.missing

    def _check_tiles(self, height: int, width: int) -> None:
        """Refuse tiles that are larger than the picture that they are of: the decoder would take memory for them."""
        page = self._page
        if page.is_tiled and (
            not 0 < page.tilelength <= max(height + 15, LARGEST_TILE)
            or not 0 < page.tilewidth <= max(width + 15, LARGEST_TILE)
            or not 0 < page.tiledepth <= page.imagedepth + 15
        ):
            raise PictureError(
                f"{self.name}: the picture is damaged (tiles of {page.tilewidth}×{page.tilelength} pixels)"
            )

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

    def _check_claim(self, data: bytes) -> None:
        """Refuse a strip or tile that is a file of its own and claims to be far larger: its decoder believes it."""
        page = self._page
        width, height = _own_size(data, int(page.compression))
        across, down = (page.tilewidth, page.tilelength) if page.is_tiled else (page.imagewidth, page.rowsperstrip)
        if width * height > 4 * across * min(down, page.imagelength + 15) + 2**16:  # some are padded
            raise PictureError(f"{self.name}: the picture is damaged (a piece of {width}×{height} pixels)")

    def metadata(self) -> Metadata:
        """What lies beside the pixels of this page."""
        with _damage(self.name), quiet():
            found = from_tags(self._page, self.file.note)
        found = replace(found, icc_profile=self._profile, missing=self.missing)
        return found.without_colour() if self._rule.srgb else found

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        with _damage(self.name):
            pixels = self._pixels(self._stored(start, stop)) if self.by_rows else self._all()[start:stop]
        refuse_infinite(pixels, self.name)
        return pixels

    def _all(self) -> np.ndarray:
        if self._whole is None:
            page = self._page
            if self._mapped:
                stored = self._mapped_rows(0, int(page.imagelength))
            elif int(page.compression) in _FAX:
                self._whole = self._by_pillow()
                return self._whole
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
        hole = self._rule.hole or 0
        stored = np.full((stop - start, width, planes * samples), hole, np.dtype(page.dtype).newbyteorder("="))
        options = {}
        if int(page.compression) in JPEG:
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
                data = handle.read(count)
                self._check_claim(data)
                segment, (_, _, top, left, _), _ = decode(data, index, **options)
                if segment is None:
                    continue
                first, last = max(start, top), min(stop, top + segment.shape[1], height)
                part = segment[self._depth % deep, first - top : last - top, : width - left]
                place = slice(plane * samples, plane * samples + part.shape[2])
                stored[first - start : last - start, left : left + part.shape[1], place] = part
        return stored

    def _by_pillow(self) -> np.ndarray:
        """What not every tifffile reads, such as subsampled chrominance and faxes; Pillow turns them itself."""
        handle = self.file._file.filehandle
        handle.seek(0)
        with Image.open(BytesIO(handle.read())) as image:
            pixels = np.asarray(image.convert("RGB" if self.channels == 3 else "L"))
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
        if "not supported" in text or "requires the 'imagecodecs'" in text:
            raise PictureError(f"{name}: a TIFF of this kind is not supported here ({text})") from error
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
