"""Training of the network that reads a blur from spectra: ``usrnet train estimator``.

    loss = NLL(log Σ) + λ · pinball(mean log width) + cross-entropy(family)

Sharp photos are blurred, decimated, exposed, made noisy and sometimes compressed, as pictures are before somebody
asks for their blur. The target is the covariance that the taps realise, not the one they were drawn with: in a
small window a wide Gaussian loses its tails.

Blurring costs more than the network learns from one tile, so tiles wait in a pool and are used several times, each
time turned, exposed and disturbed anew.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from safetensors.torch import save
from torch import Tensor, nn

from usrnet import kernels
from usrnet.atomic import write_bytes
from usrnet.degradation import degrade_batch
from usrnet.errors import UsrnetError
from usrnet.estimate import covariance
from usrnet.estimate.masks import choose_tiles, clipped
from usrnet.estimate.network import FAMILIES, BlurNet, read
from usrnet.estimate.noise import noise_of
from usrnet.estimate.spectrum import SMALLEST, TILE, features, spectra_of, turned
from usrnet.io import read_rgb
from usrnet.restoration.light import SRGB
from usrnet.train.config import Positive, Section, Share
from usrnet.train.photos import list_photos
from usrnet.train.settings import checked, read_tree

LARGEST = 128  # side of an observed picture
TILES = 16  # of a picture that are kept
OBSERVED = 3  # times that a blurred picture is exposed, made noisy and stored
MARGIN = 4  # low-resolution pixels around a tile that are blurred and thrown away: crops wrap around
SIZE = 31  # of the kernels
LUMA = np.array([0.299, 0.587, 0.114])
_PROTOCOL = {1: 11, 2: 11, 3: 15, 4: 19}  # windows of the kernels that estimators are compared with


class EstimatorRun(Section):
    output: str
    seed: Annotated[int, Field(ge=0)] = 0
    log_every: Positive = 200


class EstimatorData(Section):
    """The photos; ``held_out`` of them, evenly spread, are never trained on."""

    folders: Annotated[list[str], Field(min_length=1)]
    held_out: Positive = 40
    fresh: Positive = 4
    batch: Positive = 64
    pool: Positive = 16384


class EstimatorSchedule(Section):
    """``minutes``: where the machine is slow, the learning rate falls with the time and training ends with it."""

    steps: Positive = 12_000
    minutes: Annotated[float, Field(gt=0)] | None = None
    lr: Annotated[float, Field(gt=0)] = 2e-3
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999


class EstimatorModel(Section):
    """How the network starts, and how far its widths lean to the narrow side: 0.5 is not at all.

    ``hidden``: the widths of a new one; ``init``: a file of weights to start from, whose sizes then count.
    """

    hidden: tuple[Positive, Positive] = (512, 256)
    init: str | None = None
    quantile: Share = 0.5


class EstimatorConfig(Section):
    """Everything that decides what a run computes."""

    run: EstimatorRun
    data: EstimatorData
    schedule: EstimatorSchedule = EstimatorSchedule()
    model: EstimatorModel = EstimatorModel()


def trains_estimator(source: str | Path) -> bool:
    """Whether a recipe or a TOML file is for this network: it says ``trains = "estimator"``."""
    return read_tree(source).get("trains") == "estimator"


def read_estimator_config(source: str | Path, overrides: Sequence[str] = ()) -> EstimatorConfig:
    """The configuration in a TOML file or recipe, with ``section.key=value`` put over it. Raises ``UsrnetError``."""
    tree = read_tree(source, overrides)
    tree.pop("trains", None)
    return checked(EstimatorConfig, tree, str(source))


class Greys:
    """Photos as grey pictures, also some that were shrunk: their owners' cameras differ in sharpness."""

    def __init__(self, files: Sequence[Path], rng: np.random.Generator) -> None:
        self.pictures: list[np.ndarray] = []
        for path in files:
            grey = (read_rgb(path) @ LUMA).round().astype(np.uint8)
            self.pictures.append(grey)
            if rng.random() < 0.7:
                factor = rng.uniform(0.5, 1)
                size = (round(grey.shape[1] * factor), round(grey.shape[0] * factor))
                resample = Image.Resampling.LANCZOS if rng.random() < 0.5 else Image.Resampling.BOX
                self.pictures.append(np.asarray(Image.fromarray(grey).resize(size, resample, reducing_gap=None)))

    def crop(self, rng: np.random.Generator, least: int, most: int) -> np.ndarray:
        """A crop with sides from ``least`` to ``most``, float32; where all photos are smaller they are mirrored."""
        large = [picture for picture in self.pictures if min(picture.shape) >= least]
        chosen = large or [np.pad(p, [(0, max(0, least - n)) for n in p.shape], "symmetric") for p in self.pictures]
        picture = chosen[rng.integers(len(chosen))]
        places = []
        for length in picture.shape:
            side = min(length, int(rng.integers(least, most + 1)))
            first = int(rng.integers(length - side + 1))
            places.append(slice(first, first + side))
        return picture[places[0], places[1]].astype(np.float32)


def draw_kernels(rng: np.random.Generator, count: int, scale: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``count`` blurs: taps count×31×31, covariances count×3 in high-resolution pixels, families count."""
    taps = np.empty((count, SIZE, SIZE))
    family = np.zeros(count, np.int64)
    # published ranges in their windows, any Gaussian, speckled, disk, motion, shrinking, none
    shares = [0.42, 0.24, 0.05, 0.09, 0.03, 0.12, 0.05] if scale > 1 else [0.2, 0.24, 0.04, 0.1, 0.3, 0.02, 0.1]
    kind = rng.choice(7, count, p=shares)
    offset = (scale - 1) / 2
    low, high = 0.175 * scale, min(2.5 * scale, 10.0)
    spread = np.where((kind == 0)[:, None], rng.uniform(low, high, (count, 2)), 0)
    free = np.exp(rng.uniform(math.log(0.3), math.log(3.5 if scale > 1 else 4.5), (count, 2))) ** 2
    free[:, 1] = np.where(rng.random(count) < 0.5, free[:, 0], free[:, 1])
    spread = np.where((kind == 0)[:, None], spread, free)
    angle = rng.uniform(0, np.pi, count)
    taps[:] = kernels.gaussians(spread[:, 0], spread[:, 1], angle, size=SIZE, offset=offset)
    inside = _PROTOCOL[scale] // 2
    cut = np.zeros((SIZE, SIZE))
    middle = SIZE // 2
    cut[middle - inside : middle + inside + 1, middle - inside : middle + inside + 1] = 1
    taps[kind == 0] *= cut
    speckled = kind == 2
    taps[speckled] *= 1 + rng.uniform(0, 0.4, (count, 1, 1))[speckled] * rng.uniform(-1, 1, taps[speckled].shape)
    variance = np.full(count, np.nan)
    for i in np.flatnonzero(kind >= 3):
        if kind[i] == 3:
            family[i] = FAMILIES.index("disk")
            taps[i] = _disk(math.exp(rng.uniform(math.log(0.8), math.log(6.5))), offset)
        elif kind[i] == 4:
            family[i] = FAMILIES.index("motion")
            taps[i] = _centred(kernels.motions(rng, 1, size=int(rng.integers(7, 16)) * 2 + 1)[0])
        elif kind[i] == 5:
            taps[i], variance[i], family[i] = _shrinking(rng, scale)
        else:
            taps[i] = _centred(kernels.delta(scale=scale))
    taps /= taps.sum(axis=(1, 2), keepdims=True)
    moments = covariance.moments(taps)
    matched = ~np.isnan(variance)
    moments[matched] = variance[matched, None] * [1, 0, 1]
    return taps, moments, family


def _disk(radius: float, offset: float) -> np.ndarray:
    """A disk with a smooth rim of a pixel."""
    grid = np.arange(SIZE) - SIZE // 2 + offset
    return np.clip(radius + 0.5 - np.hypot(grid, grid[:, None]), 0, 1) + 1e-9


_matched: dict[tuple[str, int], float] = {}


def _shrinking(rng: np.random.Generator, scale: int) -> tuple[np.ndarray, float, int]:
    """The kernel of a program that shrinks pictures: bicubic, Lanczos or area."""
    name = ("bicubic", "lanczos", "area")[rng.integers(3)] if scale > 1 else "area"
    t = (np.arange(SIZE) - SIZE // 2 + (scale - 1) / 2) / scale
    if name == "bicubic":
        line = kernels.cubic(t)
    elif name == "lanczos":
        line = np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0)
    else:
        side = scale if scale > 1 else rng.integers(1, 4)
        line = np.clip((side + 1) / 2 - np.abs(t * scale), 0, 1)
    line = line / line.sum()
    taps = np.outer(line, line)
    if name == "area":
        return taps, float("nan"), 0
    if (name, scale) not in _matched:
        _matched[name, scale] = covariance.matching_variance(taps)
    return taps, _matched[name, scale], FAMILIES.index("shrunk")


def _centred(kernel: np.ndarray) -> np.ndarray:
    padded = np.zeros((SIZE, SIZE))
    side = len(kernel)
    first = SIZE // 2 - side // 2
    padded[first : first + side, first : first + side] = kernel
    return padded


class Pool:
    """The spectra of the tiles of observed pictures, the newest in place of the oldest."""

    def __init__(self, greys: Greys, config: EstimatorConfig, rng: np.random.Generator) -> None:
        self.greys, self.rng, self.size = greys, rng, config.data.pool
        self.spectra = torch.empty(self.size, TILES, 31, 16, dtype=torch.float16)  # logarithms of power
        self.noise = torch.zeros(self.size, TILES)
        self.tiles = torch.zeros(self.size, dtype=torch.long)
        self.about = torch.zeros(self.size, 2)  # scale and JPEG step
        self.covariance = torch.empty(self.size, 3)  # in low-resolution pixels
        self.family = torch.empty(self.size, dtype=torch.long)
        self.filled = self.next = 0

    def add(self, count: int) -> None:
        """``count`` blurred pictures, each observed several times."""
        scale = int(self.rng.integers(1, 5))
        margin = MARGIN if scale > 1 else 3 * MARGIN
        taps, moments, family = draw_kernels(self.rng, count, scale)
        for kernel, moment, kind in zip(taps, moments, family, strict=True):
            crop = self.greys.crop(self.rng, scale * (TILE + 2 * margin), scale * (LARGEST + 2 * margin))
            linear = self.rng.random() < 0.2
            crop = torch.from_numpy(255 * SRGB.decode(crop / np.float32(255)) if linear else crop)
            weights = torch.from_numpy(kernel.astype(np.float32))
            blurred = degrade_batch(crop[None, None], weights[None, None], scale)[0, 0]
            blurred = blurred[margin:-margin, margin:-margin].numpy()
            for _ in range(OBSERVED):
                self._observe(blurred, scale, linear, moment / scale**2, int(kind))

    def fill(self, wanted: int, fresh: int) -> None:
        """Add pictures until there are so many. Raises ``UsrnetError`` where the photos show nothing."""
        for number in range(wanted):
            if self.filled >= wanted:
                return
            self.add(fresh)
            if number > 20 and self.filled == 0:
                raise UsrnetError("the photos have no structure in which a blur could be seen: give others")

    def _observe(self, blurred: np.ndarray, scale: int, linear: bool, moment: np.ndarray, kind: int) -> None:
        grey, step = disturb(self.rng, blurred, linear=linear)
        level = noise_of(grey)
        tiles = choose_tiles(grey, noise_level=level, usable=~clipped(grey[..., None]))
        if not len(tiles.corners):
            return
        tiles = replace(tiles, corners=self.rng.permutation(tiles.corners)[:TILES])
        spectra, noise = spectra_of(grey, tiles, level, SRGB if linear else None)
        place, count = self.next, len(spectra)
        self.spectra[place, :count] = torch.log(spectra + SMALLEST).half()
        self.noise[place, :count] = noise
        self.tiles[place] = count
        self.about[place] = torch.tensor([scale, step])
        self.covariance[place] = torch.from_numpy(moment).float()
        self.family[place] = kind
        self.next = (self.next + 1) % self.size
        self.filled = min(self.filled + 1, self.size)

    def draw(self, count: int) -> "Batch":
        """Of ``count`` pictures, turned and mirrored, all tiles or some."""
        rng = self.rng
        places = torch.from_numpy(rng.integers(self.filled, size=count))
        some = torch.from_numpy(np.where(rng.random(count) < 0.5, TILES, 2.0 ** rng.uniform(0, 4, count)))
        used = torch.minimum(self.tiles[places], some.long())
        picture = torch.repeat_interleave(torch.arange(count), used)
        tile = torch.arange(len(picture)) - torch.repeat_interleave(used.cumsum(0) - used, used)
        spectra = (self.spectra[places[picture], tile].float().exp() - SMALLEST).clamp_min(0)
        moments = self.covariance[places].clone()
        transposed, mirrored = (torch.from_numpy(rng.random(count) < 0.5) for _ in range(2))
        chosen = mirrored[picture]
        spectra[chosen] = turned(spectra[chosen], mirrored=True)
        chosen = transposed[picture]
        spectra[chosen] = turned(spectra[chosen], transposed=True)
        moments[mirrored] = moments[mirrored] * torch.tensor([1.0, -1, 1])
        moments[transposed] = moments[transposed].flip(1)
        noise = self.noise[places[picture], tile] * torch.from_numpy(np.exp(0.05 * rng.normal(size=count)))[picture]
        scale, step = self.about[places[picture]].T
        inputs = features(spectra, scale=scale.long(), noise_level=noise.float(), step=step)
        return Batch(inputs, picture, covariance.logarithm(moments), self.family[places], self.about[places])


@dataclass(frozen=True)
class Batch:
    """Of M tiles their features M×998 and their ``picture``; of N pictures log Σ, family, scale and JPEG step."""

    inputs: Tensor
    picture: Tensor
    target: Tensor
    family: Tensor
    about: Tensor


def disturb(rng: np.random.Generator, blurred: np.ndarray, *, linear: bool = False) -> tuple[np.ndarray, float]:
    """Expose, add noise to, round and compress a grey picture H×W; ``linear``: it holds light, to be stored as sRGB.

    Returns what is stored, and the JPEG step, 0 where it is not known or there is none.
    """
    grey = blurred
    if rng.random() < 0.3:
        grey = grey * rng.uniform(0.4, 1.5) + (0 if linear else rng.uniform(-20, 20))
    if linear:
        grey = 255 * SRGB.encode(np.clip(grey / 255, 0, 1).astype(np.float32))
    share = rng.random()
    sigma = 0.0 if share < 0.4 else math.exp(rng.uniform(-0.7, 2.1)) if share < 0.75 else rng.uniform(0, 20)
    grey = grey + sigma * rng.standard_normal(grey.shape, np.float32)
    if rng.random() < 0.9:
        grey = grey.round()
    grey = grey.clip(0, 255).astype(np.float32)
    if rng.random() > 0.2:
        return grey, 0.0
    grey, step = _compressed(grey, int(rng.integers(55, 99)))
    return grey, step if rng.random() < 0.8 else 0.0  # a picture that was saved again does not tell


def _compressed(grey: np.ndarray, quality: int) -> tuple[np.ndarray, float]:
    buffer = BytesIO()
    Image.fromarray(grey.round().astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        table = image.quantization[0]  # pyright: ignore[reportAttributeAccessIssue]
        return np.asarray(image).astype(np.float32), float(np.mean(table))


def loss_of(network: BlurNet, batch: Batch, quantile: float) -> Tensor:
    mean, log_variance, logits = network(batch.inputs, batch.picture, len(batch.target))
    error = mean - batch.target
    likelihood = (error.square() * torch.exp(-log_variance) + log_variance).mean()
    over = error[:, 0] / 2  # of the logarithm of the width
    pinball = torch.maximum((1 - quantile) * over, -quantile * over).mean()
    return likelihood + 2 * pinball + 0.3 * nn.functional.cross_entropy(logits, batch.family)


def train_estimator(config: EstimatorConfig) -> Path:
    """Train, and write ``estimator.safetensors`` into the run's folder; returns the file."""
    folder = Path(config.run.output)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(config.run.seed)
    torch.manual_seed(config.run.seed)
    listing = list_photos(config.data.folders, TILE + 2 * MARGIN)
    if len(listing.files) <= config.data.held_out:
        raise UsrnetError(f"{len(listing.files)} photos are too few to hold out {config.data.held_out} of them")
    held_out, training = listing.split(config.data.held_out)
    (folder / "held_out.txt").write_text("\n".join(map(str, held_out.files)) + "\n", "utf-8")
    network = read(config.model.init) if config.model.init else BlurNet(config.model.hidden)
    pool = Pool(Greys(training.files, rng), config, rng)
    test = _fixed_set(Greys(held_out.files, np.random.default_rng(1)), config)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.schedule.ema)
    )
    optimiser = torch.optim.AdamW(network.parameters(), config.schedule.lr, weight_decay=1e-4)
    steps = config.schedule.steps
    pool.fill(min(config.data.pool, 8 * config.data.batch), config.data.fresh)
    begin = time.perf_counter()
    for number in range(1, steps + 1):
        done = number / steps
        if config.schedule.minutes:
            done = max(done, (time.perf_counter() - begin) / 60 / config.schedule.minutes)
        rate = min(1, number / 50) * (0.5 + 0.5 * math.cos(math.pi * min(1, done)))
        for group in optimiser.param_groups:
            group["lr"] = config.schedule.lr * rate
        pool.add(config.data.fresh)
        loss = loss_of(network, pool.draw(config.data.batch), config.model.quantile)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(network)
        if number % config.run.log_every == 0 or done >= 1:
            seconds = time.perf_counter() - begin
            print(f"{number}/{steps}  {seconds:.0f} s  {_report(average.module, test)}", flush=True)  # noqa: T201
            _save(average.module, folder)
        if done >= 1:
            break
    return _save(average.module, folder)


def _fixed_set(greys: Greys, config: EstimatorConfig) -> Batch:
    rng = np.random.default_rng(2)
    pool = Pool(greys, config, rng)
    for _ in range(60):
        pool.add(4)
    return pool.draw(800)


@torch.no_grad()
def _report(network: nn.Module, test: Batch) -> str:
    """Errors on pictures that were not trained on."""
    mean, log_variance, logits = network(test.inputs, test.picture, len(test.target))
    error = mean - test.target
    width = error[:, 0].abs() / 2
    plain = (test.about[:, 0] > 1) & (test.family == 0)
    right = (logits.argmax(1) == test.family).float().mean()
    surprise = (error.square() * torch.exp(-log_variance)).mean()
    covariances = error.square().mean().sqrt()
    return (
        f"log width {width.mean():.3f} (Gaussians at ×2 to ×4 {width[plain].mean():.3f})  "
        f"log covariance {covariances:.3f}  surprise {surprise:.2f}  family {right:.2f}"
    )


def _save(network: nn.Module, folder: Path) -> Path:
    target = folder / "estimator.safetensors"
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    write_bytes(target, save(state, {"description": "blur from log spectra of tiles"}))
    return target
