"""One picture file restored into another."""

import warnings
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from usrnet import io as pictures
from usrnet.errors import PictureError, UsrnetWarning
from usrnet.estimate.jpeg import jpeg_of_file
from usrnet.io import tiff
from usrnet.restoration.highlights import Brightness
from usrnet.restoration.observation import Observation
from usrnet.restoration.restorer import Progress, Restorer
from usrnet.restoration.unknown import Unknown, settle

if TYPE_CHECKING:
    from usrnet.estimate import Estimate

Watch = Callable[[Iterable[np.ndarray]], Iterable[np.ndarray]]
"""What the strips of a result pass through, from top to bottom, on their way to the file; anew at every attempt."""

LARGE_BYTES = 512 * 2**20  # results of this size on are written strip by strip, if they are TIFFs


def restore_file(
    restorer: Restorer,
    source: Path | BinaryIO,
    target: Path | BinaryIO,
    known: Observation | Unknown,
    *,
    provenance: str | None = None,
    max_pixels: int = pictures.DEFAULT_MAX_PIXELS,
    watch: Watch | None = None,
    progress: Progress | None = None,
) -> "tuple[Observation, Estimate | None]":
    """Restore one picture file; the target appears whole or not at all.

    A TIFF whose result has more than 512 MB goes through memory strip by strip. ``provenance``: a text that the
    result carries; ``watch`` sees the result without its being read again. Returns what the file was restored with,
    and what was found in the picture, if anything had to be. Raises ``PictureError``.
    """
    bright, name = Brightness(), str(source) if isinstance(source, Path) else "-"
    rows = _rows_of_large_tiff(restorer, source, target, known.scale)
    if rows is not None and isinstance(target, Path):
        with rows:
            pictures.check_size(rows.shape[1], rows.shape[0], str(source), max_pixels)
            if rows.pages > 1:
                warnings.warn(f"{source}: {rows.pages} pages, only the first is used", UsrnetWarning, stacklevel=2)
            observation, found = settle(known, rows)
            observation = observation.stored_as(icc_profile=rows.icc_profile)
            shape = (*(observation.scale * length for length in rows.shape[:2]), *rows.shape[2:])

            def attempt(tile: int | str, observation: Observation = observation) -> None:
                strips = restorer.strips(rows, observation, tile=tile, progress=progress, bright=bright)
                tiff.write(
                    target,
                    watch(strips) if watch else strips,
                    shape=shape,
                    dtype=rows.dtype,
                    icc_profile=rows.icc_profile,
                    provenance=provenance,
                )

            restorer.within_memory(attempt, rows.shape, observation)
    else:
        jpeg = None
        if isinstance(known, Unknown):
            source = source if isinstance(source, Path) else BytesIO(source.read())
            jpeg = jpeg_of_file(source)
        picture = pictures.read(source, max_pixels=max_pixels)
        observation, found = settle(known, picture.pixels, jpeg)
        observation = observation.stored_as(
            camera=picture.camera, icc_profile=picture.icc_profile, gamma=picture.gamma
        )
        restored = restorer.restore(picture.pixels, observation, progress=progress, bright=bright)
        if watch:
            deque(watch([restored]), maxlen=0)
        pictures.write(target, replace(picture, pixels=restored, provenance=provenance))
    bright.note(name)
    return observation, found


def _rows_of_large_tiff(
    restorer: Restorer, source: Path | BinaryIO, target: Path | BinaryIO, scale: int
) -> tiff.TiffRows | None:
    """The source by rows where the result is a large TIFF and the source can be read that way."""
    if not (isinstance(source, Path) and isinstance(target, Path)) or restorer.tile == "off":
        return None
    if not {source.suffix.lower(), target.suffix.lower()} <= {".tif", ".tiff"}:
        return None
    try:
        rows = tiff.TiffRows(source)
    except PictureError:
        return None  # the other reader knows more kinds, and says what is wrong
    if int(np.prod(rows.shape)) * rows.dtype.itemsize * scale**2 < LARGE_BYTES:
        rows.__exit__(None, None, None)
        return None
    return rows
