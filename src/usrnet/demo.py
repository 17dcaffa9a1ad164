"""The demonstration: a bundled photo is blurred, shrunk and made noisy, then restored; the gain is measured."""

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from PIL import Image

from usrnet import io, kernels, metrics
from usrnet.atomic import ensure_writable
from usrnet.degradation import degrade
from usrnet.figures.drawing import with_kernel
from usrnet.restoration import restore

SCALE = 2
KERNEL = "motion:3"
MARGIN = 12  # pixels of the small picture, cut off because the blur wraps around there
NOISE_LEVEL = 2.55


@dataclass(frozen=True)
class Demo:
    """PSNR over RGB in dB, the settings, and the files written."""

    psnr_bicubic: float
    psnr: float
    scale: int
    noise_level: float
    files: list[Path]


def run_demo(folder: Path, *, model: str = "default") -> Demo:
    """Write ``before.png``, ``after.png``, ``truth.png`` and ``comparison.png`` to ``folder``."""
    ensure_writable(folder)
    with as_file(files("usrnet") / "data" / "astronaut.png") as path:
        truth = io.read(path).pixels
    kernel = kernels.parse(KERNEL, scale=SCALE)
    before = degrade(truth, kernel, scale=SCALE, noise_level=NOISE_LEVEL)[MARGIN:-MARGIN, MARGIN:-MARGIN]
    truth = truth[SCALE * MARGIN : -SCALE * MARGIN, SCALE * MARGIN : -SCALE * MARGIN]
    after = restore(before, model=model, scale=SCALE, kernel=kernel, noise_level=NOISE_LEVEL)
    height, width = truth.shape[:2]
    bicubic = np.asarray(Image.fromarray(before).resize((width, height), Image.Resampling.BICUBIC))
    written = []
    for name, pixels in {
        "before": before,
        "after": after,
        "truth": truth,
        "comparison": _side_by_side(bicubic, after, kernel),
    }.items():
        written.append(folder / f"{name}.png")
        io.write(written[-1], io.Picture(pixels))
    border = SCALE**2
    return Demo(
        psnr_bicubic=metrics.psnr(bicubic, truth, border=border),
        psnr=metrics.psnr(after, truth, border=border),
        scale=SCALE,
        noise_level=NOISE_LEVEL,
        files=written,
    )


def _side_by_side(left: np.ndarray, right: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Two pictures beside each other, the kernel in the corner of the first."""
    left = with_kernel(left, kernel)
    return np.concatenate([left, np.full((left.shape[0], 8, 3), 255, np.uint8), right], axis=1)
