"""How much is lost when blur and noise have to be found: ``usrnet evaluate blind``.

×2, ×3, ×4: Gaussians in windows of 11, 15 and 19 pixels, variances uniform in [0.175 s, min(2.5 s, 10)], any angle,
the setting of J. Liang et al., "Flow-based kernel prior with application to blind super-resolution" (CVPR 2021) with
kernels that are placed for the scale and drawn with seeds of their own. Circular, upper-left pixel, 8 bits; PSNR over
the luma without a border of s.

×1: kernels of camera shake, noise. A shift of the kernel cannot be seen and is undone before the comparison.
"""

import csv
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from usrnet import io, kernels, metrics
from usrnet.atomic import write_bytes
from usrnet.degradation import check_noise_level, check_scale, degrade_batch
from usrnet.device import choose_device, choose_precision
from usrnet.errors import PictureError, UsrnetError
from usrnet.estimate import covariance, estimate, noise_to_feed
from usrnet.evaluate.methods import digest, interpolate_circular, label
from usrnet.evaluate.protocols import Row
from usrnet.evaluate.run import BEST_PSNR, read_scores
from usrnet.restoration import Restorer, default_kernel, observe
from usrnet.weights import load

WINDOWS = {2: 11, 3: 15, 4: 19}
OWN_SEEDS = (3, 7, 16)  # of motion kernels at ×1, beside those of a file
SHAKE_NOISE = 2.55  # at ×1
CLEARLY_WORSE = 0.3  # dB


@dataclass(frozen=True)
class Case:
    """One picture with one blur, restored with the true kernel and noise, the found ones, and the default width.

    PSNR in dB over the luma. ``minor``, ``major``: relative errors of the widths; ``kernel_error``: the sum of
    squared differences; ``noise_error`` on the 0–255 scale. ``bicubic``: interpolation, at ×1 the input itself.
    """

    picture: str
    scale: int
    kernel: str
    noise_level: float
    true: float
    estimate: float
    default: float
    bicubic: float
    minor: float
    major: float
    kernel_error: float
    noise_error: float
    confidence: float

    @property
    def loss(self) -> float:
        return self.true - self.estimate


def gaussian_of(picture: str, scale: int, number: int) -> np.ndarray:
    """The kernel of a draw: it depends on the picture's name, the scale and the number alone."""
    rng = np.random.default_rng((zlib.crc32(picture.encode()), scale, number))
    first, second = rng.uniform(0.175 * scale, min(2.5 * scale, 10), (2, 1))
    angle = rng.uniform(0, np.pi, 1)
    return kernels.gaussians(first, second, angle, size=WINDOWS[scale], offset=(scale - 1) / 2)[0]


def observe_picture(truth: np.ndarray, kernel: np.ndarray, scale: int, noise_level: float, seed: int) -> np.ndarray:
    """Truth H×W×3 uint8 → small picture uint8."""
    x = torch.from_numpy(truth.astype(np.float64)).permute(2, 0, 1)[None]
    small = degrade_batch(x, torch.from_numpy(kernel)[None, None], scale)[0].permute(1, 2, 0).numpy()
    small = small + noise_level * np.random.default_rng(seed).normal(size=small.shape)
    return small.round().clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class BlindEvaluation:
    """What is measured. ``shakes``: kernels of ×1 with their names."""

    folder: Path
    model: str = "default"
    scales: Sequence[int] = (2, 3, 4)
    noise: Sequence[float] = (0.0, 2.55, 7.65)
    draws: int = 5
    shakes: Sequence[tuple[str, np.ndarray]] = ()
    device: str = "auto"
    precision: str = "fp32"
    failures: dict[str, str] = field(default_factory=dict)
    """Why, by name, a picture could not be measured; filled by ``run``."""

    def __post_init__(self) -> None:
        for scale in self.scales:
            check_scale(scale)
        for level in self.noise:
            check_noise_level(level)

    def run(self, output: Path, pictures: Sequence[Path]) -> Iterator[tuple[int, int]]:
        """Measure what ``output`` does not hold yet; yields the number of cases done and of all."""
        output.mkdir(parents=True, exist_ok=True)
        model: nn.Module = load(self.model)
        options: dict[str, Any] = {"tile": "off", "precision": self.precision, "device": self.device}
        restorer = Restorer(model, boundary="circular", **options)
        finder = Restorer(model, **options) if 1 in self.scales else None  # a part of a picture does not wrap around
        known = read_scores(output)
        draws = list(self._draws(pictures, digest(self.model, model)))
        with (output / "scores.jsonl").open("a", encoding="utf-8") as file:
            file.write("\n")  # a kill may have cut off the last line
            for done, draw in enumerate(draws, 1):
                if draw.key not in known and draw.path.name not in self.failures:
                    try:
                        case = measure(draw, restorer, finder)
                    except UsrnetError as error:
                        named = isinstance(error, PictureError)
                        self.failures[draw.path.name] = str(error) if named else f"{draw.path}: {error}"
                    else:
                        file.write(json.dumps({"key": draw.key, **asdict(case)}) + "\n")
                        file.flush()
                yield done, len(draws)

    def read(self, output: Path, pictures: Sequence[Path]) -> list[Case]:
        """The cases that ``output`` holds. Raises ``UsrnetError`` if there are none."""
        known = read_scores(output)
        names = [field.name for field in fields(Case)]
        found = [
            known[draw.key]
            for draw in self._draws(pictures, digest(self.model))
            if draw.key in known and draw.path.name not in self.failures  # also where some of its cases were measured
        ]
        if not found:
            raise UsrnetError(f"{self.folder}: no picture could be measured: {'; '.join(self.failures.values())}")
        return [Case(**{name: record[name] for name in names}) for record in found]

    def _draws(self, pictures: Sequence[Path], version: str) -> Iterator["Draw"]:
        """``version``: the digest of the model."""
        from usrnet.estimate.network import WEIGHTS

        device = choose_device(self.device)
        rest = WEIGHTS.read_bytes() + repr((version, str(device), choose_precision(self.precision, device))).encode()
        for path in pictures:
            content = hashlib.sha256(path.read_bytes() + rest).hexdigest()
            for scale, name, kernel, level in self._degradations(path.name):
                yield Draw(path, content, scale, name, kernel, level)

    def _degradations(self, picture: str) -> Iterator[tuple[int, str, np.ndarray, float]]:
        for scale in self.scales:
            if scale == 1:
                yield from ((1, name, kernel, SHAKE_NOISE) for name, kernel in self.shakes)
                continue
            for level in self.noise:
                for number in range(self.draws):
                    yield scale, f"draw {number + 1}", gaussian_of(picture, scale, number), level


@dataclass(frozen=True, eq=False)
class Draw:
    """What a case is measured with; ``content``: a hash of the picture, the models and the machine's precision."""

    path: Path
    content: str
    scale: int
    name: str
    kernel: np.ndarray
    noise_level: float

    @property
    def seed(self) -> int:
        """Of the noise."""
        return zlib.crc32(f"{self.path.name} {self.name}".encode())

    @property
    def key(self) -> str:
        """A hash of all that decides the case."""
        known = hashlib.sha256(np.ascontiguousarray(self.kernel).tobytes())
        about = (self.content, self.kernel.shape, self.path.name, self.name, self.scale, self.noise_level)
        known.update(repr(about).encode())
        return known.hexdigest()[:24]


def measure(draw: Draw, restorer: Restorer, finder: Restorer | None = None) -> Case:
    """Degrade, estimate, restore and compare one picture; shake is found with ``finder``. Raises ``UsrnetError``."""
    scale, kernel, level = draw.scale, draw.kernel, draw.noise_level
    picture = io.read_rgb(draw.path)
    multiple, border = 8 * scale, max(scale, 8 if scale == 1 else 0)
    height, width = (length // multiple * multiple for length in picture.shape[:2])
    if min(height, width) < max(kernel.shape):
        raise UsrnetError(
            f"{picture.shape[1]}×{picture.shape[0]} pixels are too few at ×{scale}: cropped to a multiple of "
            f"{multiple} they do not hold the {kernel.shape[0]}×{kernel.shape[1]} kernel"
        )
    truth = picture[:height, :width]
    small = observe_picture(truth, kernel, scale, level, draw.seed)
    found = estimate(small, scale=scale, shake="try" if scale == 1 else "off", restorer=finder)
    fed = noise_to_feed(found.noise_level)
    moved = aligned(found.kernel, kernel) if scale == 1 else found.kernel

    def quality(taps: np.ndarray | str, noise_level: float) -> float:
        restored = restorer.restore(
            small, observe(scale=scale, kernel=taps, noise_level=noise_level, saturation="off")
        )
        return compared(restored)

    def compared(result: np.ndarray) -> float:
        return min(metrics.psnr(result, truth, border=border, y=True), BEST_PSNR)

    plain = small
    if scale > 1:
        row = Row(scale, "", kernel[None], level)
        plain = io.join(interpolate_circular(small.astype(np.float32) / 255, row), None, like=truth)
    real, guess = covariance.axes(covariance.moments(kernel)), covariance.axes(covariance.moments(found.kernel))
    return Case(
        picture=draw.path.name,
        scale=scale,
        kernel=draw.name,
        noise_level=level,
        true=quality(kernel, level),
        estimate=quality(moved, fed),
        default=quality(default_kernel(scale), fed),
        bicubic=compared(plain),
        minor=guess[1] / max(real[1], 1e-3) - 1,
        major=guess[0] / max(real[0], 1e-3) - 1,
        kernel_error=squared_difference(moved, kernel),
        noise_error=found.noise_level - level,
        confidence=found.confidence,
    )


def squared_difference(a: np.ndarray, b: np.ndarray) -> float:
    """The sum of squared differences of two kernels, both centres on each other."""
    side = max(*a.shape, *b.shape) | 1
    canvas = np.zeros((2, side, side))
    for layer, kernel in zip(canvas, (a, b), strict=True):
        top, left = (side // 2 - length // 2 for length in kernel.shape)
        layer[top : top + kernel.shape[0], left : left + kernel.shape[1]] = kernel
    return float(np.square(canvas[0] - canvas[1]).sum())


def aligned(kernel: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """A kernel moved so that it lies on another one as well as it can, to a fifth of a pixel."""
    side = (max(*kernel.shape, *reference.shape) + 16) | 1
    canvas = np.zeros((2, side, side))
    for layer, one in zip(canvas, (kernel, reference), strict=True):
        top, left = (side // 2 - length // 2 for length in one.shape)
        layer[top : top + one.shape[0], left : left + one.shape[1]] = one
    spectra = np.fft.fft2(canvas)
    product = np.fft.ifft2(spectra[1] * spectra[0].conj()).real
    whole = np.roll(canvas[0], np.unravel_index(int(product.argmax()), product.shape), (0, 1))
    steps = np.arange(-0.6, 0.61, 0.2)
    moved = [ndimage.shift(whole, (dy, dx), order=1) for dy in steps for dx in steps]
    best = min(moved, key=lambda one: float(np.square(one - canvas[1]).sum()))
    return best / best.sum()


def summary(cases: Sequence[Case]) -> dict[str, float]:
    """What the table says of some cases, dB unless said otherwise."""
    loss = np.array([case.loss for case in cases])
    gain = np.array([case.estimate - case.default for case in cases])
    return {
        "cases": len(cases),
        "psnr_true": float(np.mean([case.true for case in cases])),
        "psnr_estimate": float(np.mean([case.estimate for case in cases])),
        "psnr_default": float(np.mean([case.default for case in cases])),
        "psnr_bicubic": float(np.mean([case.bicubic for case in cases])),
        "loss_mean": float(loss.mean()),
        "loss_median": float(np.median(loss)),
        "loss_95": float(np.quantile(loss, 0.95)),
        "loss_worst": float(loss.max()),
        "gain_over_default": float(gain.mean()),
        "clearly_worse_than_default": float((gain < -CLEARLY_WORSE).mean()),
        "gain_over_bicubic": float(np.mean([case.estimate - case.bicubic for case in cases])),
        "minor_error": float(np.mean([abs(case.minor) for case in cases])),
        "major_error": float(np.mean([abs(case.major) for case in cases])),
        "noise_error": float(np.mean([abs(case.noise_error) for case in cases])),
    }


def write_reports(
    cases: Sequence[Case], output: Path, *, model: str, folder: Path, failures: Mapping[str, str] | None = None
) -> list[Path]:
    """``results.json``, ``results.csv`` (all cases) and ``results.md`` (the table).

    ``failures``: why some pictures are left out, by name.
    """
    groups = sorted({(case.scale, case.noise_level) for case in cases})
    rows = []
    for scale, level in groups:
        chosen = [case for case in cases if (case.scale, case.noise_level) == (scale, level)]
        rows.append({"scale": scale, "kernel": "blind", "noise_level": level, **summary(chosen)})
    for level in sorted({level for scale, level in groups if scale > 1}):
        chosen = [case for case in cases if case.noise_level == level and case.scale > 1]
        rows.append({"scale": "all", "kernel": "blind", "noise_level": level, **summary(chosen)})
    results = {
        "protocol": "blind",
        "model": label(model),
        "dataset": folder.resolve().name,
        "images": len({case.picture for case in cases}),
        "failures": dict(failures or {}),
        "rows": rows,
        "mean_psnr": float(np.mean([case.estimate for case in cases])),
    }
    head = "| scale | noise | cases | true | found | default | bicubic | loss mean / median / 95 % | gain | worse |"
    lines = [head, "| --- " * 10 + "|"]
    for row in rows:
        loss = f"{row['loss_mean']:.2f} / {row['loss_median']:.2f} / {row['loss_95']:.2f}"
        lines.append(
            f"| ×{row['scale']} | {row['noise_level']:g} | {row['cases']} | {row['psnr_true']:.2f} | "
            f"{row['psnr_estimate']:.2f} | {row['psnr_default']:.2f} | {row['psnr_bicubic']:.2f} | {loss} | "
            f"{row['gain_over_default']:.2f} | {row['clearly_worse_than_default']:.1%} |"
        )
    text = (
        f"# {results['dataset']}, {results['model']}: blur and noise found in the picture\n\nPSNR over the luma, dB. "
        "Loss: against the true kernel; gain: over the default width; worse: share of the cases more than "
        f"{CLEARLY_WORSE} dB below the default width.\n\n" + "\n".join(lines) + "\n"
    )
    if failures:
        text += f"\nLeft out: {'; '.join(failures.values())}.\n"
    written = [output / name for name in ("results.json", "results.csv", "results.md")]
    write_bytes(written[0], json.dumps(results, indent=1).encode())
    with written[1].open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Case)])
        writer.writeheader()
        writer.writerows(map(asdict, cases))
    write_bytes(written[2], text.encode())
    return written


def shakes_of(path: Path | None) -> list[tuple[str, np.ndarray]]:
    """The kernels of ×1: numbers 9 to 12 of the file of Table 1, where it is given, and our own seeded ones."""
    published = [] if path is None else list(enumerate(kernels.load_all(path), 1))[8:12]
    return [(f"k{number}", kernel) for number, kernel in published] + [
        (f"motion:{seed}", kernels.motion(seed)) for seed in OWN_SEEDS
    ]


__all__ = ["BlindEvaluation", "Case", "aligned", "shakes_of", "summary", "write_reports"]
