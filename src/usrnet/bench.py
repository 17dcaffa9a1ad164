"""How fast and how large restoring is, as ratios to a plain implementation of the published formulas in the same run.

Absolute times on shared machines say little; so the baseline and every mode are run in turns and compared pair by
pair. The baseline is the paper's algorithm as it is written: float32 in the default memory layout, equation (7) with
complex FFTs of the enlarged picture.
"""

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from usrnet import kernels
from usrnet.device import REDUCED, best_precision, describe_threads, peak_memory_mb
from usrnet.model import CONFIGS, USRNet
from usrnet.model.reference import published_form
from usrnet.restoration import Restorer, inference


@dataclass(frozen=True)
class Measurement:
    """One mode on one problem: seconds (median), how many times faster than the baseline, spread, peak memory.

    ``low`` and ``high`` are the quartiles of the ratio over the pairs; ``megabytes`` is the growth of the process's
    peak memory during one restoration; ``share_of_limit`` is the time that the convolutions' arithmetic alone would
    take at the measured speed of a 64-channel convolution, divided by the time taken.
    """

    architecture: str
    side: int
    mode: str
    seconds: float
    ratio: float
    low: float
    high: float
    megabytes: float
    share_of_limit: float


HEADER = (
    "| model | result | mode | times faster | quartiles | ms | memory | of the arithmetic limit |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)


def as_markdown(one: Measurement) -> str:
    """The line of the table under ``HEADER``."""
    return (
        f"| {one.architecture} | {one.side}×{one.side} | {one.mode} | {one.ratio:.2f} "
        f"| {one.low:.2f} to {one.high:.2f} | {1000 * one.seconds:.0f} | {one.megabytes:.0f} MB "
        f"| {one.share_of_limit:.0%} |"
    )


@dataclass(frozen=True)
class Problem:
    """A random picture of ``side``/2 to be enlarged by 2, told a Gaussian of width 1.6 and noise level 2.55."""

    architecture: str
    side: int
    device: torch.device

    def arguments(self) -> tuple[Tensor, Tensor, int, Tensor]:
        generator = torch.Generator().manual_seed(0)
        y = torch.rand((1, 3, self.side // 2, self.side // 2), generator=generator).to(self.device)
        kernel = torch.from_numpy(kernels.gaussian(1.6))[None, None].float().to(self.device)
        return y, kernel, 2, y.new_full((1, 1, 1, 1), 2.55 / 255)

    def runner(self, mode: str) -> Callable[[], Tensor]:
        """A function that restores once. Modes: ``published``, ``fp32``, ``bf16``, ``fp16``."""
        torch.manual_seed(0)
        model = USRNet(CONFIGS[self.architecture]).to(self.device).eval().requires_grad_(requires_grad=False)
        arguments = self.arguments()
        if mode == "published":
            return lambda: published_form(model, *arguments)
        restorer = Restorer(model, precision=mode)

        def run() -> Tensor:
            with inference(self.device, restorer.autocast):
                return restorer.model(*arguments)

        return run


def modes(device: torch.device) -> list[str]:
    """What is measured on a device besides the baseline."""
    return list(dict.fromkeys(["fp32", best_precision(device)]))


def measure(problem: Problem, names: Sequence[str], *, pairs: int = 7) -> list[Measurement]:
    """Time the modes and the baseline in turns, after one round that is not counted."""
    runners = {name: problem.runner(name) for name in ("published", *names)}
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for round_number in range(pairs + 1):
        for name, run in runners.items():
            taken = time_once(run, problem.device)
            if round_number:
                seconds[name].append(taken)
    limits = {name: arithmetic_seconds(problem, REDUCED.get(name) or torch.float32) for name in runners}
    measured = []
    for name, taken in seconds.items():
        ratios = [base / one for base, one in zip(seconds["published"], taken, strict=True)]
        quartiles = statistics.quantiles(ratios, n=4)
        median = statistics.median(taken)
        measured.append(
            Measurement(
                problem.architecture,
                problem.side,
                name,
                median,
                statistics.median(ratios),
                quartiles[0],
                quartiles[2],
                peak_megabytes(problem, name),
                limits[name] / median,
            )
        )
    return measured


def time_once(run: Callable[[], Tensor], device: torch.device) -> float:
    """Seconds of one call, until the device is done."""
    begin = time.perf_counter()
    with torch.inference_mode():
        run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def arithmetic_seconds(problem: Problem, dtype: torch.dtype) -> float:
    """The time of the prior's convolutions at the speed of a 64→64 convolution measured here and now."""
    sizes = CONFIGS[problem.architecture]
    x = torch.rand(1, 64, 256, 256, dtype=dtype, device=problem.device).to(memory_format=torch.channels_last)
    weight = torch.rand(64, 64, 3, 3, dtype=dtype, device=problem.device).to(memory_format=torch.channels_last)
    times = [time_once(lambda: torch.conv2d(x, weight, padding=1), problem.device) for _ in range(12)]
    rate = 2 * 64 * 64 * 9 * 256**2 / statistics.median(times[2:])
    return sizes.n_iter * flops_per_pixel(problem.architecture) * problem.side**2 / rate


def flops_per_pixel(architecture: str) -> float:
    """Floating-point operations of one prior step per pixel; a multiplication and an addition are two."""
    sizes = CONFIGS[architecture]
    c1, c2, c3, c4 = sizes.channels
    multiplications = 9 * (4 * c1 + 3 * c1)
    for level, channels in enumerate((c1, c2, c3)):
        multiplications += 2 * sizes.blocks * 2 * 9 * channels**2 / 4**level
    multiplications += sizes.blocks * 2 * 9 * c4**2 / 64
    for level, (fine, coarse) in enumerate(((c1, c2), (c2, c3), (c3, c4))):
        multiplications += 2 * fine * coarse / 4**level  # 2×2 taps at a quarter of the pixels, down and up
    return 2 * multiplications


def peak_megabytes(problem: Problem, mode: str) -> float:
    """Growth of the peak memory during one restoration, in a process of its own (on a GPU: of its allocator)."""
    arguments = [problem.architecture, str(problem.side), str(problem.device), mode]
    done = subprocess.run(
        [sys.executable, "-m", "usrnet.bench", *arguments], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def hardware(device: torch.device) -> str:
    """The name of what is measured, for the table."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = torch.cpu.get_capabilities().get("cpu_name") or platform.processor()
    return f"{name}, {describe_threads()}"


def _write_peak(architecture: str, side: str, device: str, mode: str) -> None:
    problem = Problem(architecture, int(side), torch.device(device))
    small = Problem(architecture, 64, problem.device).runner(mode)
    run = problem.runner(mode)
    with torch.inference_mode():
        small()  # what libraries allocate once is not the picture's
        before = peak_memory_mb()
        run()
    on_gpu = problem.device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_memory_mb() - before
    sys.stdout.write(f"{peak}\n")


if __name__ == "__main__":
    _write_peak(*sys.argv[1:])
