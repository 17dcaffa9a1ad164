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
import tomllib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from pydantic import Field, ValidationError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from usrnet import kernels
from usrnet.atomic import write_bytes
from usrnet.degradation import degrade_batch
from usrnet.errors import UsrnetError
from usrnet.estimate import covariance
from usrnet.estimate.network import FAMILIES, BlurNet
from usrnet.estimate.spectrum import TILE, features
from usrnet.io import read_rgb
from usrnet.train.config import RECIPES, Positive, Section, Share
from usrnet.train.photos import list_photos

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
    fresh: Positive = 24
    batch: Positive = 128
    pool: Positive = 4096


class EstimatorSchedule(Section):
    """``minutes``: where the machine is slow, the learning rate falls with the time and training ends with it."""

    steps: Positive = 12_000
    minutes: Annotated[float, Field(gt=0)] | None = None
    lr: Annotated[float, Field(gt=0)] = 2e-3
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999


class EstimatorModel(Section):
    """Sizes of the network, a file to start from, and how far widths lean to the narrow side: 0.5 is not at all."""

    hidden: tuple[Positive, Positive] = (256, 128)
    init: str | None = None
    quantile: Share = 0.35


class EstimatorConfig(Section):
    """Everything that decides what a run computes."""

    run: EstimatorRun
    data: EstimatorData
    schedule: EstimatorSchedule = EstimatorSchedule()
    model: EstimatorModel = EstimatorModel()


def trains_estimator(source: str | Path) -> bool:
    """Whether a recipe's name or a TOML file is for this network: the file says ``trains = "estimator"``."""
    try:
        return tomllib.loads(_file_of(source).read_text("utf-8")).get("trains") == "estimator"
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return False  # the other reader says what is wrong with it


def read_estimator_config(source: str | Path, overrides: Sequence[str] = ()) -> EstimatorConfig:
    """The configuration in a TOML file or recipe, with ``section.key=value`` put over it. Raises ``UsrnetError``."""
    tree = tomllib.loads(_file_of(source).read_text("utf-8"))
    tree.pop("trains", None)
    tree.setdefault("data", {})  # photos are not named by the recipe
    for override in overrides:
        key, equals, text = override.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (equals and dot):
            raise UsrnetError(f"--set {override}: write section.key=value, as in schedule.steps=1000")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text  # a word need not be quoted
        tree.setdefault(section, {})[name] = value
    try:
        return EstimatorConfig.model_validate(tree)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise UsrnetError(f"{source}: " + "; ".join(problems)) from error


def _file_of(source: str | Path) -> Path:
    recipe = RECIPES / f"{source}.toml"
    return recipe if recipe.is_file() and not Path(source).is_file() else Path(source)


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

    def crops(self, rng: np.random.Generator, count: int, side: int) -> np.ndarray:
        """``count`` crops count×side×side, float32; where all photos are smaller they are mirrored."""
        large = [picture for picture in self.pictures if min(picture.shape) >= side]
        chosen = large or [np.pad(p, [(0, max(0, side - n)) for n in p.shape], "symmetric") for p in self.pictures]
        crops = np.empty((count, side, side), np.float32)
        for crop in crops:
            picture = chosen[rng.integers(len(chosen))]
            top, left = (rng.integers(length - side + 1) for length in picture.shape)
            crop[:] = picture[top : top + side, left : left + side]
        return crops


def draw_kernels(rng: np.random.Generator, count: int, scale: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``count`` blurs: taps count×31×31, covariances count×3 in high-resolution pixels, families count."""
    taps = np.empty((count, SIZE, SIZE))
    family = np.zeros(count, np.int64)
    # published ranges in their windows, any Gaussian, speckled, disk, motion, shrinking, none
    shares = [0.36, 0.26, 0.06, 0.1, 0.04, 0.13, 0.05] if scale > 1 else [0.2, 0.24, 0.04, 0.1, 0.3, 0.02, 0.1]
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
    """Blurred tiles without noise, the newest in place of the oldest."""

    def __init__(self, greys: Greys, config: EstimatorConfig, rng: np.random.Generator) -> None:
        self.greys, self.rng, self.size = greys, rng, config.data.pool
        self.tiles = torch.empty(self.size, TILE, TILE)
        self.covariance = torch.empty(self.size, 3)  # in low-resolution pixels
        self.family = torch.empty(self.size, dtype=torch.long)
        self.scale = torch.empty(self.size, dtype=torch.long)
        self.filled = self.next = 0

    def add(self, count: int) -> None:
        scale = int(self.rng.integers(1, 5))
        margin = MARGIN if scale > 1 else 3 * MARGIN
        side = scale * (TILE + 2 * margin)
        crops = torch.from_numpy(self.greys.crops(self.rng, count, side))
        taps, moments, family = draw_kernels(self.rng, count, scale)
        blurred = degrade_batch(crops[:, None], torch.from_numpy(taps.astype(np.float32))[:, None], scale)[:, 0]
        places = (self.next + torch.arange(count)) % self.size
        self.tiles[places] = blurred[:, margin : margin + TILE, margin : margin + TILE]
        self.covariance[places] = torch.from_numpy(moments / scale**2).float()
        self.family[places] = torch.from_numpy(family)
        self.scale[places] = scale
        self.next = (self.next + count) % self.size
        self.filled = min(self.filled + count, self.size)

    def draw(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Features count×998, log covariances count×3 and families count, of disturbed tiles."""
        rng = self.rng
        places = torch.from_numpy(rng.integers(self.filled, size=count))
        tiles, moments = self.tiles[places].clone(), self.covariance[places].clone()
        turned, mirrored = (torch.from_numpy(rng.random(count) < 0.5) for _ in range(2))
        tiles[turned] = tiles[turned].mT
        moments[turned] = moments[turned].flip(1)
        tiles[mirrored] = tiles[mirrored].flip(2)
        moments[mirrored] = moments[mirrored] * torch.tensor([1.0, -1, 1])
        told, step = disturb(rng, tiles)
        inputs = features(tiles, scale=self.scale[places], noise_level=told, step=step)
        return inputs, covariance.logarithm(moments), self.family[places]


def disturb(rng: np.random.Generator, tiles: Tensor) -> tuple[Tensor, Tensor]:
    """Expose, add noise to, round and compress tiles in place.

    Returns what an estimator of the noise would say, and the JPEG step, N each.
    """
    count = len(tiles)

    def uniform(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, count)).float()

    gain = torch.where(uniform(0, 1) < 0.3, uniform(0.4, 1.5), torch.ones(count))
    lift = torch.where(gain != 1, uniform(-20, 20), torch.zeros(count))
    tiles.mul_(gain[:, None, None]).add_(lift[:, None, None])
    share = uniform(0, 1)
    noise = torch.where(share < 0.5, torch.zeros(count), torch.where(share < 0.9, uniform(0, 15), uniform(15, 25)))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    tiles.add_(noise[:, None, None] * torch.randn(tiles.shape, generator=generator))
    rounded = uniform(0, 1) < 0.9
    tiles.copy_(torch.where(rounded[:, None, None], tiles.round(), tiles).clamp_(0, 255))
    told = torch.sqrt(noise.square() + uniform(0, 1.2).square()) * torch.exp(
        0.1 * torch.randn(count, generator=generator)
    )
    step = torch.zeros(count)
    for i in np.flatnonzero(rng.random(count) < 0.2):
        quality = int(rng.integers(55, 99))
        tiles[i], table = _compressed(tiles[i], quality)
        told[i] = 0
        if rng.random() < 0.8:  # a picture that was saved again does not tell
            step[i] = table
    return told, step


def _compressed(tile: Tensor, quality: int) -> tuple[Tensor, float]:
    buffer = BytesIO()
    Image.fromarray(tile.round().to(torch.uint8).numpy()).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        table = image.quantization[0]  # pyright: ignore[reportAttributeAccessIssue]
        return torch.from_numpy(np.asarray(image).astype(np.float32)), float(np.mean(table))


def loss_of(network: BlurNet, inputs: Tensor, target: Tensor, family: Tensor, quantile: float) -> Tensor:
    mean, log_variance, logits = network(inputs)
    error = mean - target
    likelihood = (error.square() * torch.exp(-log_variance) + log_variance).mean()
    over = error[:, 0] / 2  # of the logarithm of the width
    pinball = torch.maximum((1 - quantile) * over, -quantile * over).mean()
    return likelihood + 2 * pinball + 0.3 * nn.functional.cross_entropy(logits, family)


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
    pool = Pool(Greys(training.files, rng), config, rng)
    test = _fixed_set(Greys(held_out.files, np.random.default_rng(1)), config)
    network = BlurNet(config.model.hidden)
    if config.model.init:
        network.load_state_dict(load_file(config.model.init))
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.schedule.ema)
    )
    optimiser = torch.optim.AdamW(network.parameters(), config.schedule.lr, weight_decay=1e-4)
    steps = config.schedule.steps
    pool.add(max(config.data.fresh, config.data.batch))
    begin = time.perf_counter()
    for number in range(1, steps + 1):
        done = number / steps
        if config.schedule.minutes:
            done = max(done, (time.perf_counter() - begin) / 60 / config.schedule.minutes)
        rate = min(1, number / 50) * (0.5 + 0.5 * math.cos(math.pi * min(1, done)))
        for group in optimiser.param_groups:
            group["lr"] = config.schedule.lr * rate
        pool.add(config.data.fresh)
        loss = loss_of(network, *pool.draw(config.data.batch), config.model.quantile)
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


def _fixed_set(greys: Greys, config: EstimatorConfig) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(2)
    pool = Pool(greys, config, rng)
    for _ in range(40):
        pool.add(config.data.fresh)
    return pool.draw(1024)


@torch.no_grad()
def _report(network: nn.Module, test: tuple[Tensor, Tensor, Tensor]) -> str:
    """Errors on tiles of photos that were not trained on."""
    inputs, target, family = test
    mean, log_variance, logits = network(inputs)
    error = mean - target
    width = error[:, 0].abs().mean() / 2
    right = (logits.argmax(1) == family).float().mean()
    surprise = (error.square() * torch.exp(-log_variance)).mean()
    covariances = error.square().mean().sqrt()
    return f"log width {width:.3f}  log covariance {covariances:.3f}  surprise {surprise:.2f}  family {right:.2f}"


def _save(network: nn.Module, folder: Path) -> Path:
    target = folder / "estimator.safetensors"
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    write_bytes(target, save(state, {"description": "blur from log spectra of tiles"}))
    return target
