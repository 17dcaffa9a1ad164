"""TIFF files larger than memory: read and written by rows."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from usrnet.atomic import replacing
from usrnet.errors import PictureError
from usrnet.io.provenance import PREFIX

TILE = 256  # side of the tiles that are written
_ORIENTATION, _ICC_PROFILE = 274, 34675  # TIFF tags


class TiffRows:
    """The first page of a TIFF file as an array of which only rows are read: ``rows[start:stop]``.

    ``shape`` is H×W, or H×W×C with C = 2, 3 or 4 (grey and alpha, colour, colour and alpha); ``dtype`` is uint8,
    uint16 or float32. Raises ``PictureError`` when the file is damaged, or is of a kind that cannot be read by rows
    (one compressed strip, planes one after the other, palettes, a turned picture).
    """

    def __init__(self, path: Path) -> None:
        import tifffile

        self.path = path
        try:
            self._file = tifffile.TiffFile(path)
        except (OSError, tifffile.TiffFileError, ValueError) as error:
            raise PictureError(f"{path}: the picture is damaged ({error})") from error
        try:
            self.pages = len(self._file.pages)
            self._open(self._file.pages[0])
        except IndexError as error:
            self._file.close()
            raise PictureError(f"{path}: the picture is damaged ({error})") from error
        except PictureError:
            self._file.close()
            raise

    def _open(self, page: Any) -> None:
        samples, dtype = page.samplesperpixel, np.dtype(page.dtype)
        kinds = {1: (1, 2), 2: (3, 4)}  # photometric: black is zero, RGB → samples
        plain = (
            samples in kinds.get(int(page.photometric), ())
            and (samples == 1 or int(page.planarconfig) == 1)
            and dtype in (np.uint8, np.uint16, np.float32)
            and page.bitspersample == 8 * dtype.itemsize
            and page.imagedepth == 1
            and page.tags.valueof(_ORIENTATION, default=1) == 1
        )
        self._page = page
        self._mapped = page.is_memmappable
        self._segment_rows = page.tilelength if page.is_tiled else page.rowsperstrip
        if not plain or not (self._mapped or self._segment_rows < page.imagelength):
            raise PictureError(f"{self.path}: a TIFF of this kind cannot be read by rows")
        self.dtype = dtype.newbyteorder("=")
        size = (page.imagelength, page.imagewidth)
        self.shape = size if samples == 1 else (*size, samples)
        self.icc_profile: bytes | None = page.tags.valueof(_ICC_PROFILE)

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        try:
            pixels = self._mapped_rows(start, stop) if self._mapped else self._decoded_rows(start, stop)
        except (OSError, ValueError, IndexError, RuntimeError) as error:
            raise PictureError(f"{self.path}: the picture is damaged ({error})") from error
        if self.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise PictureError(f"{self.path}: the picture holds values that are not finite (NaN or infinity)")
        return pixels

    def _mapped_rows(self, start: int, stop: int) -> np.ndarray:
        # Read, not mapped: pages of a mapping would stay resident and look like memory that is used.
        bytes_of_row = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        handle = self._file.filehandle
        handle.seek(self._page.dataoffsets[0] + start * bytes_of_row)
        data = handle.read((stop - start) * bytes_of_row)
        stored = np.frombuffer(data, self.dtype.newbyteorder(self._file.byteorder))
        return stored.reshape(stop - start, *self.shape[1:]).astype(self.dtype)

    def _decoded_rows(self, start: int, stop: int) -> np.ndarray:
        height, width = self.shape[:2]
        page, length = self._page, self._segment_rows
        across = -(-width // page.tilewidth) if page.is_tiled else 1
        pixels = np.zeros((stop - start, width, page.samplesperpixel), self.dtype)
        for index in range(start // length * across, -(-stop // length) * across):
            handle = self._file.filehandle
            handle.seek(page.dataoffsets[index])
            data = handle.read(page.databytecounts[index])
            segment, (_, _, top, left, _), _ = page.decode(data, index)
            if segment is None:  # a hole in a sparse file
                continue
            first, last = max(start, top), min(stop, top + segment.shape[1], height)
            part = segment[0, first - top : last - top, : width - left]
            pixels[first - start : last - start, left : left + part.shape[1]] = part
        return pixels.reshape(stop - start, *self.shape[1:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def write(
    target: Path,
    strips: Iterable[np.ndarray],
    *,
    shape: tuple[int, ...],
    dtype: np.dtype,
    icc_profile: bytes | None = None,
    provenance: str | None = None,
) -> None:
    """Write strips of rows, from top to bottom, as a tiled TIFF; beyond 2 GB as BigTIFF.

    The file appears whole or not at all. Raises ``PictureError`` when it cannot be written.
    """
    import tifffile

    samples = shape[2] if len(shape) == 3 else 1
    size = int(np.prod(shape)) * dtype.itemsize
    try:
        with replacing(target) as part, tifffile.TiffWriter(part, bigtiff=size >= 2**31) as writer:
            writer.write(
                _tiles(strips),
                shape=shape,
                dtype=dtype,
                tile=(TILE, TILE),
                photometric="rgb" if samples >= 3 else "minisblack",
                planarconfig="contig" if samples > 1 else None,
                extrasamples=["unassalpha"] if samples in (2, 4) else None,
                compression="zlib",
                iccprofile=icc_profile,
                software=None if provenance is None else PREFIX + provenance,
                metadata=None,
            )
    except OSError as error:
        raise PictureError(f"{target}: cannot be written ({error.strerror or error})") from error


def _tiles(strips: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Strips of any height → tiles from left to right and from top to bottom, the last ones filled with zeros."""
    waiting = None
    for strip in strips:
        waiting = strip if waiting is None else np.concatenate([waiting, strip])
        whole = len(waiting) // TILE * TILE
        for top in range(0, whole, TILE):
            yield from _cut(waiting[top : top + TILE])
        waiting = waiting[whole:]
    if waiting is not None and len(waiting):
        yield from _cut(waiting)


def _cut(rows: np.ndarray) -> Iterator[np.ndarray]:
    for left in range(0, rows.shape[1], TILE):
        part = rows[:, left : left + TILE]
        margins = [(0, TILE - part.shape[0]), (0, TILE - part.shape[1])] + [(0, 0)] * (part.ndim - 2)
        yield np.pad(part, margins)
