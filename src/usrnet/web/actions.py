"""What the page does, without the page: from its controls to kernels, previews, results and the command line."""

import shlex
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from usrnet import io, kernels
from usrnet.errors import UsrnetError
from usrnet.figures import drawing
from usrnet.restoration import Observation, Restorer, observe, restore_file
from usrnet.restoration.jobs import Recipe, plan_jobs

PREVIEW = 128  # side of the previewed part, in pixels of the input
MAX_PIXELS = 24_000_000
GAUSSIAN, SHAKE, BICUBIC, FILE = BLURS = (
    "soft (Gaussian)",
    "camera shake",
    "bicubic shrinking",
    "my own kernel file",
)


@dataclass(frozen=True)
class Settings:
    """The controls: ``width`` and ``ratio`` (second to first width), ``degrees`` of a Gaussian, or another blur."""

    scale: int = 2
    width: float = 0.7
    noise_level: float = 2.0
    blur: str = GAUSSIAN
    ratio: float = 1.0
    degrees: float = 0.0
    seed: int = 0
    kernel_file: str | None = None
    model: str = "default"

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
        return self.kernel_file

    def kernel_text(self) -> str:
        """The kernel as it is said to people; of a file its name without our folders."""
        return Path(self.kernel()).name if self.blur == FILE else self.kernel()

    def command(self, picture: str) -> str:
        """The command line that does the same to ``picture``."""
        words = ["usrnet", "restore", picture, "--scale", str(self.scale), "--kernel", self.kernel_text()]
        words += ["--noise", f"{self.noise_level:g}"]
        if self.model != "default":
            words += ["--model", self.model]
        return shlex.join(words)

    def observation(self) -> Observation:
        """What these settings say of the picture. Raises ``UsrnetError``."""
        return observe(scale=self.scale, kernel=self.kernel(), noise_level=self.noise_level)


@lru_cache(maxsize=4)
def restorer_of(model: str) -> Restorer:
    """A model that stays in memory, ready."""
    return Restorer(model)


@lru_cache(maxsize=2)
def read_pixels(path: str) -> np.ndarray:
    """The pixels of an uploaded picture, kept while the user plays with it. Raises ``PictureError``."""
    pixels = io.read(Path(path), max_pixels=MAX_PIXELS).pixels
    pixels.setflags(write=False)
    return pixels


def draw_kernel(settings: Settings, side: int = 160) -> np.ndarray:
    """The kernel as a picture ``side``×``side`` uint8: white is the largest tap."""
    drawn = drawing.draw_kernel(kernels.parse(settings.kernel(), settings.scale))
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
    after = restorer_of(settings.model).crop(
        pixels, settings.observation(), top=top, left=left, height=height, width=width
    )
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


class Stopped(Exception):  # noqa: N818, nothing went wrong
    """The user has cancelled, or has gone."""


def restore_all(
    path: str,
    settings: Settings,
    folder: Path,
    *,
    stop: threading.Event,
    progress: Callable[[int, int], object],
) -> Path:
    """Restore the whole picture into ``folder``, in the input's bit depth: the file that ``usrnet restore`` writes.

    Raises ``Stopped`` between two tiles after ``stop`` is set, ``UsrnetError`` for what cannot be restored.
    """
    recipe = Recipe.of_settings(settings.scale, settings.kernel(), settings.noise_level, settings.model)
    (job,) = plan_jobs([(Path(path), Path(path).parent)], folder, recipe)
    assert isinstance(job.target, Path)

    def step(done: int, total: int) -> None:
        if stop.is_set():
            raise Stopped
        progress(done, total)

    restore_file(
        restorer_of(settings.model), job.source, job.target, settings.observation(),
        provenance=job.recipe.text(), max_pixels=MAX_PIXELS, progress=step,
    )  # fmt: skip
    return job.target


def result_for_screen(path: Path, longest: int = 2000) -> np.ndarray:
    """A result as uint8 no larger than a screen needs."""
    from PIL import Image

    shown = Image.fromarray(to_8bit(io.read(path).pixels))
    shown.thumbnail((longest, longest))
    return np.asarray(shown)
