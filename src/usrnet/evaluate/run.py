"""Running a protocol over a folder: resumable, on one or several processes, in bounded memory."""

import hashlib
import json
import os
import signal
import warnings
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import islice
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np
import torch

from usrnet import io, metrics
from usrnet.device import choose_device, choose_precision, keep_freed_memory
from usrnet.errors import PictureError, UsrnetError, UsrnetWarning
from usrnet.evaluate.methods import digest, label, make_method
from usrnet.evaluate.niqe import BLOCK, niqe
from usrnet.evaluate.protocols import PROTOCOLS, Row
from usrnet.restoration.jobs import find_pictures

if TYPE_CHECKING:
    from usrnet.train.perceptual import FeatureDistance

BEST_PSNR = 100.0  # stands for infinity, so that means stay finite


@dataclass(frozen=True)
class Score:
    """One restored picture against the truth: PSNR in dB and SSIM, over RGB and over the luma.

    What is in ``PERCEPTUAL`` is None unless it was asked for: ``features``, the distance of features (see
    ``train.perceptual.FeatureDistance``), and ``niqe`` with that of the truth beside it, which is None too for
    pictures without a block of 96×96 that is not flat.
    """

    psnr: float
    ssim: float
    psnr_y: float
    ssim_y: float
    features: float | None = None
    niqe: float | None = None
    niqe_truth: float | None = None


PERCEPTUAL = {"features": ("features",), "niqe": ("niqe", "niqe_truth")}
"""What ``Evaluation.perceptual`` may name, with the fields of ``Score`` that it fills."""


@dataclass(frozen=True)
class Evaluation:
    """What is measured; ``methods``: names for ``make_method``, ``examples``: how many results become pictures,
    ``perceptual``: what of ``PERCEPTUAL`` is measured too.
    """

    protocol: str
    folder: Path
    rows: Sequence[Row]
    methods: Sequence[str]
    device: str = "auto"
    precision: str = "fp32"
    examples: int = 6
    perceptual: Sequence[str] = ()
    failures: dict[str, str] = field(default_factory=dict)
    """Why, by name, a picture could not be measured; filled by ``run``."""

    @property
    def measures(self) -> list[str]:
        """The fields of ``Score`` that are measured."""
        left_out = {field for name, fields in PERCEPTUAL.items() if name not in self.perceptual for field in fields}
        return [what for what in Score.__dataclass_fields__ if what not in left_out]

    def pictures(self) -> list[Path]:
        """The pictures of the folder; raises ``UsrnetError`` when two have one stem, by which reports name them."""
        paths = pictures_of(self.folder)
        stems: dict[str, Path] = {}
        for path in paths:
            if path.stem in stems:
                raise UsrnetError(f"{path} and {stems[path.stem].name} have one name: rename one of them")
            stems[path.stem] = path
        return paths

    def run(self, output: Path, *, workers: int = 1) -> Generator[tuple[int, int], None, None]:
        """Measure what ``output`` does not hold yet; yields the number of restorations done and of all.

        Every score is written to ``scores.jsonl`` as it comes. A score is known by a hash of everything that decides
        it, so an interrupted run goes on, and one with other settings measures only what is new.
        """
        labels = [label(name) for name in self.methods]
        if len(set(labels)) < len(labels):
            raise UsrnetError(f"two methods have one name: {', '.join(labels)}")
        folder = output / "pictures"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            known = set(read_scores(output))
            with (output / "scores.jsonl").open("a", encoding="utf-8") as file:
                file.write("\n")  # a kill may have cut off the last line
                missing = [part for cell in self.cells if (part := cell.missing(known, folder))]
                total = len(self.cells) * len(self.methods)
                done = total - sum(len(cell.methods) for cell in missing)
                yield done, total
                for cell, measured in _measure_all(missing, folder, workers):
                    if isinstance(measured, str):
                        self.failures[cell.path.name] = measured
                    else:
                        for record in measured:
                            file.write(json.dumps(record) + "\n")
                        file.flush()
                    done += len(cell.methods)
                    yield done, total
        except OSError as error:
            raise UsrnetError(f"{output}: cannot be written to ({error.strerror})") from error

    @cached_property
    def cells(self) -> "list[Cell]":
        """Every picture with every row; ``examples`` of them, spread evenly, keep their pictures."""
        paths = self.pictures()
        content = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
        names = tuple(self.methods)
        device = choose_device(self.device)
        precision = choose_precision(self.precision, device)
        digests = tuple(digest(name) for name in names)
        everything = [(row, path) for row in self.rows for path in paths]
        count = min(self.examples, len(everything))
        chosen = {round(i) for i in np.linspace(0, len(everything) - 1, count)} if count else set()
        return [
            Cell(
                self.protocol,
                path,
                content[path],
                row,
                names,
                digests,
                str(device),
                precision,
                index in chosen,
                perceptual=self.perceptual,
            )
            for index, (row, path) in enumerate(everything)
        ]


@dataclass(frozen=True)
class Cell:
    """One picture under one degradation, restored by every method."""

    protocol: str
    path: Path
    content: str
    row: Row
    methods: tuple[str, ...]
    digests: tuple[str, ...]
    device: str
    precision: str
    keep: bool
    perceptual: Sequence[str] = ()

    def degradation(self) -> str:
        """A hash of all that decides the truth and the input."""
        row = self.row
        shared = hashlib.sha256(row.kernel.tobytes())
        shared.update(repr((self.protocol, self.content, row.kernel.shape, row.scale, row.noise_level)).encode())
        return shared.hexdigest()

    def keys(self) -> list[str]:
        """For every method, a hash of all that decides the score."""
        shared, more = self.degradation(), "".join(f" {what}" for what in self.perceptual)
        return [
            hashlib.sha256(f"{shared} {one} {self.device} {self.precision}{more}".encode()).hexdigest()[:24]
            for one in self.digests
        ]

    def marks(self) -> dict[str, str]:
        """What the pictures of an example carry, by the names of ``files``: the hash of all that decides each."""
        own = dict(zip(map(label, self.methods), self.keys(), strict=True))
        return {"input": self.degradation(), "truth": self.degradation(), **own}

    def files(self, folder: Path) -> dict[str, Path]:
        """Where the pictures of an example are kept, by ``"input"``, ``"truth"`` and the methods' labels."""
        names = ["input", "truth", *map(label, self.methods)]
        return {name: folder / f"{self.path.stem}_{self.row.label}_{name}.png" for name in names}

    def missing(self, known: set[str], folder: Path) -> "Cell | None":
        """The same cell with the methods only whose score is not known or whose picture is not kept; None if none.

        A picture that an evaluation with other settings left under the same name is not the one that is kept.
        """
        marks = self.marks() if self.keep else {}
        stale = {
            name for name, path in self.files(folder).items() if self.keep and io.read_provenance(path) != marks[name]
        }
        chosen = [
            (name, one)
            for name, one, key in zip(self.methods, self.digests, self.keys(), strict=True)
            if key not in known or stale & {label(name), "input", "truth"}
        ]
        if not chosen:
            return None
        names, digests = zip(*chosen, strict=True)
        return replace(self, methods=names, digests=digests)

    def try_to_measure(self, folder: Path) -> list[dict] | str:
        """The records of ``measure``, or why this picture cannot be measured."""
        try:
            return self.measure(folder)
        except UsrnetError as error:
            return str(error)

    def measure(self, folder: Path) -> list[dict]:
        """Degrade, restore and compare; returns one record per method. Raises ``UsrnetError``."""
        protocol, row = PROTOCOLS[self.protocol], self.row
        try:
            truth = protocol.truth(io.read_rgb(self.path), row.scale)
        except UsrnetError as error:
            raise error if isinstance(error, PictureError) else UsrnetError(f"{self.path}: {error}") from error
        small = protocol.observe(truth, row)
        border = protocol.border(row.scale)
        natural = None
        if "niqe" in self.perceptual:
            natural = _natural(self.path, self.content, self.protocol, row.scale)
        records, kept = [], {"input": io.join(small, None, like=truth), "truth": truth}
        for name, version, key in zip(self.methods, self.digests, self.keys(), strict=True):
            method = make_method(
                name, version, boundary=protocol.boundary, device=self.device, precision=self.precision
            )
            restored = io.join(method(small, row), None, like=truth)
            score = Score(
                psnr=min(metrics.psnr(restored, truth, border=border), BEST_PSNR),
                ssim=metrics.ssim(restored, truth, border=border),
                psnr_y=min(metrics.psnr(restored, truth, border=border, y=True), BEST_PSNR),
                ssim_y=metrics.ssim(restored, truth, border=border, y=True),
                features=_distance(restored, truth, border) if "features" in self.perceptual else None,
                niqe=_niqe(restored, border) if "niqe" in self.perceptual else None,
                niqe_truth=natural,
            )
            records.append({"key": key, "method": label(name), "picture": self.path.name, "scale": row.scale,
                            "kernel": row.kernel_name, "noise_level": row.noise_level, **asdict(score)})  # fmt: skip
            kept[label(name)] = restored
        if self.keep:
            marks = self.marks()
            for name, path in self.files(folder).items():
                io.write(path, io.Picture(kept[name], io.Metadata(provenance=marks[name])))
        return records


def _measure_all(cells: Sequence[Cell], folder: Path, workers: int) -> Iterator[tuple[Cell, list[dict] | str]]:
    """Every cell with its records, or why it has none, as they are ready."""
    if workers == 1 or len(cells) < 2:
        yield from ((cell, cell.try_to_measure(folder)) for cell in cells)
        return
    threads = max(1, torch.get_num_threads() // workers)
    end, lifeline = Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(threads, end)
    )
    try:
        waiting = iter(cells)
        running: dict[Future, Cell] = {}
        for cell in islice(waiting, 2 * workers):
            running[pool.submit(cell.try_to_measure, folder)] = cell
        while running:
            ready, _ = wait(running, return_when=FIRST_COMPLETED)
            for cell in islice(waiting, len(ready)):
                running[pool.submit(cell.try_to_measure, folder)] = cell
            for future in ready:
                yield running.pop(future), future.result()
    except BrokenProcessPool as error:
        raise UsrnetError("a worker process was killed, perhaps for want of memory: use fewer --workers") from error
    finally:
        lifeline.close()
        pool.shutdown(cancel_futures=True)


def _start_worker(threads: int, end: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    torch.set_num_threads(threads)
    keep_freed_memory()
    Thread(target=_end_with, args=(end,), daemon=True).start()


def _end_with(end: Connection) -> None:
    """Wait until nobody holds the other end: the work is done, or stopped, or the parent was killed.

    A pool cannot be relied on here: interrupted twice, it waits for ever for workers that wait for work.
    """
    with suppress(EOFError):
        end.recv()
    os._exit(0)


def pictures_of(folder: Path) -> list[Path]:
    """The pictures in a folder itself; raises ``UsrnetError`` when it is none or holds none."""
    if not folder.is_dir():
        raise UsrnetError(f"{folder}: there is no such folder of pictures")
    return [path for path, _ in find_pictures([str(folder)])]


def read_scores(output: Path) -> dict[str, dict]:
    """The records in ``scores.jsonl`` by key; a last line that was cut off by a kill is left out."""
    try:
        lines = (output / "scores.jsonl").read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    records = {}
    for line in lines:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:  # empty or cut off
            continue
        records[record["key"]] = record
    return records


@dataclass(frozen=True)
class Results:
    """All scores of an evaluation: ``scores[method][row number][picture name]``."""

    evaluation: Evaluation
    scores: dict[str, list[dict[str, Score]]]
    pictures: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, evaluation: Evaluation, output: Path) -> "Results":
        """The results in ``output``, as far as they have been measured."""
        records = read_scores(output)
        rows = {id(row): number for number, row in enumerate(evaluation.rows)}
        scores = {label(name): [{} for _ in evaluation.rows] for name in evaluation.methods}
        names: dict[str, None] = {}
        for cell in evaluation.cells:
            if cell.path.name in evaluation.failures:  # also where some of its rows were measured
                continue
            names[cell.path.name] = None
            for name, key in zip(cell.methods, cell.keys(), strict=True):
                if key in records:
                    values = {what: records[key][what] for what in evaluation.measures}
                    scores[label(name)][rows[id(cell.row)]][cell.path.name] = Score(**values)
        if not names:
            reasons = "; ".join(evaluation.failures.values())
            raise UsrnetError(f"{evaluation.folder}: no picture could be measured: {reasons}")
        return cls(evaluation, scores, list(names))

    def mean(self, method: str, number: int, what: str = "psnr") -> float:
        """The mean over the pictures of one row that have this measure; NaN if none has."""
        values = [getattr(score, what) for score in self.scores[method][number].values()]
        return float(np.mean([value for value in values if value is not None] or [np.nan]))


def _inside(pixels: np.ndarray, border: int) -> np.ndarray:
    return pixels[border : pixels.shape[0] - border, border : pixels.shape[1] - border]


def _distance(restored: np.ndarray, truth: np.ndarray, border: int) -> float:
    """The distance of features of two pictures H×W×3 uint8 without their borders."""
    pair = (torch.from_numpy(_inside(pixels, border).copy()).permute(2, 0, 1) / 255 for pixels in (restored, truth))
    return _features()(*pair)


def _niqe(pixels: np.ndarray, border: int) -> float | None:
    """NIQE of a picture H×W×3 uint8 without its border, None where there is none."""
    inside = _inside(pixels, border)
    value = niqe(inside) if min(inside.shape[:2]) >= BLOCK else np.nan
    return float(value) if np.isfinite(value) else None


@lru_cache(maxsize=4096)
def _natural(path: Path, content: str, protocol: str, scale: int) -> float | None:
    """NIQE of a truth, once for all kernels and noise levels; ``content``: a file that was changed is another one."""
    known = PROTOCOLS[protocol]
    return _niqe(known.truth(io.read_rgb(path), scale), known.border(scale))


@lru_cache(maxsize=1)
def _features() -> "FeatureDistance":
    from usrnet.train.perceptual import FeatureDistance  # only now: it needs the extra train

    return FeatureDistance()


def can_measure_features() -> bool:
    """Whether the distance of features can be measured here; if not, a note says what is missing."""
    try:
        _features()
    except UsrnetError as error:
        warnings.warn(f"the distance of features is not measured: {error}", UsrnetWarning, stacklevel=2)
        return False
    return True


def note_conversions(paths: Sequence[Path]) -> None:
    """Say once which pictures are not 8-bit RGB, and that they are converted."""
    from PIL import Image

    odd = []
    for path in paths:
        try:
            with Image.open(path) as picture:
                if picture.mode != "RGB":
                    odd.append(path.name)
        except Exception:  # a picture that cannot be read is named when its turn comes
            continue
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        warnings.warn(f"converted to 8-bit RGB: {', '.join(odd[:3])}{more}", UsrnetWarning, stacklevel=2)
