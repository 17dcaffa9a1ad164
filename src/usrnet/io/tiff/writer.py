"""Writing TIFFs, of any size and strip by strip."""

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from usrnet.atomic import replacing
from usrnet.errors import PictureError
from usrnet.io.metadata import EXIF, GPS, Metadata, exif_directory
from usrnet.io.tiff.tags import to_tags

STRIP_BYTES = 2**19  # about what a strip that is written holds before it is compressed


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
    options = to_tags(page.metadata, big=big)
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
