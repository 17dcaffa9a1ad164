"""How well the noise of a picture is found, over blurs, noise levels and JPEG qualities.

    python benchmarks/noise.py FOLDER... [--pictures 15] [--kernels kernels_12.mat]

Nine blurs, σ from 0 to 15, 8 bits: the mean absolute error on the 0–255 scale. Then JPEG files (with and without
subsampled chroma) against the real root mean square error of their pixels.
"""

import argparse
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from usrnet import io, kernels
from usrnet.degradation import degrade_batch
from usrnet.estimate import noise

LEVELS = (0, 1, 2.55, 5, 7.65, 10, 15)


def published(rng: np.random.Generator, scale: int) -> np.ndarray:
    variances = rng.uniform(0.175 * scale, min(2.5 * scale, 10), 2)
    angle = rng.uniform(0, np.pi, 1)
    side = {2: 11, 3: 15, 4: 19}[scale]
    return kernels.gaussians(variances[:1], variances[1:], angle, size=side, offset=(scale - 1) / 2)[0]


def blurred(picture: np.ndarray, kernel: np.ndarray, scale: int) -> np.ndarray:
    height, width = (length // 12 * 12 for length in picture.shape[:2])
    x = torch.from_numpy(picture[:height, :width].astype(np.float64)).permute(2, 0, 1)[None]
    return degrade_batch(x, torch.from_numpy(kernel)[None, None], scale)[0].permute(1, 2, 0).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--pictures", type=int, default=15)
    parser.add_argument("--kernels", type=Path, required=True, help="kernels_12.mat")
    options = parser.parse_args()
    paths = [path for folder in options.folders for path in sorted(folder.iterdir())]
    paths = [paths[i] for i in np.linspace(0, len(paths) - 1, options.pictures).round().astype(int)]
    pictures = [io.read_rgb(path) for path in paths]
    shakes = kernels.load_all(options.kernels)[8:12]
    rng = np.random.default_rng(1)
    conditions = [
        ("sharp", 1, lambda _: kernels.delta()),
        ("gaussian 0.8", 1, lambda _: kernels.gaussian(0.8)),
        ("gaussian 1.6", 1, lambda _: kernels.gaussian(1.6)),
        ("motion", 1, lambda i: shakes[i % 4]),
        *((f"x{s} gaussian", s, lambda _, s=s: published(rng, s)) for s in (2, 3, 4)),
        ("x2 bicubic", 2, lambda _: kernels.bicubic(2)),
        ("x4 bicubic", 4, lambda _: kernels.bicubic(4)),
    ]
    means = []
    for name, scale, make in conditions:
        errors = []
        for number, picture in enumerate(pictures):
            clean = blurred(picture[:384, :384] if scale == 1 else picture, make(number), scale)
            for level in LEVELS:
                noisy = np.clip(np.round(clean + level * rng.normal(size=clean.shape)), 0, 255)
                errors.append(noise.measure(noisy).level - level)
        table = np.array(errors).reshape(len(pictures), len(LEVELS))
        means.append(np.abs(table).mean())
        bias = "  ".join(f"{value:+.2f}" for value in table.mean(axis=0))
        print(f"{name:14s} mean error {means[-1]:.2f}, worst {np.abs(table).max():.1f}, bias by level {bias}")
    print(f"mean over the blurs {np.mean(means):.2f}, worst blur {max(means):.2f}")
    for subsampling, text in ((0, "4:4:4"), (2, "4:2:0")):
        for blur in ("sharp", "gaussian 1.6"):
            for quality in (60, 70, 80, 90, 95):
                ratios = []
                for picture in pictures:
                    kernel = kernels.delta() if blur == "sharp" else kernels.gaussian(1.6)
                    clean = blurred(picture[:384, :384], kernel, 1)
                    for level in (0, 2.55, 7.65):
                        noisy = np.clip(np.round(clean + level * rng.normal(size=clean.shape)), 0, 255)
                        buffer = BytesIO()
                        Image.fromarray(noisy.astype(np.uint8)).save(
                            buffer, "JPEG", quality=quality, subsampling=subsampling
                        )
                        with Image.open(buffer) as image:
                            tables = [
                                np.array(t).reshape(8, 8)
                                for t in image.quantization.values()  # pyright: ignore[reportAttributeAccessIssue]
                            ]
                            pixels = np.asarray(image).astype(np.float64)
                        found = noise.measure(pixels, tables=tables, subsampled=subsampling == 2).level
                        ratios.append(found / np.sqrt(np.mean((pixels - clean) ** 2)))
                ratio = np.array(ratios).reshape(-1, 3)
                off = np.abs(ratio - 1)
                print(
                    f"JPEG {quality} {text} {blur}: found / real {np.round(ratio.mean(axis=0), 2)} at noise 0, 2.55, "
                    f"7.65; mean deviation {off.mean():.2f}, within 40 % {(off <= 0.4).mean():.0%}"
                )


if __name__ == "__main__":
    main()
