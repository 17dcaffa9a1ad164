"""What the page does, without the page: from its controls to kernels, previews, results and the command line."""

import os
import shlex
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from usrnet import io, kernels
from usrnet.errors import PictureError, UsrnetError
from usrnet.figures import drawing
from usrnet.restoration import Observation, Restorer, observe, restore_file
from usrnet.restoration.jobs import Recipe, plan_jobs
from usrnet.restoration.light import choose_curve
from usrnet.web import limits
from usrnet.web.jobs import Stopped
from usrnet.weights import blend

PREVIEW = 128  # side of the previewed part, in pixels of the input
WIDTHS = 0.2, 6.0  # of the slider
CRISP = "default-gan"
GAUSSIAN, SHAKE, BICUBIC, FILE = BLURS = (
    "soft (Gaussian)",
    "camera shake",
    "bicubic shrinking",
    "my own kernel file",
)


@dataclass(frozen=True)
class Settings:
    """The controls: ``width`` and ``ratio`` (second to first width), ``degrees`` of a Gaussian, or another blur.

    ``kernel_number`` (from 1) is that of the kernel in a file that holds several, None in others. ``crisp`` goes from
    the weights of ``default`` (0) to those of ``default-gan`` (1); other models have no such pair.
    """

    scale: int = 2
    width: float = 0.7
    noise_level: float = 2.0
    blur: str = GAUSSIAN
    ratio: float = 1.0
    degrees: float = 0.0
    seed: int = 0
    kernel_file: str | None = None
    model: str = "default"
    kernel_number: int | None = None
    crisp: float = 0.0

    def weights(self) -> str:
        """What :func:`restorer_of` takes: a model's name or file, or how crisp. Raises ``UsrnetError``."""
        if not 0 <= self.crisp <= 1:
            raise UsrnetError(f"crisp = {self.crisp:g} is not between 0 (faithful) and 1 (crisp)")
        if self.model != "default" or not self.crisp:
            return self.model
        return CRISP if self.crisp == 1 else f"{CRISP} {self.crisp:g}"

    def kernel(self) -> str:
        """The text that the command line would take for the blur. Raises ``UsrnetError``."""
        if self.blur == GAUSSIAN:
            if self.ratio == 1:
                return f"gaussian:{self.width:g}"
            return f"gaussian:{self.width:g},{round(self.width * self.ratio, 4):g},{self.degrees:g}"
        if self.blur == SHAKE:
            return f"motion:{int(self.seed)}"
        if self.blur == BICUBIC:
            return "bicubic"
        if self.blur != FILE:
            raise UsrnetError(f"blur {self.blur!r} is not known: choose one of {', '.join(BLURS)}")
        if not self.kernel_file:
            raise UsrnetError("upload the kernel file first, or choose another kind of blur")
        return f"{self.kernel_file}:{self.kernel_number}" if self.kernel_number else self.kernel_file

    def taps(self) -> np.ndarray:
        """The kernel, kh×kw or kh×kw×3. Raises ``UsrnetError``."""
        return kernel_in_file(self.kernel()) if self.blur == FILE else kernels.parse(self.kernel(), self.scale)

    def kernel_text(self) -> str:
        """The kernel as it is said to people; of a file its name without our folders."""
        return Path(self.kernel()).name if self.blur == FILE else self.kernel()

    def command(self, picture: str) -> str:
        """The command line that does the same to ``picture``; files are named without our folders."""
        words = ["usrnet", "restore", picture, "--scale", str(self.scale), "--kernel", self.kernel_text()]
        words += ["--noise", f"{self.noise_level:g}"]
        model = self.weights()
        if model.startswith(f"{CRISP} "):
            blend = f"usrnet models blend default {CRISP} --t {self.crisp:g} -o crisp.safetensors --overwrite"
            return f"{blend} && {shlex.join([*words, '--model', 'crisp.safetensors'])}"
        if model != "default":
            words += ["--model", Path(model).name]
        return shlex.join(words)

    def observation(self) -> Observation:
        """What these settings say of the picture. Raises ``UsrnetError``."""
        kernel = self.taps() if self.blur == FILE else self.kernel()
        return observe(scale=self.scale, kernel=kernel, noise_level=self.noise_level)


def once(size: int) -> Callable[[Callable[[str], Any]], Callable[[str], Any]]:
    """Functions of which the last ``size`` answers are kept, and which no two threads compute at once."""

    def decorate(function: Callable[[str], Any]) -> Callable[[str], Any]:
        kept, lock = lru_cache(maxsize=size)(function), threading.Lock()

        def call(text: str) -> Any:
            with lock:
                return kept(text)

        return call

    return decorate


def make_restorer(model: str) -> Restorer:
    """A model, ready; ``default-gan 0.7`` is 0.7 of the way from ``default`` to it."""
    name, _, t = model.partition(" ")
    return Restorer(blend("default", CRISP, t=float(t)) if name == CRISP and t else model)


@once(4)
def restorer_of(model: str) -> Restorer:
    """The same, which stays in memory."""
    return make_restorer(model)


def read_kernel(text: str) -> np.ndarray:
    """The kernel that an uploaded file holds, as it is, with notes on what is doubtful. Raises ``UsrnetError``."""
    path, _ = kernels.split_index(text) or (Path(text), None)
    mark_as_used(path)
    limits.check_kernel_file(path)
    kernel = kernels.parse(text)
    limits.check_kernel(path, kernel)
    return kernel


@once(8)
def kernel_in_file(text: str) -> np.ndarray:
    """The same, which stays in memory."""
    return read_kernel(text)


def read_pixels(path: str) -> np.ndarray:
    """The pixels of an uploaded picture, kept while the user plays with it. Raises ``PictureError``."""
    mark_as_used(Path(path))
    return _picture_of(path).pixels


@once(2)
def _picture_of(path: str) -> io.Picture:
    picture = io.read(Path(path), max_pixels=limits.MAX_PIXELS)
    picture.pixels.setflags(write=False)
    return picture


def mark_as_used(path: Path) -> None:
    """An upload or the folder of a result is kept as long again. Raises ``PictureError`` when it is gone."""
    try:
        os.utime(path)
    except FileNotFoundError as error:
        raise PictureError(f"{path}: it is no longer here, files are kept for an hour: choose it again") from error


@dataclass(frozen=True)
class Found:
    """What a picture says: the ``settings`` that undo it, and ``text``, a sentence or several for people."""

    settings: Settings
    text: str


def find(path: str, settings: Settings, folder: Path, *, stop: threading.Event) -> Found:
    """Blur and noise of the whole picture at the scale of ``settings``, of which the others stay.

    At ×1 the kernel of camera shake is looked for where the picture looks shaken; it is written into ``folder``.
    Raises ``Stopped`` soon after ``stop`` is set.
    """
    from usrnet.estimate import estimate_parts, noise_to_feed, parts_of

    def watch() -> None:
        if stop.is_set():
            raise Stopped

    pixels, picture = read_pixels(path), _picture_of(path)
    found = estimate_parts(
        parts_of(pixels),
        scale=settings.scale,
        jpeg=picture.metadata.jpeg,
        curve=choose_curve("auto", **picture.metadata.storage),
        shake="auto",
        watch=watch,
    )
    chosen = replace(settings, noise_level=round(min(noise_to_feed(found.noise_level), 50), 1))
    if found.text is None:
        file = Path(tempfile.mkdtemp(dir=folder)) / "shake.npy"
        np.save(file, found.kernel)
        return Found(replace(chosen, blur=FILE, kernel_file=str(file), kernel_number=None), str(found))
    major, minor = (float(np.clip(width, *WIDTHS)) for width in found.widths)
    if found.text == "delta":
        major = minor = WIDTHS[0]
    chosen = replace(
        chosen,
        blur=BICUBIC if found.text == "bicubic" else GAUSSIAN,
        width=round(major, 2),
        ratio=round(max(minor / major, 0.1), 2),
        degrees=round(found.degrees),
    )
    return Found(chosen, str(found))


def draw_kernel(settings: Settings, side: int = 160) -> np.ndarray:
    """The kernel as a picture ``side``×``side`` uint8: white is the largest tap."""
    drawn = drawing.draw_kernel(settings.taps())
    square = np.zeros((max(drawn.shape),) * 2, np.uint8)
    top, left = ((len(square) - length) // 2 for length in drawn.shape)
    square[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
    index = np.arange(side) * len(square) // side
    return square[np.ix_(index, index)]


def crop_of(height: int, width: int, x: float, y: float) -> tuple[int, int, int, int]:
    """Top, left, height and width of the previewed part whose centre is ``x``, ``y`` (in %), moved inside."""

    def place(length: int, at: float) -> tuple[int, int]:
        side = min(PREVIEW, length)
        return round(min(max(length * at / 100 - side / 2, 0), length - side)), side

    (top, h), (left, w) = place(height, y), place(width, x)
    return top, left, h, w


def preview(path: str, settings: Settings, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
    """The chosen part enlarged pixel by pixel, and restored: both uint8 of one size."""
    pixels = read_pixels(path)
    top, left, height, width = crop_of(pixels.shape[0], pixels.shape[1], x, y)
    before = pixels[top : top + height, left : left + width]
    observation = settings.observation().stored_as(**_picture_of(path).metadata.storage)
    after = restorer_of(settings.weights()).crop(pixels, observation, top=top, left=left, height=height, width=width)
    return to_8bit(io.enlarge_nearest(before, settings.scale)), to_8bit(after)


def to_8bit(pixels: np.ndarray) -> np.ndarray:
    """Any picture as H×W×3 or H×W×4 uint8, for the screen."""
    planes = io.split(pixels)
    colour = np.repeat(planes.colour, 3, axis=-1) if planes.colour.shape[-1] == 1 else planes.colour
    return io.join(colour, planes.alpha, like=np.empty(0, np.uint8))


def overview_size(path: str, longest: int = 900) -> tuple[int, int]:
    """Width and height of the overview, which is at most ``longest`` pixels long."""
    height, width = read_pixels(path).shape[:2]
    shrink = min(1.0, longest / max(height, width))
    return max(1, round(width * shrink)), max(1, round(height * shrink))


def overview(path: str, x: float, y: float) -> np.ndarray:
    """The whole picture, reduced, with a frame around the previewed part; H×W×3 uint8."""
    from PIL import Image

    pixels = read_pixels(path)
    height, width = pixels.shape[:2]
    size = overview_size(path)
    shrink = max(size) / max(height, width)
    shown = np.asarray(Image.fromarray(to_8bit(pixels)[..., :3]).resize(size, Image.Resampling.BILINEAR)).copy()
    top, left, h, w = (round(shrink * value) for value in crop_of(height, width, x, y))
    for inset, colour in ((0, 255), (1, 255), (2, 0)):
        a, b = top + inset, min(top + h, shown.shape[0]) - 1 - inset
        c, d = left + inset, min(left + w, shown.shape[1]) - 1 - inset
        if a < b and c < d:
            shown[[a, b], c : d + 1] = colour
            shown[a : b + 1, [c, d]] = colour
    return shown


class Screen:
    """A picture of ``height``×``width`` pixels reduced for the screen while its strips go by.

    Blocks of n×n pixels become their mean; what does not fill a block at the right and the bottom is left out.
    """

    def __init__(self, height: int, width: int) -> None:
        n = max(1, max(height, width) // limits.SCREEN_SIDE)
        self.block = min(n, height), min(n, width)
        self._rows: list[np.ndarray] = []

    def watch(self, strips: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The strips as they are, seen on their way."""
        self._rows = []
        rest: np.ndarray | None = None
        band = 64 * self.block[0]
        for strip in strips:
            waiting = strip if rest is None else np.concatenate([rest, strip])
            whole = len(waiting) // self.block[0] * self.block[0]
            self._rows += [self._reduced(waiting[top : min(top + band, whole)]) for top in range(0, whole, band)]
            rest = waiting[whole:].copy()
            del waiting
            yield strip

    def _reduced(self, rows: np.ndarray) -> np.ndarray:
        (n, m), (height, width) = self.block, rows.shape[:2]
        blocks = rows[:, : width // m * m].reshape(height // n, n, width // m, m, *rows.shape[2:])
        means = blocks.mean(axis=(1, 3), dtype=np.float32)
        return (means if rows.dtype.kind == "f" else means.round()).astype(rows.dtype)

    def picture(self) -> np.ndarray:
        """H×W×3 or H×W×4 uint8, no longer than a screen needs."""
        from PIL import Image

        shown = Image.fromarray(to_8bit(np.concatenate(self._rows)))
        shown.thumbnail((limits.SCREEN_SIDE, limits.SCREEN_SIDE))
        return np.asarray(shown)


def restore_all(
    path: str,
    settings: Settings,
    folder: Path,
    *,
    stop: threading.Event,
    progress: Callable[[int, int], object],
) -> tuple[np.ndarray, np.ndarray, Path]:
    """Restore the whole picture into ``folder``, in the input's bit depth: the file that ``usrnet restore`` writes.

    Returns the picture before and after, for the screen, and the file. Raises ``Stopped`` after the current
    iteration of a tile when ``stop`` is set, ``UsrnetError`` for what cannot be restored.
    """
    mark_as_used(Path(path))
    recipe = Recipe.of_settings(settings.scale, settings.kernel(), settings.noise_level, settings.weights())
    (job,) = plan_jobs([(Path(path), Path(path).parent)], folder, recipe)
    assert isinstance(job.target, Path)
    if settings.blur == FILE:
        read_kernel(settings.kernel())  # its notes were for who uploaded it first
    observation = settings.observation()
    pixels, s = read_pixels(path), settings.scale
    before, after = (Screen(s * pixels.shape[0], s * pixels.shape[1]) for _ in range(2))

    def step(done: int, total: int) -> None:
        if stop.is_set():
            raise Stopped
        mark_as_used(folder)
        progress(done, total)

    restore_file(
        restorer_of(settings.weights()), job.source, job.target, observation,
        provenance=job.recipe.text(), max_pixels=limits.MAX_PIXELS, watch=after.watch, progress=step,
    )  # fmt: skip
    bands = (pixels[top : top + 64] for top in range(0, len(pixels), 64))
    for _ in before.watch(io.enlarge_nearest(band, s) for band in bands):
        pass
    return before.picture(), after.picture(), job.target
