"""The main job: picture + kernel + noise → picture.

The picture is extended so that it wraps around, restored by the model, and cropped; large pictures tile by
tile. Grey pictures stay grey, alpha is enlarged by itself, and the answer is of the kind of the question.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor, nn

from usrnet import io as pictures
from usrnet import kernels
from usrnet.degradation import check_noise_level, check_scale
from usrnet.device import REDUCED, best_precision, choose_device, free_memory
from usrnet.errors import UsrnetError
from usrnet.restoration.borders import extend, extended_length, extrapolate
from usrnet.restoration.packed import pack
from usrnet.restoration.tiles import spans
from usrnet.weights import load

if TYPE_CHECKING:
    from PIL.Image import Image

AnyImage = TypeVar("AnyImage", np.ndarray, "Image")
Boundary = Literal["extrapolate", "liu-jia", "circular"]
Progress = Callable[[int, int], None]  # called with the number of tiles done and the number of all
DEFAULT_WIDTHS = {1: 0.4, 2: 0.7, 3: 1.5, 4: 2.0}
"""Gaussian widths (in high-resolution pixels) that suit clean photos, by scale (the published choice)."""
DEFAULT_NOISE_LEVEL = 2.0
TILE_BYTES = 1e9  # memory that an automatic tile, and the strip of rows it lies in, may each take at most …
TILE_SHARE = 0.25  # … and of the free memory
SMALLEST_TILE, LARGEST_TILE = 256, 1440  # sides in enlarged pixels; larger ones leave the caches and are slower
STRIP_ROWS = 256  # rows that are converted to the pixels of the result at once
ROOM = 8  # enlarged pixels beyond a picture, in addition to the kernel's extent; with none 0.2 dB are lost at worst
HALO_OUTPUT = 56  # context that the prior looks at, in enlarged pixels; measured in benchmarks/tiles.py


def default_kernel(scale: int) -> str:
    """The text of the kernel that is used when none is given."""
    return f"gaussian:{DEFAULT_WIDTHS[check_scale(scale)]}"


def restore(
    image: AnyImage,
    *,
    model: nn.Module | str = "default",
    scale: int = 2,
    kernel: np.ndarray | str | None = None,
    noise_level: float = DEFAULT_NOISE_LEVEL,
    tile: int | str = "auto",
    precision: str = "auto",
    device: str = "auto",
    progress: Progress | None = None,
) -> AnyImage:
    """Deblur and enlarge a picture.

    ``image``: a PIL image or an array H×W, H×W×3 or H×W×4, uint8, uint16 or float in [0,1]; the answer is of
    the same kind, sH×sW. ``model``: a model or a name or file for ``load``. ``kernel``: kh×kw (or kh×kw×3, one
    per channel) or a text such as ``"gaussian:1.6"``, which is parsed together with the scale; an array is taken
    as it is. ``noise_level``: the noise's standard deviation on the 0–255 scale. ``tile``: ``"auto"`` bounds the
    memory, ``"off"`` restores at once, a number is the side of a tile in pixels of ``image``. ``precision``:
    ``"fp32"``, ``"bf16"`` or ``"fp16"`` (the inner layers of the prior in 16 bits), or ``"auto"``: bf16 where the
    hardware has it natively, else fp16 on a GPU and fp32 on a CPU. ``device``: ``"auto"``, ``"cpu"`` or ``"cuda"``;
    a model that is given stays where it is when ``"auto"``.

    Raises ``UsrnetError`` for arguments that make no sense.
    """
    source = pictures.from_any(image)
    restorer = Restorer(
        model,
        scale=scale,
        kernel=kernel,
        noise_level=noise_level,
        tile=tile,
        precision=precision,
        device=device,
    )
    return pictures.to_any(restorer(source.pixels, progress=progress), like=image)


@contextmanager
def inference(device: torch.device, reduced: torch.dtype | None) -> Iterator[None]:
    """No gradients; the inner layers of the prior in ``reduced``, if given, and everything else in float32."""
    with torch.inference_mode(), torch.autocast(device.type, reduced, enabled=reduced is not None):
        yield


class Rows(Protocol):
    """What can be read by rows: an array, or a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


class Restorer:
    """One model with one kernel and noise level, ready for any number of pictures; arguments as ``restore``.

    ``boundary``: ``"extrapolate"``; ``"liu-jia"``, as in the published code; or ``"circular"``: the pictures wrap
    around, as in the paper's experiments, and are not extended.
    """

    def __init__(
        self,
        model: nn.Module | str = "default",
        *,
        scale: int = 2,
        kernel: np.ndarray | str | None = None,
        noise_level: float = DEFAULT_NOISE_LEVEL,
        tile: int | str = "auto",
        precision: str = "auto",
        device: str = "auto",
        boundary: Boundary = "extrapolate",
    ) -> None:
        self.boundary = boundary
        self.scale = check_scale(scale)
        self.noise_level = check_noise_level(noise_level)
        self.tile = _check_tile(tile)
        if precision != "auto" and precision not in REDUCED:
            raise UsrnetError(f"precision {precision!r} is not known: choose auto, {', '.join(REDUCED)}")
        if boundary not in get_args(Boundary):
            raise UsrnetError(f"boundary {boundary!r} is not known: choose {', '.join(get_args(Boundary))}")
        taps = kernels.resolve(default_kernel(scale) if kernel is None else kernel, scale=self.scale)
        given = None if isinstance(model, str) else next(model.parameters(), None)
        self.device = given.device if given is not None and device == "auto" else choose_device(device)
        self.precision = best_precision(self.device) if precision == "auto" else precision
        network = load(model) if isinstance(model, str) else model
        self.model = network.to(self.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        packed = None if self.precision == "fp16" else pack(self.model, REDUCED[self.precision] or torch.float32)
        self.autocast = None if packed else REDUCED[self.precision]
        self._bytes_per_pixel = _bytes_per_pixel(network, 2 if packed and self.precision == "bf16" else 4)
        self.model = packed or self.model
        self.extent = kernels.extent(taps)
        self.taps = torch.from_numpy(taps).to(self.device, torch.float32)[None]

    def __call__(self, pixels: np.ndarray, *, progress: Progress | None = None) -> np.ndarray:
        """Restore an array H×W, H×W×2, H×W×3 or H×W×4 (grey or colour, with or without alpha)."""
        height, width = (self.scale * length for length in pixels.shape[:2])
        result = np.empty((height, width, *pixels.shape[2:]), pixels.dtype)
        top = 0
        for strip in self.strips(pixels, progress=progress):
            result[top : top + len(strip)] = strip
            top += len(strip)
        return result

    def strips(self, source: Rows, *, progress: Progress | None = None) -> Iterator[np.ndarray]:
        """The result from top to bottom, in strips of rows; of ``source`` no more is read than a strip needs.

        What is kept in memory grows with the width of the picture, not with its height.
        """
        height, width = source.shape[:2]
        s = self.scale
        channels = 3 if len(source.shape) == 3 and source.shape[2] >= 3 else 1
        tile = self._tile(height, width, channels)
        rows, columns = (
            spans(length, side, self._halo(), self._grid())
            for length, side in zip((height, width), tile, strict=True)
        )
        done, total = 0, len(rows) * len(columns)
        overlap = np.zeros((0, s * width, channels), np.float32)
        for row, following in zip_longest(rows, rows[1:]):
            pixels = source[row.first : row.last]
            planes = pictures.split(pixels)
            colour = planes.colour if planes.alpha is None else pictures.bleed(planes.colour, planes.alpha)
            whole = torch.from_numpy(np.ascontiguousarray(colour.transpose(2, 0, 1)))
            strip = np.zeros((s * (row.stop - row.start), s * width, channels), np.float32)
            strip[: len(overlap)] = overlap
            for column in columns:
                if progress:
                    progress(done, total)
                window = whole[:, :, column.first : column.last].expand(3, -1, -1)
                restored = self._window(window)
                if channels == 1:
                    restored = restored.mean(dim=0, keepdim=True)
                target = strip[:, s * column.start : s * column.stop]
                top, left = s * (row.start - row.first), s * (column.start - column.first)
                part = restored[:, top : top + target.shape[0], left : left + target.shape[1]]
                weights = row.weights(s)[:, None] * column.weights(s)
                target += weights[..., None] * part.permute(1, 2, 0).cpu().numpy()
                done += 1
            final = len(strip) if following is None else s * (following.start - row.start)
            alpha = None
            if planes.alpha is not None:
                alpha = pictures.upscale_alpha(planes.alpha, s)[s * (row.start - row.first) :]
            for top in range(0, final, STRIP_ROWS):
                band = slice(top, min(top + STRIP_ROWS, final))
                yield pictures.join(strip[band], None if alpha is None else alpha[band], like=pixels)
            overlap = strip[final:].copy()
            del strip, alpha, pixels, planes, colour, whole  # or two strips would be in memory
        if progress:
            progress(total, total)

    def crop(self, pixels: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
        """The part of the result that lies on a part of ``pixels``, computed with no more than it depends on.

        ``top``, ``left``, ``height``, ``width`` are in pixels of the input and inside it.
        """
        s, grid, halo = self.scale, self._grid(), self._halo()
        first = [max(0, start - halo) // grid * grid for start in (top, left)]
        part = pixels[first[0] : top + height + halo, first[1] : left + width + halo]
        y, x = s * (top - first[0]), s * (left - first[1])
        return self(part)[y : y + s * height, x : x + s * width]

    def _grid(self) -> int:
        """Windows start at multiples of this: the prior's blocks are 8×8 enlarged pixels."""
        return 8 // math.gcd(8, self.scale)

    def _halo(self) -> int:
        """A deconvolved pixel leans on about twice the kernel's reach, and the prior on what surrounds that."""
        return math.ceil((max(self.extent) + HALO_OUTPUT) / self.scale)

    def _tile(self, height: int, width: int, channels: int) -> tuple[int, int]:
        """Rows and columns of a tile, in pixels of the input."""
        s = self.scale
        if self.tile == "off":
            return height, width
        if self.tile != "auto":
            return int(self.tile), int(self.tile)
        budget = min(TILE_BYTES, TILE_SHARE * free_memory(self.device))
        side = min(max(SMALLEST_TILE, math.isqrt(int(budget / self._bytes_per_pixel))), LARGEST_TILE)
        if s * height * s * width <= side**2:
            return height, width
        rows = max(SMALLEST_TILE, int(budget / (8 * channels * s * width)))  # in float32, read and restored
        return min(side, rows) // s, side // s

    def iterations(self, pixels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Inside the unfolding: ``(z_k, x_k)`` for k = 1..K, float32 sH×sW×3, not clipped, without tiles."""
        colour = pictures.split(pixels).colour
        window = torch.from_numpy(np.repeat(colour, 3, -1) if colour.shape[-1] == 1 else colour).permute(2, 0, 1)
        h, w = (self.scale * length for length in window.shape[-2:])
        with inference(self.device, self.autocast):
            for pair in self.model.iterate(*self._observe(window)):  # pyright: ignore[reportCallIssue]
                z, x = (part[0, :, :h, :w].permute(1, 2, 0).cpu().numpy() for part in pair)
                yield z, x

    def _window(self, window: Tensor) -> Tensor:
        """Extend, restore and crop one window: 3×h×w → 3×sh×sw, float32."""
        h, w = (self.scale * length for length in window.shape[-2:])
        with inference(self.device, self.autocast):
            return self.model(*self._observe(window))[0, :, :h, :w]

    def _observe(self, window: Tensor) -> tuple[Tensor, Tensor, int, Tensor]:
        """What the model is called with: the extended window, kernel, scale and σ."""
        sigma = self.noise_level / 255
        # The sine transforms lose digits in float32 where the patches are long.
        y = window.to(self.device, torch.float64)[None]
        gaps = self.taps.shape[-2:] if self.boundary == "liu-jia" else [side + ROOM for side in self.extent]
        height, width = (
            extended_length(n, max(gap, side - self.scale * n), self.scale)  # the whole kernel must fit
            for n, gap, side in zip(y.shape[-2:], gaps, self.taps.shape[-2:], strict=True)
        )
        if self.boundary == "extrapolate":
            y = extrapolate(y, self.taps, self.scale, sigma, height, width)
        elif self.boundary == "liu-jia":
            y = extend(y, height, width)
        y = y.float()
        return y, self.taps, self.scale, y.new_full((1, 1, 1, 1), sigma)


def _bytes_per_pixel(network: nn.Module, itemsize: int) -> float:
    """The memory that restoring takes for each enlarged pixel, as measured (``usrnet bench``)."""
    config = getattr(network, "config", None)
    channels = config.channels[0] if config else 16
    return 4.5 * channels * itemsize + 40  # feature maps of the first level; estimate, gradient term and spectra


def _check_tile(tile: int | str) -> int | str:
    if tile in ("auto", "off"):
        return tile
    try:
        side = int(tile)
    except ValueError as error:
        raise UsrnetError(f"tile {tile!r} is not auto, off or a number of pixels") from error
    if side < 16:
        raise UsrnetError(f"tile {side} is too small: use at least 16 pixels, or auto")
    return side
