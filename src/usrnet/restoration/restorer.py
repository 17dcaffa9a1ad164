"""The main job: picture + kernel + noise → picture.

The picture is extended so that it wraps around, restored by the model, and cropped; large pictures tile by
tile. Grey pictures stay grey, alpha is enlarged by itself, and the answer is of the kind of the question.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor, nn

from usrnet import io as pictures
from usrnet.device import REDUCED, choose_device, choose_precision, free_memory, is_out_of_memory
from usrnet.errors import PictureError, UsrnetError
from usrnet.estimate.jpeg import jpeg_of
from usrnet.model import Config
from usrnet.restoration.borders import extend, extended_length, extrapolate
from usrnet.restoration.observation import DEFAULT_NOISE_LEVEL, Observation
from usrnet.restoration.packed import pack
from usrnet.restoration.tiles import Span, spans
from usrnet.restoration.unknown import ask, settle
from usrnet.weights import load

if TYPE_CHECKING:
    from PIL.Image import Image

AnyImage = TypeVar("AnyImage", np.ndarray, "Image")
Result = TypeVar("Result")
Boundary = Literal["extrapolate", "liu-jia", "circular"]
Progress = Callable[[int, int], None]  # called with the number of tiles done and the number of all

TILE_BYTES = 1e9  # memory that an automatic tile, and the strip of rows it lies in, may each take at most …
TILE_SHARE = 0.25  # … and of the free memory
SMALLEST_TILE, LARGEST_TILE = 256, 1440  # sides in enlarged pixels; larger ones leave the caches and are slower
STRIP_ROWS = 256  # rows that are converted to the pixels of the result at once
ROOM = 8  # enlarged pixels beyond a picture, in addition to the kernel's extent; with none 0.2 dB are lost at worst
HALO_OUTPUT = 56  # context that the prior looks at, in enlarged pixels; measured in benchmarks/tiles.py


def restore(
    image: AnyImage,
    *,
    model: nn.Module | str = "default",
    scale: int = 2,
    kernel: np.ndarray | str | None = None,
    noise_level: float | str = DEFAULT_NOISE_LEVEL,
    tile: int | str = "auto",
    precision: str = "auto",
    device: str = "auto",
    progress: Progress | None = None,
) -> AnyImage:
    """Deblur and enlarge a picture.

    ``image``: a PIL image or an array H×W, H×W×3 or H×W×4, uint8, uint16 or float in [0,1]; the answer is of
    the same kind, sH×sW. ``model``: a model or a name or file for ``load``. ``kernel``: kh×kw (or kh×kw×3, one
    per channel) or a text such as ``"gaussian:1.6"``, which is parsed together with the scale; an array is taken
    as it is. ``noise_level``: the noise's standard deviation on the 0–255 scale. Either may be ``"auto"``: found in
    the picture, see :func:`usrnet.estimate`. ``tile``: ``"auto"`` bounds the
    memory, ``"off"`` restores at once, a number is the side of a tile in pixels of ``image``. ``precision``:
    ``"fp32"``, ``"bf16"`` or ``"fp16"`` (the inner layers of the prior in 16 bits), or ``"auto"``: bf16 where the
    hardware has it natively, else fp16 on a GPU and fp32 on a CPU. ``device``: ``"auto"``, ``"cpu"`` or ``"cuda"``;
    a model that is given stays where it is when ``"auto"``. For more than one picture make a :class:`Restorer`.

    Raises ``UsrnetError`` for arguments that make no sense.
    """
    restorer = Restorer(model, tile=tile, precision=precision, device=device)
    return restorer(image, scale=scale, kernel=kernel, noise_level=noise_level, progress=progress)


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
    """A model that is loaded and made ready once, for any number of pictures; arguments as :func:`restore`.

    ``boundary``: ``"extrapolate"``; ``"liu-jia"``, as in the published code; or ``"circular"``: the pictures wrap
    around, as in the paper's experiments, and are not extended. A model that is given is copied: it is not changed,
    and later changes of it are not seen. Several threads may call one restorer.
    """

    def __init__(
        self,
        model: nn.Module | str = "default",
        *,
        device: str = "auto",
        precision: str = "auto",
        tile: int | str = "auto",
        boundary: Boundary = "extrapolate",
    ) -> None:
        if boundary not in get_args(Boundary):
            raise UsrnetError(f"boundary {boundary!r} is not known: choose {', '.join(get_args(Boundary))}")
        self.boundary = boundary
        self.tile = _check_tile(tile)
        given = None if isinstance(model, str) else next(model.parameters(), None)
        self.device = given.device if given is not None and device == "auto" else choose_device(device)
        self.precision = choose_precision(precision, self.device)
        network = load(model) if isinstance(model, str) else deepcopy(model)
        self.network = network.to(self.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        packed = None if self.precision == "fp16" else pack(self.network, REDUCED[self.precision] or torch.float32)
        self.model = packed or self.network
        self.autocast = None if packed else REDUCED[self.precision]
        self._bytes_per_pixel = _bytes_per_pixel(network, 2 if packed and self.precision == "bf16" else 4)

    def __call__(
        self,
        image: AnyImage,
        *,
        scale: int = 2,
        kernel: np.ndarray | str | None = None,
        noise_level: float | str = DEFAULT_NOISE_LEVEL,
        progress: Progress | None = None,
    ) -> AnyImage:
        """Restore one picture; ``image``, ``scale``, ``kernel`` and ``noise_level`` as for :func:`restore`."""
        known = ask(scale=scale, kernel=kernel, noise_level=noise_level)
        source = pictures.from_any(image)
        observation, _ = settle(known, source.pixels, jpeg_of(image))
        return pictures.to_any(self.restore(source.pixels, observation, progress=progress), like=image)

    def restore(
        self, pixels: np.ndarray, observation: Observation, *, progress: Progress | None = None
    ) -> np.ndarray:
        """Restore an array H×W, H×W×2, H×W×3 or H×W×4 (grey or colour, with or without alpha).

        Raises ``PictureError`` when the memory does not suffice or what comes out is not finite.
        """
        height, width = (observation.scale * length for length in pixels.shape[:2])

        def attempt(tile: int | str) -> np.ndarray:
            result = np.empty((height, width, *pixels.shape[2:]), pixels.dtype)
            top = 0
            for strip in self.strips(pixels, observation, tile=tile, progress=progress):
                result[top : top + len(strip)] = strip
                top += len(strip)
            return result

        return self.within_memory(attempt, pixels.shape, observation)

    def within_memory(
        self, attempt: Callable[[int | str], Result], shape: tuple[int, ...], observation: Observation
    ) -> Result:
        """What ``attempt(tile)`` gives; where memory runs out, once more with tiles of half the side.

        ``shape``: of the picture. Raises ``PictureError`` when it runs out again.
        """
        try:
            return attempt(self.tile)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler, whose traceback would keep alive all that was allocated.
        height, width, s = *shape[:2], observation.scale
        tried, auto = (self._tile(height, width, 3, s, tile) for tile in (self.tile, "auto"))
        smaller = max(SMALLEST_TILE // 2 // s, min(*(side // 2 for side in tried), *auto))
        try:
            return attempt(smaller)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise PictureError(
                f"not enough memory for {width}×{height} pixels at ×{s}, even in tiles of "
                f"{smaller}: close other programs, or give a smaller --tile"
            ) from error

    def strips(
        self,
        source: Rows,
        observation: Observation,
        *,
        tile: int | str | None = None,
        progress: Progress | None = None,
    ) -> Iterator[np.ndarray]:
        """The result from top to bottom, in strips of rows; of ``source`` no more is read than a strip needs.

        What is kept in memory grows with the width of the picture, not with its height. ``tile``: in place of the
        restorer's own.
        """
        height, width = source.shape[:2]
        s = observation.scale
        channels = 3 if len(source.shape) == 3 and source.shape[2] >= 3 else 1
        sides = self._tile(height, width, channels, s, tile)
        rows, columns = (
            spans(length, side, _halo(observation), _grid(s))
            for length, side in zip((height, width), sides, strict=True)
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
                _blend(strip, self._window(window, observation), row, column, s)
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

    def crop(
        self, pixels: np.ndarray, observation: Observation, *, top: int, left: int, height: int, width: int
    ) -> np.ndarray:
        """The part of the result that lies on a part of ``pixels``, computed with no more than it depends on.

        ``top``, ``left``, ``height``, ``width`` are in pixels of the input and inside it.
        """
        s, halo = observation.scale, _halo(observation)
        first = [max(0, start - halo) // _grid(s) * _grid(s) for start in (top, left)]
        part = pixels[first[0] : top + height + halo, first[1] : left + width + halo]
        y, x = s * (top - first[0]), s * (left - first[1])
        return self.restore(part, observation)[y : y + s * height, x : x + s * width]

    def iterations(self, pixels: np.ndarray, observation: Observation) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Inside the unfolding: ``(z_k, x_k)`` for k = 1..K, float32 sH×sW×3, not clipped, without tiles."""
        colour = pictures.split(pixels).colour
        window = torch.from_numpy(np.repeat(colour, 3, -1) if colour.shape[-1] == 1 else colour).permute(2, 0, 1)
        h, w = (observation.scale * length for length in window.shape[-2:])
        with inference(self.device, self.autocast):
            arguments = self._arguments(window, observation)
            for pair in self.model.iterate(*arguments):  # pyright: ignore[reportCallIssue]
                z, x = (part[0, :, :h, :w].permute(1, 2, 0).cpu().numpy() for part in pair)
                yield z, x

    def _window(self, window: Tensor, observation: Observation) -> Tensor:
        """Extend, restore and crop one window: 3×h×w → 3×sh×sw, float32 and finite."""
        h, w = (observation.scale * length for length in window.shape[-2:])
        with inference(self.device, self.autocast):
            arguments = self._arguments(window, observation)
            restored = self.model(*arguments)[0, :, :h, :w]
            if not restored.isfinite().all() and self.precision != "fp32":
                with torch.autocast(self.device.type, enabled=False):
                    restored = self._exact(*arguments)[0, :, :h, :w]
        if not restored.isfinite().all():
            raise PictureError(
                "the result is not finite (NaN or infinity), so it is not written: this kernel, noise level and "
                "model do not go together; try a higher noise level"
            )
        return restored

    @cached_property
    def _exact(self) -> nn.Module:
        """The model in float32, for what 16 bits could not hold."""
        return pack(self.network, torch.float32) or self.network

    def _arguments(self, window: Tensor, observation: Observation) -> tuple[Tensor, Tensor, int, Tensor]:
        """What the model is called with: the extended window, kernel, scale and σ."""
        sigma, scale = observation.noise_level / 255, observation.scale
        taps = torch.from_numpy(observation.taps).to(self.device, torch.float32)[None]
        # The sine transforms lose digits in float32 where the patches are long.
        y = window.to(self.device, torch.float64)[None]
        gaps = taps.shape[-2:] if self.boundary == "liu-jia" else [side + ROOM for side in observation.extent]
        height, width = (
            extended_length(n, max(gap, side - scale * n), scale)  # the whole kernel must fit
            for n, gap, side in zip(y.shape[-2:], gaps, taps.shape[-2:], strict=True)
        )
        if self.boundary == "extrapolate":
            y = extrapolate(y, taps, scale, sigma, height, width)
        elif self.boundary == "liu-jia":
            y = extend(y, height, width)
        y = y.float()
        return y, taps, scale, y.new_full((1, 1, 1, 1), sigma)

    def _tile(
        self, height: int, width: int, channels: int, scale: int, tile: int | str | None = None
    ) -> tuple[int, int]:
        """Rows and columns of a tile, in pixels of the input."""
        tile = self.tile if tile is None else tile
        if tile == "off":
            return height, width
        if tile != "auto":
            return int(tile), int(tile)
        budget = min(TILE_BYTES, TILE_SHARE * free_memory(self.device))
        side = min(max(SMALLEST_TILE, math.isqrt(int(budget / self._bytes_per_pixel))), LARGEST_TILE)
        if scale * height * scale * width <= side**2:
            return height, width
        rows = max(SMALLEST_TILE, int(budget / (8 * channels * scale * width)))  # in float32, read and restored
        return min(side, rows) // scale, side // scale


def _grid(scale: int) -> int:
    """Windows start at multiples of this: the prior's blocks are 8×8 enlarged pixels."""
    return 8 // math.gcd(8, scale)


def _halo(observation: Observation) -> int:
    """A deconvolved pixel leans on about twice the kernel's reach, and the prior on what surrounds that."""
    return math.ceil((max(observation.extent) + HALO_OUTPUT) / observation.scale)


def _blend(strip: np.ndarray, restored: Tensor, row: Span, column: Span, scale: int) -> None:
    """Add a restored window 3×h×w to the strip it lies in, fading into its neighbours."""
    if strip.shape[-1] == 1:
        restored = restored.mean(dim=0, keepdim=True)
    target = strip[:, scale * column.start : scale * column.stop]
    top, left = scale * (row.start - row.first), scale * (column.start - column.first)
    part = restored[:, top : top + target.shape[0], left : left + target.shape[1]]
    weights = row.weights(scale)[:, None] * column.weights(scale)
    target += weights[..., None] * part.permute(1, 2, 0).cpu().numpy()


def _bytes_per_pixel(network: nn.Module, itemsize: int) -> float:
    """The memory that restoring takes for each enlarged pixel, as measured (``usrnet bench``)."""
    config: Config | None = getattr(network, "config", None)
    channels = config.channels[0] if config else 16
    carried = 4 * channels if config and config.carry else 0
    # Feature maps of the first level, and those carried on; estimate, gradient term and spectra.
    return 4.5 * channels * itemsize + carried + 40


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
