"""Data synthesis and training steps, as ratios in one run.

    python benchmarks/training.py --photos FOLDER [--pairs 7]

Synthesis: batches as the trainer makes them, against one sample after the other with `scipy.ndimage.convolve`, as the
published code worked. Step: the tiny model's training step as the trainer runs it here, channels-last and
in bfloat16 where that is native, against float32 in the default memory layout, on the same batch.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import convolve
from torch.nn import functional as F

from usrnet import kernels
from usrnet.device import multiplies_bf16
from usrnet.io import read_rgb
from usrnet.model import USRNet
from usrnet.train.config import read_config
from usrnet.train.initialise import start_as_identity
from usrnet.train.photos import list_photos, open_photos
from usrnet.train.synthesis import Batch, Synthesis


def one_by_one(photos: list[np.ndarray], rng: np.random.Generator, patch: int, batch: int, scale: int) -> None:
    """A batch of the published recipe, sample by sample."""
    for _ in range(batch):
        photo = photos[rng.integers(len(photos))]
        top, left = (rng.integers(length - patch + 1) for length in photo.shape[:2])
        sharp = photo[top : top + patch, left : left + patch] / 255
        if rng.random() < 0.5:
            kernel = kernels.motion(int(rng.integers(2**31)))
        else:
            width, width2 = rng.uniform(0.4, 3.2, 2)
            kernel = kernels.gaussian(width, width2, rng.uniform(0, 180), size=25)[:25, :25]
        blurred = convolve(sharp, kernel[..., None], mode="wrap")[::scale, ::scale]
        blurred += rng.normal(0, rng.uniform(0, 25) / 255, blurred.shape)


def step_of(batch: Batch, *, fast: bool) -> Callable[[], None]:
    """A training step on a fixed batch."""
    model = USRNet()
    start_as_identity(model, 0)
    if fast:
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimiser = torch.optim.Adam(model.parameters(), 1e-4, foreach=True)
    native = multiplies_bf16(torch.device("cpu"))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=fast and native):
            restored = model(batch.y, batch.kernel, batch.scale, batch.sigma)
        F.l1_loss(restored, batch.sharp).backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def compare(name: str, slow: Callable[[], object], fast: Callable[[], object], pairs: int) -> None:
    seconds(slow)  # the first run of each is not counted
    seconds(fast)
    taken = [(seconds(slow), seconds(fast)) for _ in range(pairs)]
    ratios = [a / b for a, b in taken]
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(
        f"{name}: {middle:.1f} times faster (quartiles {low:.1f} to {high:.1f}); share of the time {1 / middle:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--batch", type=int, default=48, help="of the synthesis (default: the published 48)")
    parser.add_argument("--step-batch", type=int, default=16, help="of the training step (default: 16)")
    arguments = parser.parse_args()
    folders = f"data.folders=['{arguments.photos}']"
    config = read_config("kair-usrnet-tiny", [folders, "run.output=unused", f"data.batch={arguments.batch}"])
    patch, batch, scale = config.data.patch, config.data.batch, 2
    listing = list_photos(config.data.folders, patch)
    opened = open_photos(listing, torch.device("cpu"), resident=True, workers=0)
    synthesis = Synthesis(config, opened, listing.shares("pixels"), torch.device("cpu"))
    loaded = [read_rgb(path) for path in listing.files[:50]]
    rng = np.random.default_rng(0)
    batches = synthesis.batches(range(10**6), range(1), batch)
    compare(
        f"synthesis, batch {batch}, patch {patch}",
        lambda: one_by_one(loaded, rng, patch, batch, scale),
        lambda: next(batches),
        arguments.pairs,
    )
    batch = arguments.step_batch
    fixed = synthesis.degrade((torch.rand(batch, 3, patch, patch) * 255).byte(), scale, rng)
    compare(
        f"tiny training step, batch {batch}, patch {patch}",
        step_of(fixed, fast=False), step_of(fixed, fast=True), arguments.pairs,
    )  # fmt: skip


if __name__ == "__main__":
    main()
