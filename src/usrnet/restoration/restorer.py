"""The main job: picture + kernel + noise → picture.

The picture is extended so that it wraps around, restored by the model, and cropped; large pictures tile by
tile. Grey pictures stay grey, alpha is enlarged by itself, and the answer is of the kind of the question.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property
from itertools import zip_longest
from numbers import Real
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from usrnet import io as pictures
from usrnet.device import REDUCED, choose_device, choose_precision, free_memory, is_out_of_memory
from usrnet.errors import PictureError, UsrnetError
from usrnet.kernels import Field
from usrnet.model import Config, Unfolding, USRNet
from usrnet.restoration.borders import extend, extended_length, extrapolate
from usrnet.restoration.flat import flatness, flatten
from usrnet.restoration.highlights import Brightness, Highlights, take_out
from usrnet.restoration.light import Light
from usrnet.restoration.noise import Poisson
from usrnet.restoration.observation import DEFAULT_NOISE_LEVEL, Observation
from usrnet.restoration.packed import pack
from usrnet.restoration.symmetry import SYMMETRIES
from usrnet.restoration.tiles import SEAM, Span, spans
from usrnet.restoration.unknown import ask, settle
from usrnet.weights import load

if TYPE_CHECKING:
    from PIL.Image import Image

AnyImage = TypeVar("AnyImage", np.ndarray, "Image")
Result = TypeVar("Result")
Boundary = Literal["extrapolate", "liu-jia", "circular"]
Progress = Callable[[int, int], None]  # called with the number of steps done, iterations of tiles, and of all

TILE_BYTES = 1e9  # memory that an automatic tile, and the strip of rows it lies in, may each take at most …
TILE_SHARE = 0.25  # … and of the free memory
SMALLEST_TILE, LARGEST_TILE = 256, 1440  # sides in enlarged pixels; larger ones leave the caches and are slower
STRIP_ROWS = 256  # rows that are converted to the pixels of the result at once
ROOM = 8  # enlarged pixels beyond a picture, in addition to the kernel's extent; with none 0.2 dB are lost at worst
SMALLEST_CELL = 32  # pixels of the input within which a kernel that varies does not
GREY_NOISE = 2.0
"""How much more noise a trained network is told of in a grey picture. It expects noise that differs from channel to
channel, of which a third lies along grey; in a grey picture all of it does, so √3 by the arithmetic. Measured (two
blurs, ×1 to ×3, noise 2.55 and 7.65): 2 is better by 0.0 to 1.2 dB, and by 4 to 11 dB better than 1."""
GREY_SHARE = (0.9, 0.98)  # of the pixels that are grey to a level of 255; a stamp or a logo makes no colour picture
HALO_OUTPUT = 56  # context that the prior looks at, in enlarged pixels; measured in benchmarks/tiles.py


def restore(
    image: AnyImage,
    *,
    model: nn.Module | str = "default",
    scale: int = 2,
    kernel: np.ndarray | str | Field | None = None,
    noise_level: float | str | np.ndarray | Poisson = DEFAULT_NOISE_LEVEL,
    light: Light = "auto",
    saturation: float | str = "auto",
    tile: int | str = "auto",
    precision: str = "auto",
    device: str = "auto",
    strength: float = 100,
    ensemble: bool = False,
    white: pictures.White = None,
    progress: Progress | None = None,
) -> AnyImage:
    """Deblur and enlarge an image.

    For more than one image make a :class:`Restorer`, which loads the model once.

    Parameters
    ----------
    image : PIL.Image.Image or ndarray, H×W, H×W×1, H×W×3 or H×W×4
        Whole numbers or floats.
    model : torch.nn.Module or str
        A model, or a name or file for :func:`usrnet.load`.
    scale : int
        1 to 4; 1 deblurs.
    kernel : ndarray, kh×kw or kh×kw×3, str or Field, optional
        An array is taken as it is, with one kernel per channel if there are three. A text such as ``"gaussian:1.6"``
        is parsed together with the scale, ``"auto"`` is found in the image (:func:`usrnet.estimate`), a
        :class:`Field` varies over the image. None: a Gaussian that suits clean photos (width 0.4, 0.7, 1.5, 2.0 at ×1
        to ×4).
    noise_level : float, ndarray of H×W, Poisson or str
        Standard deviation of the noise on the 0–255 scale (2 if not given), a map of it, ``"poisson:GAIN,READ"``, or
        ``"auto"``.
    light : {"auto", "linear", "stored"}
        ``"linear"`` restores light, ``"stored"`` the values as they are; ``"auto"`` is linear for a PIL image of a
        camera, if a kernel is given.
    saturation : float or {"auto", "off"}
        The value from which a pixel is clipped, on the 0–255 scale; ``"auto"`` is white. Bright sources behind
        clipped pixels are restored apart.
    tile : int or {"auto", "off"}
        ``"auto"`` bounds the memory, ``"off"`` restores at once, a number is the side of a tile in pixels of
        ``image``.
    precision : {"auto", "fp32", "bf16", "fp16"}
        Of the inner layers of the prior. ``"auto"``: bf16 where the hardware has it natively, else fp16 on a GPU and
        fp32 on a CPU.
    device : {"auto", "cpu", "cuda"}
        A model that is given stays where it is when ``"auto"``.
    strength : float
        100 is the result, 0 the plain enlargement, in between both are mixed.
    ensemble : bool
        The mean over the eight flips and turns, for eight times the time.
    white : float or "auto", optional
        The value that is full scale (4095 for 12-bit counts in 16 bits), ``"auto"`` for the range of the data, None
        for what the type means (floats: 1). Noise levels count in 1/255 of it.
    progress : callable, optional
        Called with the number of steps done (iterations of tiles) and the number of all; what it raises ends the
        restoration.

    Returns
    -------
    PIL.Image.Image or ndarray, sH×sW
        Of the kind and type of ``image``.

    Raises
    ------
    UsrnetError
        Arguments that make no sense, or (:class:`PictureError`) memory that does not suffice.

    Examples
    --------
    >>> import numpy as np
    >>> import usrnet
    >>> image = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    >>> out = usrnet.restore(image, scale=2, kernel="gaussian:1.2", noise_level=5)
    >>> out.shape, out.dtype.name
    ((48, 64, 3), 'uint8')
    """
    restorer = Restorer(model, tile=tile, precision=precision, device=device, strength=strength, ensemble=ensemble)
    return restorer(
        image, scale=scale, kernel=kernel, noise_level=noise_level, light=light, saturation=saturation,
        white=white, progress=progress,
    )  # fmt: skip


@contextmanager
def inference(device: torch.device, reduced: torch.dtype | None) -> Iterator[None]:
    """No gradients; the inner layers of the prior in ``reduced``, if given, and everything else in float32."""
    with torch.inference_mode(), torch.autocast(device.type, reduced, enabled=reduced is not None):
        yield


def grey_noise(y: Tensor) -> Tensor:
    """The factor, from 1 to ``GREY_NOISE``, that is due to pictures N×C×h×w in [0, 1], as N values."""
    grey = ((y.amax(dim=1) - y.amin(dim=1)) * 255 < 1.01).flatten(1).to(y.dtype).mean(dim=1)
    none, all_of_it = GREY_SHARE
    return GREY_NOISE ** ((grey - none) / (all_of_it - none)).clamp(0, 1)


class Rows(Protocol):
    """What can be read by rows: an array, or a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


class Restorer:
    """A model that is loaded and made ready once, for any number of images.

    A model that is given is copied: it is not changed, and later changes of it are not seen. Several threads may call
    one restorer.

    Parameters
    ----------
    model : torch.nn.Module, str or os.PathLike
        A model, or a name or file for :func:`usrnet.load`.
    device : {"auto", "cpu", "cuda"}
        As for :func:`restore`.
    precision : {"auto", "fp32", "bf16", "fp16"}
        As for :func:`restore`.
    tile : int or {"auto", "off"}
        As for :func:`restore`.
    boundary : {"extrapolate", "liu-jia", "circular"}
        What lies beyond the border: what follows from the blur; a smooth continuation, as in the published code; or
        the image again, as in the paper's experiments, for images that do wrap around; those are restored without
        tiles.
    strength : float
        0 to 100, as for :func:`restore`.
    ensemble : bool
        As for :func:`restore`.

    Raises
    ------
    UsrnetError
        There is no such model, or an argument makes no sense.

    Examples
    --------
    >>> import numpy as np
    >>> import usrnet
    >>> restorer = usrnet.Restorer("default")
    >>> pictures = np.zeros((2, 20, 20, 3), np.uint8)
    >>> [restorer(picture, scale=3, kernel="motion:7", noise_level=2).shape for picture in pictures]
    [(60, 60, 3), (60, 60, 3)]
    """

    def __init__(
        self,
        model: nn.Module | str | os.PathLike[str] = "default",
        *,
        device: str = "auto",
        precision: str = "auto",
        tile: int | str = "auto",
        boundary: Boundary = "extrapolate",
        strength: float = 100,
        ensemble: bool = False,
    ) -> None:
        if not isinstance(strength, Real) or not 0 <= strength <= 100:
            raise UsrnetError(f"strength {strength!r} is not a number from 0 to 100")
        self.strength, self.ensemble = strength / 100, ensemble
        if boundary not in get_args(Boundary):
            raise UsrnetError(f"boundary {boundary!r} is not known: choose {', '.join(get_args(Boundary))}")
        self.boundary = boundary
        self.tile = _check_tile(tile)
        if boundary == "circular":  # beyond the border of a tile lies another tile, and not the tile again
            if self.tile not in ("auto", "off"):
                raise UsrnetError(f"tile {tile!r}: an image that wraps around is restored as a whole, choose off")
            self.tile = "off"
        given = next(model.parameters(), None) if isinstance(model, nn.Module) else None
        self.device = given.device if given is not None and device == "auto" else choose_device(device)
        self.precision = choose_precision(precision, self.device)
        network = deepcopy(model).float() if isinstance(model, nn.Module) else load(model)
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
        kernel: np.ndarray | str | Field | None = None,
        noise_level: float | str | np.ndarray | Poisson = DEFAULT_NOISE_LEVEL,
        light: Light = "auto",
        saturation: float | str = "auto",
        white: pictures.White = None,
        progress: Progress | None = None,
    ) -> AnyImage:
        """Restore one image.

        Parameters
        ----------
        image : PIL.Image.Image or ndarray, H×W, H×W×1, H×W×3 or H×W×4
            Whole numbers or floats.
        scale : int
            1 to 4; 1 deblurs.
        kernel : ndarray, kh×kw or kh×kw×3, str or Field, optional
            As for :func:`restore`.
        noise_level : float, ndarray of H×W, Poisson or str
            As for :func:`restore`, on the 0–255 scale.
        light : {"auto", "linear", "stored"}
            As for :func:`restore`.
        saturation : float or {"auto", "off"}
            As for :func:`restore`, on the 0–255 scale.
        white : float or "auto", optional
            As for :func:`restore`.
        progress : callable, optional
            Called with the number of steps done (iterations of tiles) and the number of all; what it raises ends the
            restoration.

        Returns
        -------
        PIL.Image.Image or ndarray, sH×sW
            Of the kind and type of ``image``.

        Raises
        ------
        UsrnetError
            Arguments that make no sense, or (:class:`PictureError`) memory that does not suffice.

        Examples
        --------
        >>> import numpy as np
        >>> import usrnet
        >>> restorer = usrnet.Restorer("tv")
        >>> restorer(np.zeros((16, 16), np.uint16), scale=2, kernel="gaussian:1", noise_level=3).dtype.name
        'uint16'
        """
        known = ask(scale=scale, kernel=kernel, noise_level=noise_level, light=light, saturation=saturation)
        given = pictures.from_any(image, white=white)
        observation, _ = settle(known, given.plain(), given.metadata)
        restored = self.restore(given.pixels, observation, levels=given.levels, progress=progress)
        return pictures.to_any(restored, given=given)

    def restore(
        self,
        pixels: np.ndarray,
        observation: Observation,
        *,
        levels: pictures.Levels | None = None,
        progress: Progress | None = None,
        bright: Brightness | None = None,
    ) -> np.ndarray:
        """Restore an array H×W, H×W×2, H×W×3 or H×W×4 (grey or colour, with or without alpha).

        ``levels``: which values are black and full scale, None for what the type means.
        ``bright`` takes note of what was found behind clipped pixels.
        Raises ``PictureError`` when the memory does not suffice or what comes out is not finite.
        """
        height, width = (observation.scale * length for length in pixels.shape[:2])

        def attempt(tile: int | str) -> np.ndarray:
            result = np.empty((height, width, *pixels.shape[2:]), pixels.dtype)
            top = 0
            for strip in self.strips(pixels, observation, levels=levels, tile=tile, progress=progress, bright=bright):
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
        if self.boundary == "circular":
            raise PictureError(
                f"not enough memory for {width}×{height} pixels at ×{s}, and a picture that wraps around cannot be "
                "restored in tiles: close other programs"
            )
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
        levels: pictures.Levels | None = None,
        tile: int | str | None = None,
        progress: Progress | None = None,
        bright: Brightness | None = None,
    ) -> Iterator[np.ndarray]:
        """The result from top to bottom, in strips of rows; of ``source`` no more is read than a strip needs.

        What is kept in memory grows with the width of the picture, not with its height. ``levels``: as for
        ``restore``; ``tile``: in place of the restorer's own. ``bright`` takes note of what was found behind clipped
        pixels. An observation that says that the picture is what was there, ``y = x``, gives the values as they are.
        """
        height, width = source.shape[:2]
        s = observation.scale
        if observation.is_identity:
            for top in range(0, height, STRIP_ROWS):
                yield source[top : min(top + STRIP_ROWS, height)]
            return
        channels = 3 if len(source.shape) == 3 and source.shape[2] >= 3 else 1
        if isinstance(observation.noise_level, np.ndarray) and observation.noise_level.shape != (height, width):
            raise UsrnetError(
                f"the map of noise levels is {observation.noise_level.shape}, the picture {source.shape}"
            )
        curve, bright = observation.curve, bright or Brightness()
        rows, columns = self._windows(height, width, channels, observation, tile)
        done, each = 0, self._steps()
        total = each * len(rows) * len(columns)

        def report(inside: int = 0) -> None:
            if progress:
                progress(done + inside, total)

        overlap = np.zeros((0, s * width, channels), np.float32)
        for row, following in zip_longest(rows, rows[1:]):
            pixels = source[row.first : row.last]
            planes = pictures.split(pixels, levels)
            stored = planes.colour if planes.alpha is None else pictures.bleed(planes.colour, planes.alpha)
            strip = np.zeros((s * (row.stop - row.start), s * width, channels), np.float32)
            strip[: len(overlap)] = overlap
            for column in columns:
                report()
                known = observation.at(row.middle / height, column.middle / width)
                known = known.part(row.computed, column.computed, height, width)
                _blend(strip, self._window(stored[:, column.computed], known, bright, report), row, column, s)
                done += each
            final = len(strip) if following is None else s * (following.start - row.start)
            alpha = None
            if planes.alpha is not None:
                alpha = pictures.upscale_alpha(planes.alpha, s)[s * (row.start - row.first) :]
            for top in range(0, final, STRIP_ROWS):
                band = slice(top, min(top + STRIP_ROWS, final))
                colour = strip[band] if curve is None else curve.encode(strip[band])
                opacity = None if alpha is None else alpha[band]
                yield pictures.join(colour, opacity, like=pixels, levels=levels)
            overlap = strip[final:].copy()
            del strip, alpha, pixels, planes, stored  # or two strips would be in memory
        report()

    def crop(
        self, pixels: np.ndarray, observation: Observation, *, top: int, left: int, height: int, width: int
    ) -> np.ndarray:
        """The part of the result that lies on a part of ``pixels``, computed with no more than it depends on.

        ``top``, ``left``, ``height``, ``width`` are in pixels of the input and inside it.
        """
        s = observation.scale
        halo = max(pixels.shape[:2]) if self.boundary == "circular" else _halo(observation)
        first = [max(0, start - halo) // _grid(s) * _grid(s) for start in (top, left)]
        rows = slice(first[0], min(top + height + halo, pixels.shape[0]))
        columns = slice(first[1], min(left + width + halo, pixels.shape[1]))
        y, x = s * (top - first[0]), s * (left - first[1])
        known = observation.part(rows, columns, *pixels.shape[:2])
        return self.restore(pixels[rows, columns], known)[y : y + s * height, x : x + s * width]

    def iterations(self, pixels: np.ndarray, observation: Observation) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Inside the unfolding: ``(z_k, x_k)`` for k = 1..K, float32 sH×sW×3, without tiles.

        Not clipped where stored values are restored; where light is, as it is stored.
        """
        curve, colour = observation.curve, pictures.split(pixels).colour
        light = colour if curve is None else curve.decode(colour)
        window = torch.from_numpy(np.repeat(light, 3, -1) if light.shape[-1] == 1 else light).permute(2, 0, 1)
        h, w = (observation.scale * length for length in window.shape[-2:])
        observation = observation.at(0.5, 0.5)
        with inference(self.device, self.autocast):
            arguments = self._arguments(window, observation, self._sigma(observation, colour))
            pairs = iter(self.model.iterate(*arguments))  # pyright: ignore[reportCallIssue]
        while True:
            with inference(self.device, self.autocast):  # left before the caller goes on
                pair = next(pairs, None)
            if pair is None:
                return
            z, x = (part[0, :, :h, :w].permute(1, 2, 0).cpu().numpy() for part in pair)
            yield (z, x) if curve is None else (curve.encode(z.clip(0, 1)), curve.encode(x.clip(0, 1)))

    def _steps(self) -> int:
        """Of one window: the iterations of the unfolding, for each of an ensemble; another model has one."""
        iterations = getattr(self.model.h, "n_iter", 1) if isinstance(self.model, Unfolding) else 1
        return iterations * (len(SYMMETRIES) if self.ensemble else 1)

    def _window(
        self, stored: np.ndarray, observation: Observation, bright: Brightness, report: Callable[[int], None]
    ) -> Tensor:
        """Restore one window h×w×C of stored values: 3×sh×sw, light where the curve is known, float32 and finite.

        ``report`` is told the number of steps done.
        """
        light = stored if observation.curve is None else observation.curve.decode(stored)
        window = torch.from_numpy(np.ascontiguousarray(light.transpose(2, 0, 1))).expand(3, -1, -1)
        sigma = self._sigma(observation, stored)
        with inference(self.device, self.autocast):
            apart = self._highlights(window, stored, observation, bright)
            rest = window if apart is None else apart.rest[0]
            restore = self._ensemble if self.ensemble else self._network
            restored = restore(rest, observation, sigma, report)
            if apart is not None:
                restored = restored + apart.sources[0]
            reach = math.ceil((max(observation.extent) + ROOM) / observation.scale)
            if self.boundary == "extrapolate" and (flat := flatness(stored, reach)) is not None:
                restored = flatten(restored, window, flat.share, observation.scale)
                bright.faint += flat.faint
            bright.seen += stored.shape[0] * stored.shape[1]
            if self.strength < 1:
                plain = F.interpolate(window[None].to(restored), scale_factor=observation.scale, mode="bicubic")[0]
                restored = plain.lerp(restored, self.strength)
        return restored

    def _sigma(self, observation: Observation, stored: np.ndarray) -> float | np.ndarray:
        """σ of a window h×w×C as the network is to be told it."""
        sigma = observation.sigma(stored)
        if not isinstance(self.network, USRNet):
            return sigma
        return sigma * float(grey_noise(torch.from_numpy(stored.transpose(2, 0, 1))[None]))

    def _highlights(
        self, window: Tensor, stored: np.ndarray, observation: Observation, bright: Brightness
    ) -> Highlights | None:
        """The bright sources of a window, taken out; None where there are none."""
        if observation.saturation is None or not (stored >= observation.saturation).any():
            return None
        begin = time.perf_counter()
        clipped = torch.from_numpy(stored.transpose(2, 0, 1) >= observation.saturation).expand(3, -1, -1)
        y, taps = window.to(self.device, torch.float32)[None], self._taps(observation)
        height, width = self._padded(y, taps, observation)
        with torch.autocast(self.device.type, enabled=False):
            apart = take_out(y, clipped.to(self.device)[None], taps, observation.scale, height=height, width=width)
        bright.add(apart, int(clipped.any(dim=0).sum()), time.perf_counter() - begin)
        return apart

    def _network(
        self, window: Tensor, observation: Observation, sigma: float | np.ndarray, report: Callable[[int], None]
    ) -> Tensor:
        """Extend, restore and crop one window: 3×h×w → 3×sh×sw, float32 and finite."""
        h, w = (observation.scale * length for length in window.shape[-2:])
        arguments = self._arguments(window, observation, sigma)
        restored = self._reported(arguments, report)[0, :, :h, :w]
        if not restored.isfinite().all() and self.precision != "fp32":
            with torch.autocast(self.device.type, enabled=False):
                restored = self._exact(*arguments)[0, :, :h, :w]
        if not restored.isfinite().all():
            raise PictureError(
                "the result is not finite (NaN or infinity), so it is not written: this kernel, noise level and "
                "model do not go together; try a higher noise level"
            )
        return restored

    def _reported(self, arguments: tuple[Tensor, Tensor, int, Tensor], report: Callable[[int], None]) -> Tensor:
        """What the model makes of its arguments; of an unfolding every iteration is a step."""
        if not isinstance(self.model, Unfolding) or type(self.model).forward is not Unfolding.forward:
            return self.model(*arguments)
        restored = arguments[0]
        for step, (_, x) in enumerate(self.model.iterate(*arguments), 1):
            restored = x
            report(step)
        return restored

    def _ensemble(
        self, window: Tensor, observation: Observation, sigma: float | np.ndarray, report: Callable[[int], None]
    ) -> Tensor:
        """The mean over the eight flips and turns of the window, each restored and turned back."""
        total = None
        each = self._steps() // len(SYMMETRIES)
        for number, symmetry in enumerate(SYMMETRIES):
            turned = symmetry.array(sigma) if isinstance(sigma, np.ndarray) else sigma
            part = self._network(
                symmetry.tensor(window), symmetry.observation(observation), turned,
                lambda inside, before=number * each: report(before + inside),
            )  # fmt: skip
            part = symmetry.back(part)
            total = part if total is None else total + part
        assert total is not None
        return total / len(SYMMETRIES)

    @cached_property
    def _exact(self) -> nn.Module:
        """The model in float32, for what 16 bits could not hold."""
        return pack(self.network, torch.float32) or self.network

    def _arguments(
        self, window: Tensor, observation: Observation, sigma: float | np.ndarray
    ) -> tuple[Tensor, Tensor, int, Tensor]:
        """What the model is called with: the extended window, kernel, scale and σ."""
        scale, taps = observation.scale, self._taps(observation)
        # The sine transforms lose digits in float32 where the patches are long.
        y = window.to(self.device, torch.float64)[None]
        height, width = self._padded(y, taps, observation)
        mean = float(np.sqrt(np.square(sigma).mean())) if isinstance(sigma, np.ndarray) else sigma
        if self.boundary == "extrapolate":
            y = extrapolate(y, taps, scale, mean, height, width)
        elif self.boundary == "liu-jia":
            y = extend(y, height, width)
        y = y.float()
        if not isinstance(sigma, np.ndarray):
            return y, taps, scale, y.new_full((1, 1, 1, 1), sigma)
        uneven = extend(torch.from_numpy(sigma)[None, None].to(self.device, torch.float64), *y.shape[-2:])
        return y, taps, scale, uneven.clamp(float(sigma.min()), float(sigma.max())).float()

    def _taps(self, observation: Observation) -> Tensor:
        return torch.from_numpy(observation.taps).to(self.device, torch.float32)[None]

    def _padded(self, y: Tensor, taps: Tensor, observation: Observation) -> tuple[int, int]:
        """The sides to which a window is extended."""
        if self.boundary == "circular":
            height, width = y.shape[-2:]
            return height, width
        gaps = taps.shape[-2:] if self.boundary == "liu-jia" else [side + ROOM for side in observation.extent]
        height, width = (
            extended_length(n, max(gap, side - observation.scale * n), observation.scale)  # the whole kernel must fit
            for n, gap, side in zip(y.shape[-2:], gaps, taps.shape[-2:], strict=True)
        )
        return height, width

    def _windows(
        self, height: int, width: int, channels: int, observation: Observation, tile: int | str | None
    ) -> tuple[list[Span], list[Span]]:
        """The rows and the columns of the tiles.

        A kernel that varies is that of the middle within a tile: so tiles are half a cell of its grid, and each fades
        into the next all the way.
        """
        sides: tuple[int, ...] = self._tile(height, width, channels, observation.scale, tile)
        seams = [SEAM, SEAM]
        if observation.field is not None:
            if self.boundary == "circular":
                raise UsrnetError("a kernel that varies over the picture cannot wrap around: choose another boundary")
            cells = zip((height, width), observation.field.shape, strict=True)
            sides = tuple(
                min(side, max(SMALLEST_CELL, round(length / count / 2)))
                for side, (length, count) in zip(sides, cells, strict=True)
            )
            seams = [max(SEAM, side // 4) for side in sides]
        halo, grid = _halo(observation), _grid(observation.scale)
        rows, columns = (
            spans(length, side, halo, grid, half_seam=seam)
            for length, side, seam in zip((height, width), sides, seams, strict=True)
        )
        return rows, columns

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
    except (TypeError, ValueError, OverflowError) as error:
        raise UsrnetError(f"tile {tile!r} is not auto, off or a number of pixels") from error
    if side < 16:
        raise UsrnetError(f"tile {side} is too small: use at least 16 pixels, or auto")
    return side
