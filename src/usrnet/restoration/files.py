"""One picture file restored into another."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from usrnet import io as pictures
from usrnet.errors import PictureError, UsrnetWarning
from usrnet.io import Levels, Metadata, Picture, stack, tiff
from usrnet.io.decode import TIFF_MAGIC, converted, read_bytes
from usrnet.io.gaps import Gaps, Survey, filled, note_on_gaps, survey
from usrnet.io.levels import choose_with_note, full_scale
from usrnet.io.metadata import note_of
from usrnet.restoration.highlights import Brightness
from usrnet.restoration.observation import Observation
from usrnet.restoration.restorer import Progress, Restorer, Rows
from usrnet.restoration.unknown import Unknown, settle

if TYPE_CHECKING:
    from usrnet.estimate import Estimate

Watch = Callable[[Iterable[np.ndarray]], Iterable[np.ndarray]]
"""What the strips of a result pass through, from top to bottom, on their way to the file; anew at every attempt."""

LARGE_BYTES = 256 * 2**20  # pictures of this size on are read strip by strip, if they are TIFFs that can be


@dataclass(frozen=True)
class Handling:
    """How files are read and written.

    ``white``: which value is full scale, ``"auto"`` for the range of the data, None for what the type means.
    ``all_pages``: every picture of a stack or an animation instead of the first. ``strip``: leave out EXIF, places
    and whatever else lies beside the pixels, but what the colours mean.
    """

    white: pictures.White = None
    all_pages: bool = False
    strip: bool = False


@dataclass(frozen=True)
class _Source:
    """A picture to restore, in memory or by rows from its file; ``gaps``: what is missing in it."""

    rows: Rows
    dtype: np.dtype
    extra: int
    levels: Levels
    metadata: Metadata
    gaps: Gaps | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape


def restore_file(
    restorer: Restorer,
    source: Path | BinaryIO,
    target: Path | BinaryIO,
    known: Observation | Unknown | Sequence[Observation | Unknown],
    *,
    handling: Handling | None = None,
    provenance: str | None = None,
    max_pixels: int = pictures.DEFAULT_MAX_PIXELS,
    watch: Watch | None = None,
    progress: Progress | None = None,
) -> "tuple[Observation, Estimate | None]":
    """Restore one picture file; the target appears whole or not at all.

    A TIFF that is larger than 256 MB is read strip by strip, and every TIFF is written so. Bands beyond colour and
    alpha are restored as grey pictures of their own. ``known``: of all of it, or of each channel of a stack or band
    of a picture. ``provenance``: a text that the result carries; ``watch`` sees the result without its being read
    again.
    Returns what the file was restored with, and what was found in the picture, if anything had to be. Raises
    ``PictureError``.
    """
    handling = handling or Handling()
    bright, name = Brightness(), str(source) if isinstance(source, Path) else "-"
    scale = known.scale if isinstance(known, Observation | Unknown) else known[0].scale
    if handling.all_pages:
        data = source if isinstance(source, Path) else BytesIO(source.read())
        if opened := stack.open_stack(data, max_pixels=max_pixels):
            try:
                return _restore_stack(
                    restorer, opened, target, known, handling=handling, provenance=provenance, progress=progress,
                    bright=bright,
                )  # fmt: skip
            finally:
                opened.close()
                bright.note(name)
        source = data if isinstance(data, Path) else BytesIO(data.getvalue())
    with _Opened(source, max_pixels) as opened_source:
        origin = opened_source.source(handling)
        height, width = (scale * length for length in origin.shape[:2])
        pictures.check_target(target, height, width)
        shape = (height, width, *origin.shape[2:])
        metadata = _metadata(origin.metadata, handling, provenance, scale, shape, pages=opened_source.pages)
        observations, found = _settled(known, origin)
        chosen = _for_bands(observations, origin.shape, origin.extra, opened_source.name)
        into_tiff = isinstance(target, Path) and pictures.FORMATS.get(target.suffix.lower()) == "TIFF"

        def attempt(tile: int | str) -> np.ndarray | None:
            strips = _strips(restorer, origin, chosen, tile=tile, progress=progress, bright=bright)
            if watch:  # a screen shows no gaps
                strips = _watched(strips, watch, origin)
            if origin.gaps:
                strips = origin.gaps.put_back(strips, scale)
            if into_tiff:
                pictures.note_what_is_lost(metadata, "TIFF", str(target))
                tiff.write(target, strips, shape=shape, dtype=origin.dtype, extra=origin.extra, metadata=metadata)
                return None
            return _gathered(strips, shape, origin.dtype)

        restored = restorer.within_memory(attempt, origin.shape, chosen[0])
        if restored is not None:
            result = Picture(restored, metadata, origin.extra)
            pictures.write(target, result, levels=origin.levels)
    bright.note(name)
    return chosen[0], found


def _settled(
    known: Observation | Unknown | Sequence[Observation | Unknown], origin: _Source
) -> "tuple[Sequence[Observation], Estimate | None]":
    """What is known of a picture once it has been looked at."""
    beside = origin.metadata
    first, *others = [known] if isinstance(known, Observation | Unknown) else known
    observation, found = settle(first, _Seen(origin), beside)
    rest = [one.with_noise(observation.noise_level) if isinstance(one, Unknown) else one for one in others]
    return [observation, *(one.stored_as(**beside.storage) for one in rest)], found


@dataclass(frozen=True)
class _Seen:
    """Colour and alpha of a picture as everything else looks at them, without further bands, by rows."""

    source: _Source

    @property
    def shape(self) -> tuple[int, ...]:
        return _Band(self.source.rows, pictures.groups(self.source.shape, self.source.extra)[0]).shape

    @property
    def dtype(self) -> np.dtype:
        return self.source.dtype if self._plain else np.dtype(np.float32)

    @property
    def _plain(self) -> bool:
        dtype = self.source.dtype
        return dtype in (np.uint8, np.uint16, np.float32) and self.source.levels == full_scale(dtype)

    def __getitem__(self, rows: slice, /) -> np.ndarray:
        group = pictures.groups(self.source.shape, self.source.extra)[0]
        return self.as_seen(_Band(self.source.rows, group)[rows])

    def as_seen(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels of the source as uint8, uint16 or floats in the unit range."""
        return pixels if self._plain else converted(pixels, np.dtype(np.float32), self.source.levels)


def _watched(strips: Iterator[np.ndarray], watch: Watch, origin: _Source) -> Iterator[np.ndarray]:
    """The strips as they are, of which ``watch`` sees what a screen can show."""
    waiting: deque[np.ndarray] = deque()
    seen, group = _Seen(origin), pictures.groups(origin.shape, origin.extra)[0]

    def shown() -> Iterator[np.ndarray]:
        for strip in strips:
            waiting.append(strip)
            yield seen.as_seen(strip[..., group])

    for _ in watch(shown()):
        yield waiting.popleft()


class _Opened:
    """A picture file opened for its pixels: a large TIFF stays open and is read by rows."""

    def __init__(self, source: Path | BinaryIO, max_pixels: int) -> None:
        self.name = str(source) if isinstance(source, Path) else "standard input"
        self._file: tiff.TiffFile | None = None
        self._picture: Picture | None = None
        self.pages = 1
        content = source if isinstance(source, Path) else BytesIO(read_bytes(source))
        if _is_tiff(content):
            self._file = tiff.TiffFile(content, name=self.name)
            try:
                self.pages = len(self._file)
                self._rows = self._file.rows()
                shape = self._rows.shape
                channels = shape[2] if len(shape) == 3 else 1
                pictures.check_size(shape[1], shape[0], self.name, max_pixels, channels=channels)
                if self.pages > 1:
                    self._file.note(f"{self.pages} pages, only the first is used (--all-pages takes all)")
            except (PictureError, UsrnetWarning):  # a note may be an error to whoever wants it so
                self._file.close()
                raise
        else:
            self._picture = pictures.read_whole(content, max_pixels=max_pixels)

    def source(self, handling: Handling) -> _Source:
        """What is to be restored, with its levels; a note says where there is doubt about them."""
        note = note_of(self.name)
        picture = self._picture or self._of_tiff()
        found = _survey(picture)
        if text := note_on_gaps([found], self.name):
            note(text)
        levels, text = _levels(picture, found, handling)
        if text:
            note(text)
        return _without_gaps(picture, found, levels)

    def _of_tiff(self) -> "Picture | _Large":
        rows = self._rows
        size = int(np.prod(rows.shape, dtype=np.int64)) * rows.dtype.itemsize
        if rows.by_rows and size >= LARGE_BYTES:
            return _Large(rows, rows.metadata(), rows.extra, rows.declared)
        return Picture(rows[:], rows.metadata(), rows.extra, rows.declared)

    def __enter__(self) -> "_Opened":
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()


@dataclass(frozen=True)
class _Large:
    """What a ``Picture`` is, of a file of which only rows are read."""

    pixels: tiff.TiffRows
    metadata: Metadata
    extra: int
    levels: Levels | None


def _survey(picture: Picture | _Large) -> Survey:
    return survey(picture.pixels, extra=picture.extra, missing=picture.metadata.missing)


def _levels(picture: Picture | _Large, found: Survey, handling: Handling) -> tuple[Levels, str | None]:
    """The levels of what was measured, and what the user should know about them."""
    dtype = picture.pixels.dtype
    if not found.measured:  # a page of a stack
        return picture.levels or full_scale(dtype), None
    return choose_with_note(found.low, found.high, dtype, handling.white, declared=picture.levels)


def _without_gaps(picture: Picture | _Large, found: Survey, levels: Levels) -> _Source:
    rows, gaps = filled(picture.pixels, found)
    return _Source(rows, picture.pixels.dtype, picture.extra, levels, picture.metadata, gaps)


def _is_tiff(content: Path | BytesIO) -> bool:
    if isinstance(content, BytesIO):
        return content.getbuffer()[:4] in TIFF_MAGIC
    try:
        with content.open("rb") as file:
            return file.read(4) in TIFF_MAGIC
    except OSError:
        return False  # the reader says why


@dataclass(frozen=True)
class _Band:
    """Some of the channels of what is read by rows."""

    rows: Rows
    group: slice | int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape if isinstance(self.group, slice) and len(self.rows.shape) == 2 else self._cut

    @property
    def _cut(self) -> tuple[int, ...]:
        if isinstance(self.group, int):
            return self.rows.shape[:2]
        return (*self.rows.shape[:2], len(range(*self.group.indices(self.rows.shape[2]))))

    def __getitem__(self, rows: slice, /) -> np.ndarray:
        return self.rows[rows][..., self.group]


def _strips(
    restorer: Restorer,
    source: _Source,
    observations: Sequence[Observation],
    *,
    tile: int | str,
    progress: Progress | None,
    bright: Brightness,
) -> Iterator[np.ndarray]:
    """The result in strips of rows, of the layout and type of the source; ``observations``: one for each group."""
    groups = pictures.groups(source.shape, source.extra)
    if len(groups) == 1:
        yield from restorer.strips(
            _Band(source.rows, groups[0]) if len(source.shape) == 3 and groups[0] == 0 else source.rows,
            observations[0], levels=source.levels, tile=tile, progress=progress, bright=bright,
        )  # fmt: skip
        return
    shares = [0.0] * len(groups)

    def step(index: int) -> Progress:
        def report(done: int, total: int) -> None:
            shares[index] = done / max(1, total)
            if progress:
                progress(int(sum(shares) * 1000), 1000 * len(groups))

        return report

    streams = [
        restorer.strips(
            _Band(source.rows, group),
            observations[index],
            levels=source.levels,
            tile=tile,
            progress=step(index),
            bright=bright,
        )
        for index, group in enumerate(groups)
    ]
    for parts in pictures.together(streams):
        yield np.concatenate([part if part.ndim == 3 else part[..., None] for part in parts], axis=-1)


def _gathered(strips: Iterator[np.ndarray], shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    result = np.empty(shape, dtype)
    top = 0
    for strip in strips:
        result[top : top + len(strip)] = strip.reshape(len(strip), *shape[1:])
        top += len(strip)
    return result


def _for_bands(
    observations: Sequence[Observation], shape: tuple[int, ...], extra: int, name: str
) -> list[Observation]:
    """An observation for each group of bands. Raises ``UsrnetError`` when their numbers do not go together."""
    count = len(pictures.groups(shape, extra))
    if len(observations) not in (1, count):
        bands = "one picture" if count == 1 else f"{count} bands"
        raise PictureError(f"{name}: {len(observations)} kernels were given for {bands}: choose one, FILE:INDEX")
    return list(observations) * (count if len(observations) == 1 else 1)


def _metadata(
    metadata: Metadata, handling: Handling, provenance: str | None, scale: int, shape: tuple[int, ...], *, pages: int
) -> Metadata:
    """The metadata of a result: corrected for its size, or stripped, and with how it was made."""
    if handling.strip:
        return replace(metadata.stripped(), provenance=provenance)
    size, samples = (shape[0], shape[1]), shape[2] if len(shape) == 3 else 1
    text = tiff.description_of_result(
        metadata.description, scale, size, samples=samples, pages=pages, all_pages=False
    )
    of_planes = ("Labels", "LUTs", "Ranges") if pages > 1 else ()
    noted = {name: value for name, value in metadata.imagej.items() if name not in of_planes}
    return replace(metadata.enlarged(scale, size), description=text, imagej=noted, provenance=provenance)


def _restore_stack(
    restorer: Restorer,
    origin: stack.Stack,
    target: Path | BinaryIO,
    known: Observation | Unknown | Sequence[Observation | Unknown],
    *,
    handling: Handling,
    provenance: str | None,
    progress: Progress | None,
    bright: Brightness,
) -> "tuple[Observation, Estimate | None]":
    """Every picture of a stack, each by itself; what is unknown is found in the first that holds anything."""
    kind = stack.target_kind(target, origin)
    first = origin.picture(0)
    scale = known.scale if isinstance(known, Observation | Unknown) else known[0].scale
    pictures.check_target(target, *(scale * length for length in first.pixels.shape[:2]), animated=True)
    surveys, levels = _look_at_stack(origin, handling)

    def page(index: int) -> tuple[Picture, _Source]:
        picture = origin.picture(index) if index else first
        own = levels or _levels(picture, surveys[index], handling)[0]
        return picture, _without_gaps(picture, surveys[index], own)

    measured = next(index for index, found in enumerate(surveys) if found.measured)
    observations, found = _settled(known, page(measured)[1])
    choose = _for_planes(observations, origin, first)

    def report(index: int) -> Progress | None:
        def step(done: int, total: int) -> None:
            if progress:
                progress(index * 1000 + done * 1000 // max(1, total), 1000 * origin.count)

        return step

    def results() -> Iterator[tuple[Picture, Levels | None]]:
        for index in range(origin.count):
            picture, part = page(index)
            chosen = _for_bands(choose(index), part.shape, part.extra, origin.name)
            shape = (*(scale * length for length in part.shape[:2]), *part.shape[2:])

            def attempt(
                tile: int | str, part: _Source = part, chosen: list[Observation] = chosen,
                shape: tuple[int, ...] = shape, index: int = index,
            ) -> np.ndarray:  # fmt: skip
                strips = _strips(restorer, part, chosen, tile=tile, progress=report(index), bright=bright)
                if part.gaps:
                    strips = part.gaps.put_back(strips, scale)
                return _gathered(strips, shape, part.dtype)

            pixels = restorer.within_memory(attempt, part.shape, chosen[0])
            metadata = picture.metadata.enlarged(scale, (shape[0], shape[1]))
            if handling.strip:
                structure = tiff.structure_of(picture.metadata.description) if index == 0 else None
                metadata = replace(metadata.stripped(), description=structure)
            metadata = replace(metadata, provenance=provenance)
            yield replace(picture, pixels=pixels, metadata=metadata), part.levels

    size = first.pixels.nbytes * scale**2 * origin.count
    stack.write_stack(target, results(), origin, kind=kind, scale=scale, size=size)
    return observations[0], found


def _for_planes(
    observations: Sequence[Observation], origin: stack.Stack, first: Picture
) -> Callable[[int], Sequence[Observation]]:
    """Which observations a plane of a stack gets: all the same, one for each channel, or one for each plane."""
    bands = len(pictures.groups(first.pixels.shape, first.extra))
    if len(observations) in (1, bands):
        return lambda index: observations
    if len(observations) == origin.channels:
        return lambda index: [observations[origin.channel_of(index)]]
    if len(observations) == origin.count:
        return lambda index: [observations[index]]
    raise PictureError(
        f"{origin.name}: {len(observations)} kernels were given for {origin.channels} channels and {origin.count} "
        "planes: choose one, FILE:INDEX"
    )


def _look_at_stack(origin: stack.Stack, handling: Handling) -> tuple[list[Survey], Levels | None]:
    """What its pages hold, and levels that keep them comparable; None where they differ in type."""
    note = note_of(origin.name)
    surveys: list[Survey] = []
    kinds: set[tuple[np.dtype, Levels | None]] = set()
    for index in range(origin.count):
        picture = origin.picture(index)
        surveys.append(_survey(picture))
        kinds.add((picture.pixels.dtype, picture.levels))
    if text := note_on_gaps(surveys, origin.name):
        note(text)
    if len(kinds) != 1:
        return surveys, None
    ((dtype, declared),) = kinds
    low, high = min(found.low for found in surveys), max(found.high for found in surveys)
    levels, text = choose_with_note(low, high, dtype, handling.white, declared=declared)
    if text:
        note(text)
    return surveys, levels
