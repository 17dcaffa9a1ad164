"""Training batches: sharp patches, random degradations, all on the training device and without a loop per sample.

Every batch is a function of (seed, step, part) alone. So a resumed run goes on with the same batches, and the parts
of a global batch can be spread over any number of devices or accumulated one after the other.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import affine_transform
from torch import Tensor

from usrnet import kernels
from usrnet.degradation import degrade_batch
from usrnet.errors import UsrnetError
from usrnet.train.collage import collages
from usrnet.train.config import TrainConfig
from usrnet.train.photos import Draw, Photos

SATURATIONS = (0.6, 1.8)


@dataclass(frozen=True)
class Batch:
    """``sharp``: N×3×P×P in [0,1]; ``y``: N×3×P/s×P/s; ``kernel``: N×1×kh×kw; ``sigma``: N×1×1×1; ``scale`` = s."""

    sharp: Tensor
    y: Tensor
    kernel: Tensor
    sigma: Tensor
    scale: int


class Synthesis:
    """The batches of a run: ``parts`` are the parts of every global batch that this process makes."""

    def __init__(self, config: TrainConfig, photos: Photos, weights: np.ndarray, device: torch.device) -> None:
        self.config, self.photos, self.weights, self.device = config, photos, weights, device
        self.bank = None
        if config.kernels.files:
            loaded = [kernel for text in config.kernels.files for kernel in _load(text)]
            self.bank = _pad_to_common(loaded)
            if self.bank.shape[-1] > config.data.patch:
                raise UsrnetError(
                    f"kernels.files holds a kernel of {self.bank.shape[-1]} pixels, which is larger than "
                    f"data.patch = {config.data.patch}: take larger patches"
                )

    def scale(self, step: int) -> int:
        """The scale of a step: one for the whole global batch."""
        rng = np.random.default_rng((self.config.run.seed, step))
        return int(rng.choice(self.config.degradation.scales))

    def batches(self, steps: range, parts: range, size: int) -> Iterator[Batch]:
        """For every step and part a batch of ``size`` samples."""
        places = [(step, part) for step in steps for part in parts]
        draws = (Draw.random(self._rng(*place, 0), size, self.weights) for place in places)
        for (step, part), patches in zip(places, self.photos.patches(draws, self.config.data.patch), strict=True):
            yield self.degrade(patches, self.scale(step), self._rng(step, part, 1))

    def degrade(self, patches: Tensor, scale: int, rng: np.random.Generator) -> Batch:
        """Random degradations of uint8 patches N×3×P×P, all drawn from ``rng``."""
        options = self.config.degradation
        count = patches.shape[0]
        taps = torch.from_numpy(self.draw_kernels(rng, count, scale).astype(np.float32))[:, None]
        level = rng.uniform(*options.noise, count)
        if options.whole_noise:
            level = rng.integers(math.ceil(options.noise[0]), math.floor(options.noise[1]), count, endpoint=True)
        level = level * (rng.random(count) >= options.noiseless)
        share = rng.random(count)
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))

        recoloured = self._colours(rng, count)
        pasted = rng.random(count) < options.collaged if options.collaged else None

        taps = taps.to(self.device, non_blocking=True)
        sigma = torch.from_numpy((level / 255).astype(np.float32)).reshape(-1, 1, 1, 1).to(self.device)
        sharp = patches / 255
        if recoloured is not None:
            sharp = torch.einsum("nij,njhw->nihw", recoloured.to(self.device), sharp).clamp(0, 1)
        if pasted is not None:
            sharp = collages(sharp, pasted, rng)
        y = degrade_batch(sharp, taps, scale)
        if options.rounded or options.truncated:
            # A hair is added, for a flat region must not fall by a level through rounding in the FFT.
            offset = np.where(share < options.rounded, 0.5, 0.001).astype(np.float32)
            offset = torch.from_numpy(offset).reshape(-1, 1, 1, 1).to(self.device)
            chosen = torch.from_numpy(share < options.rounded + options.truncated).reshape(-1, 1, 1, 1)
            eight_bit = ((y * 255 + offset).floor() / 255).clamp(0, 1)
            y = torch.where(chosen.to(self.device), eight_bit, y)
        noise = torch.randn(y.shape, generator=generator, device=self.device)
        return Batch(sharp, y + sigma * noise, taps, sigma, scale)

    def _colours(self, rng: np.random.Generator, count: int) -> Tensor | None:
        """A matrix 3×3 for the colours of every sample: channels permuted, then saturation scaled by 0.6 to 1.8."""
        options = self.config.degradation
        if not (options.permuted or options.saturated):
            return None
        permuted = rng.permuted(np.tile(np.arange(3), (count, 1)), axis=1)
        permuted = np.where(rng.random((count, 1)) < options.permuted, permuted, np.arange(3))
        saturation = _log_uniform(rng, SATURATIONS, count)
        saturation = np.where(rng.random(count) < options.saturated, saturation, 1.0)[:, None, None]
        grey = np.full((3, 3), 1 / 3)
        matrix = (saturation * (np.eye(3) - grey) + grey) @ np.eye(3)[permuted]
        return torch.from_numpy(matrix.astype(np.float32))

    def draw_kernels(self, rng: np.random.Generator, count: int, scale: int) -> np.ndarray:
        """``count`` random kernels, count×size×size."""
        options = self.config.kernels
        if self.bank is not None:
            return self.bank[rng.integers(len(self.bank), size=count)]
        size = options.size
        shares = np.array([options.motion, options.gaussian, options.bicubic])
        family = rng.choice(3, size=count, p=shares / shares.sum())
        result = np.empty((count, size, size))
        motion, gaussian = family == 0, family == 1
        if motion.any():
            made = kernels.motions(rng, int(motion.sum()), size=size)
            for index in np.flatnonzero(rng.random(len(made)) < options.enlarged):
                made[index] = _stretch(made[index], rng.uniform(1, 5, 2))
            # All phases against the sampling grid occur: real kernels are not centred.
            result[motion] = [_moved(kernel, rng.integers(-1, 3, 2)) for kernel in made]
        if gaussian.any():
            number = int(gaussian.sum())
            if options.variances is None:
                first, second = _log_uniform(rng, options.widths, (2, number)) ** 2
            else:
                first, second = rng.uniform(*options.variances, (2, number))
            second = np.where(rng.random(number) < options.isotropic, first, second)
            angle = rng.uniform(0, np.pi, number)
            aligned = rng.random() < options.aligned
            if options.corner == "any":
                scale = int(rng.choice(self.config.degradation.scales))
            offset = (scale - 1) / 2 if aligned else 0.0
            made = kernels.gaussians(first, second, angle, size=size, offset=offset)
            if options.corner == "any":  # the Gaussian may turn with it: its angle is any angle already
                made = np.rot90(made, int(rng.integers(4)), axes=(1, 2))
            result[gaussian] = made
        if (family == 2).any():
            result[family == 2] = _pad_to_common([kernels.bicubic(scale)], size)[0]
        return result

    def _rng(self, *place: int) -> np.random.Generator:
        return np.random.default_rng((self.config.run.seed, *place))


def _load(text: str) -> list[np.ndarray]:
    """All kernels of a file, or the one that a text means, kh×kw each. Raises ``UsrnetError``."""
    suffix = text.lower().endswith(kernels.SUFFIXES)
    found = kernels.load_all(text) if suffix else [kernels.parse(text)]
    if any(kernel.ndim == 3 for kernel in found):
        raise UsrnetError(f"kernels.files: {text} holds one kernel per colour channel, and one for all is needed")
    return found


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float], shape: int | tuple[int, ...]) -> np.ndarray:
    low, high = limits
    return low * (high / low) ** rng.random(shape)


def _moved(kernel: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """A kernel moved by whole pixels, as far as there is room: nothing leaves the array on one side or comes back
    on the other.
    """
    moved = kernel
    for axis, offset in enumerate(offsets):
        used = np.flatnonzero(kernel.any(axis=1 - axis))
        moved = np.roll(moved, np.clip(offset, -used[0], len(kernel) - 1 - used[-1]), axis)
    return moved


def _stretch(kernel: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """A kernel stretched about its middle by factors of at least 1, bilinear, cut to its size, with the sum 1.

    As it was where nothing of it would be left.
    """
    middle = len(kernel) // 2
    offset = middle - middle / factors
    stretched = affine_transform(kernel, 1 / factors, offset, order=1)  # pyright: ignore[reportArgumentType]
    return stretched / stretched.sum() if stretched.sum() > 0.1 else kernel


def _pad_to_common(made: list[np.ndarray], size: int = 1) -> np.ndarray:
    """Kernels N×size×size, with zeros around the smaller ones and all centres at ``size // 2``."""
    size = max(size, *(max(kernel.shape) for kernel in made)) | 1
    result = np.zeros((len(made), size, size))
    for padded, kernel in zip(result, made, strict=True):
        kh, kw = kernel.shape[:2]
        top, left = size // 2 - kh // 2, size // 2 - kw // 2
        padded[top : top + kh, left : left + kw] = kernel
    return result
