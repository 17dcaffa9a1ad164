"""What lamps, linear light, uneven noise, stars and lenses do: the numbers of docs/light.md.

    python benchmarks/light.py {lamps,windows,linear,poisson,stars,field} FOLDER [--count 10] [--first 0]

Photos are blurred with room around them, and the room is cut off, so that nothing wraps. PSNR in dB.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.signal import fftconvolve

from usrnet import io, kernels
from usrnet.restoration import Restorer
from usrnet.restoration.light import SRGB

ROOM = 40
KERNELS = {"motion:16": kernels.motion(16), "disk:5": kernels.disk(5)}


def photos(folder: Path, first: int, count: int, side: int = 256) -> list[np.ndarray]:
    """The upper left corners of the photos that are large enough, H×W×3 in [0,1]."""
    found = (io.read_rgb(path) for path in sorted(folder.glob("*.png")))
    large = [photo[: side + 2 * ROOM, : side + 2 * ROOM] / 255 for photo in found if min(photo.shape[:2]) >= 280]
    return large[first : first + count]


def psnr(result: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> float:
    error = np.square(result.clip(0, 1) - truth)
    return float(-10 * np.log10((error if where is None else error[where]).mean()))


def blurred(scene: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return fftconvolve(scene, kernel[..., None], mode="same", axes=(0, 1))[ROOM:-ROOM, ROOM:-ROOM]


def stored(values: np.ndarray, noise: float, seed: int) -> np.ndarray:
    noisy = values + np.random.default_rng(seed).normal(0, noise / 255, values.shape)
    return (noisy.clip(0, 1) * 255).round().astype(np.uint8)


def with_lamps(photo: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scene, (h, w) = photo**2 / 4, photo.shape[:2]
    y, x = np.mgrid[:h, :w]
    for _ in range(20):
        row, column, radius = rng.integers(20, h - 20), rng.integers(20, w - 20), rng.uniform(1, 3)
        scene[(y - row) ** 2 + (x - column) ** 2 < radius**2] = rng.uniform(2, 20) * rng.uniform(0.5, 1, 3)
    return scene


def with_windows(photo: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scene, (h, w) = photo**2 / 2, photo.shape[:2]
    if seed % 2:
        sky = np.arange(h)[:, None] < (0.35 * h + 12 * np.sin(np.arange(w) / 25)).astype(int)
        scene[sky] = rng.uniform(1.1, 2) * (1 + 0.1 * scene[sky])
    for _ in range(6):
        (height, width), top, left = rng.integers(20, 60, 2), rng.integers(0, h - 60), rng.integers(0, w - 60)
        scene[top : top + height, left : left + width] = rng.uniform(1.2, 4)
    return scene


def saturation(pictures: list[np.ndarray], restorer: Restorer, first: int, make) -> Iterator[dict]:
    for seed, photo in enumerate(pictures, first):
        scene = make(photo, seed)
        truth = scene[ROOM:-ROOM, ROOM:-ROOM].clip(0, 1)
        dark = truth.max(axis=-1) < 0.3
        for name, kernel in KERNELS.items():
            for noise in (1.0, 2.55):
                seen = stored(blurred(scene, kernel), noise, seed)
                row: dict = {"kernel": name, "noise": noise}
                for part, where in (("dark", dark), ("all", None)):
                    row[f"{part} blurred"] = psnr(seen / 255, truth, where)
                for way in ("off", "auto"):
                    out = restorer(seen, scale=1, kernel=kernel, noise_level=noise, saturation=way) / 255
                    row[f"dark {way}"], row[f"all {way}"] = psnr(out, truth, dark), psnr(out, truth)
                yield row


def linear(pictures: list[np.ndarray], restorer: Restorer) -> Iterator[dict]:
    for seed, photo in enumerate(pictures):
        truth = photo[ROOM:-ROOM, ROOM:-ROOM]
        for name in ("motion:16", "motion:7", "gaussian:2"):
            kernel = kernels.parse(name)
            light = blurred(SRGB.decode(photo), kernel)
            for noise in (1.5, 5.0):
                seen = stored(SRGB.encode(light.clip(0, 1)), noise, seed)
                row: dict = {"kernel": name, "noise": noise, "blurred": psnr(seen / 255, truth)}
                for way in ("stored", "linear"):
                    out = restorer(seen, scale=1, kernel=kernel, noise_level=noise, light=way) / 255
                    row[way] = psnr(out, truth)
                yield row


def poisson(pictures: list[np.ndarray], restorer: Restorer) -> Iterator[dict]:
    for seed, photo in enumerate(pictures):
        light = SRGB.decode(photo)
        truth = light[ROOM:-ROOM, ROOM:-ROOM]
        for name, scale in (("motion:16", 1), ("gaussian:1.6", 1), ("gaussian:1.6", 2)):
            kernel = kernels.parse(name)
            clean = blurred(light, kernel).clip(0)[::scale, ::scale]
            for peak in (30, 100, 300):
                counts = np.random.default_rng(seed).poisson(clean * peak)
                seen = (counts / peak).astype(np.float32)
                level = 255 * float(np.sqrt((clean / peak).mean()))
                options: dict = {"scale": scale, "kernel": kernel, "saturation": "off"}
                yield {
                    "kernel": name, "scale": scale, "peak": peak,
                    "one level": psnr(restorer(seen, noise_level=level, **options), truth),
                    "poisson": psnr(restorer(seen, noise_level=f"poisson:{255 / peak}", **options), truth),
                }  # fmt: skip


def stars(pictures: list[np.ndarray], restorer: Restorer) -> Iterator[dict]:
    from usrnet.estimate.stars import full_width, psf_from_stars

    for fwhm in (3.0, 4.5, 6.0):
        truth = kernels.moffat(fwhm, 3.5)
        for seed, photo in enumerate(pictures):
            psf = psf_from_stars(star_field(fwhm, 30, seed))
            sharp = photo[ROOM:-ROOM, ROOM:-ROOM]
            seen = stored(blurred(photo, truth), 2, seed)
            with_psf, with_truth = (
                psnr(restorer(seen, scale=1, kernel=kernel, noise_level=2.0) / 255, sharp)
                for kernel in (psf.kernel, truth)
            )
            error = 100 * (full_width(psf.kernel) / full_width(truth) - 1)
            yield {"fwhm": fwhm, "stars": psf.count, "width error %": error, "psf": with_psf, "truth": with_truth}


def star_field(fwhm: float, count: int, seed: int, size=(512, 640), finer: int = 5) -> np.ndarray:
    """Moffat stars of 8,000 to 200,000 electrons between the pixels, a sky of 200, a read noise of 4."""
    rng = np.random.default_rng(seed)
    star = kernels.moffat(finer * fwhm, 3.5)
    half = star.shape[0] // 2
    fine = np.zeros([finer * side + 2 * half for side in size])
    for flux in np.geomspace(8e3, 2e5, count):
        top, left = (int(rng.integers(100, finer * side - 100)) for side in size)
        fine[top : top + 2 * half + 1, left : left + 2 * half + 1] += flux * star
    fine = fine[half:-half, half:-half]
    return rng.poisson(fine.reshape(size[0], finer, size[1], finer).sum(axis=(1, 3)) + 200) + rng.normal(0, 4, size)


def field(pictures: list[np.ndarray], restorer: Restorer) -> Iterator[dict]:
    for seed, photo in enumerate(pictures):
        h, w = (side - 2 * ROOM for side in photo.shape[:2])
        y, x = (np.arange(side) / side for side in (h, w))
        widths = 1 + 1.5 * (y[:, None] + x) / 2  # from one corner to the other
        levels = np.linspace(1, 2.5, 13)
        stack = np.stack([blurred(photo, kernels.gaussian(width)) for width in levels])
        place = (widths - 1) / 1.5 * 12
        low = place.astype(int).clip(0, 11)
        share = (place - low)[..., None]
        rows, columns = np.ogrid[:h, :w]
        seen = stored((1 - share) * stack[low, rows, columns] + share * stack[low + 1, rows, columns], 1.5, seed)
        middles = 1 + 1.5 * np.add.outer(np.arange(4) + 0.5, np.arange(4) + 0.5) / 8
        grid = kernels.field([[kernels.gaussian(width) for width in row] for row in middles], scale=1)
        truth, options = photo[ROOM:-ROOM, ROOM:-ROOM], {"scale": 1, "noise_level": 1.5}
        local = restorer(seen, kernel=grid, **options) / 255
        mean = restorer(seen, kernel=grid.mean()[0], **options) / 255
        steps = np.abs(np.diff(local - truth, axis=1)).mean(axis=(0, 2))
        cuts = np.unique(np.round(np.arange(1, 8) * w / 8).astype(int))
        yield {"blurred": psnr(seen / 255, truth), "mean PSF": psnr(mean, truth), "grid": psnr(local, truth),
               "steps at seams / elsewhere": float(steps[cuts - 1].mean() / steps.mean())}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["lamps", "windows", "linear", "poisson", "stars", "field"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--model", default="default")
    arguments = parser.parse_args()
    pictures = photos(arguments.folder, arguments.first, arguments.count)
    restorer = Restorer(arguments.model)
    if arguments.what in ("lamps", "windows"):
        make = with_lamps if arguments.what == "lamps" else with_windows
        rows = saturation(pictures, restorer, arguments.first, make)
    else:
        rows = {"linear": linear, "poisson": poisson, "stars": stars, "field": field}[arguments.what](
            pictures, restorer
        )
    for row in rows:
        print(*(f"{key} {value:.2f}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()),
              sep="  ", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
