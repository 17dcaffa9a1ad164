"""Beside what is used today: scikit-image's deconvolutions, and interpolation.

    python benchmarks/comparison.py [--pictures docs/images] [--only deblurring|enlarging]

Four photos of scikit-image are blurred, decimated and made noisy with room around them, and the room is cut off, so
that nothing wraps. Everybody gets the kernel. The other methods are given the truth as well, to choose their settings
by: for every photo the best of all iterations (``richardson_lucy``) or weights (``wiener``), and of the photo as it
is and mirrored beyond its border (enlarged ones: mirrored). Ours get the noise level, and nothing is chosen. PSNR in
dB over RGB up to the border, mean over the photos; the seconds are those of one call with the settings chosen.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image
from skimage.restoration import richardson_lucy, unsupervised_wiener, wiener

import usrnet
from usrnet import kernels, metrics
from usrnet.figures.drawing import sheet, with_kernel
from usrnet.restoration import Restorer

SIDE, ROOM = 240, 24  # of what is compared, and around it: both divisible by every scale
ITERATIONS = (5, 10, 20, 40, 80)
WEIGHTS = np.logspace(-4, 1, 21)
KERNELS, NOISE = ("gaussian:2", "motion:16"), (1.0, 5.0)

Found = tuple[np.ndarray, float]  # the result H×W×3 uint8, and the seconds
Method = Callable[[np.ndarray, str, int, float, np.ndarray], Found]  # small, kernel, scale, noise, truth


def photos() -> list[np.ndarray]:
    """Free photos (NASA's astronaut; the others CC0), 288×288×3 uint8."""
    corners = {"astronaut": (0, 120), "coffee": (70, 180), "chelsea": (0, 110), "rocket": (130, 200)}
    side = SIDE + 2 * ROOM
    return [getattr(skimage.data, name)()[y : y + side, x : x + side] for name, (y, x) in corners.items()]


def stored(values: np.ndarray) -> np.ndarray:
    return (values.clip(0, 1) * 255).round().astype(np.uint8)


def best(tries: Iterable[Callable[[], np.ndarray]], truth: np.ndarray) -> Found:
    """The result that is nearest to the truth."""
    found: list[tuple[float, Found]] = []
    for attempt in tries:
        begin = time.perf_counter()
        result = attempt()
        seconds = time.perf_counter() - begin
        found.append((metrics.psnr(result, truth), (result, seconds)))
    return max(found, key=lambda pair: pair[0])[1]


def channelwise(
    restore: Callable[[np.ndarray], np.ndarray], blurred: np.ndarray, mirrored: int
) -> Callable[[], np.ndarray]:
    """A method for one channel, for three, with so many pixels mirrored beyond the border."""

    def attempt() -> np.ndarray:
        given = np.pad(blurred, [(mirrored, mirrored)] * 2 + [(0, 0)], mode="symmetric") / 255
        result = np.stack([restore(given[..., channel]) for channel in range(3)], axis=-1)
        return stored(result[mirrored : len(given) - mirrored, mirrored : given.shape[1] - mirrored])

    return attempt


def with_richardson_lucy(small: np.ndarray, text: str, scale: int, noise: float, truth: np.ndarray) -> Found:
    taps = kernels.parse(text)
    large, first = with_cubic(small, text, scale, noise, truth)
    result, seconds = best(
        (
            channelwise(lambda x, n=count: richardson_lucy(x, taps, num_iter=n), large, room)
            for count in ITERATIONS
            for room in ((0, ROOM) if scale == 1 else (ROOM,))
        ),
        truth,
    )
    return result, seconds + (first if scale > 1 else 0)


def with_wiener(small: np.ndarray, text: str, scale: int, noise: float, truth: np.ndarray) -> Found:
    taps = kernels.parse(text)
    return best(
        (
            channelwise(lambda x, b=weight: np.asarray(wiener(x, taps, b)), small, room)
            for weight in WEIGHTS
            for room in (0, ROOM)
        ),
        truth,
    )


def with_unsupervised(small: np.ndarray, text: str, scale: int, noise: float, truth: np.ndarray) -> Found:
    taps = kernels.parse(text)
    return best(
        (
            channelwise(lambda x: np.asarray(unsupervised_wiener(x, taps, rng=0)[0]), small, room)
            for room in (0, ROOM)
        ),
        truth,
    )


def with_cubic(small: np.ndarray, text: str, scale: int, noise: float, truth: np.ndarray) -> Found:
    """torch's bicubic, which is that of OpenCV (a = −0.75, pixels are areas)."""
    begin = time.perf_counter()
    x = torch.from_numpy(small / 255).permute(2, 0, 1)[None]
    y = torch.nn.functional.interpolate(x, scale_factor=scale, mode="bicubic", align_corners=False)
    return stored(y[0].permute(1, 2, 0).numpy()), time.perf_counter() - begin


def with_lanczos(small: np.ndarray, text: str, scale: int, noise: float, truth: np.ndarray) -> Found:
    begin = time.perf_counter()
    height, width = (scale * length for length in small.shape[:2])
    enlarged = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.LANCZOS))
    return enlarged, time.perf_counter() - begin


def ours(model: str) -> Method:
    restorer, ready = Restorer(model), set()

    def restore(small: np.ndarray, text: str, scale: int, noise: float, truth: np.ndarray) -> Found:
        if (small.shape, scale) not in ready:
            restorer(small, scale=scale, kernel=text, noise_level=noise)  # what is done once per size is not counted
            ready.add((small.shape, scale))
        begin = time.perf_counter()
        return restorer(small, scale=scale, kernel=text, noise_level=noise), time.perf_counter() - begin

    return restore


def observe(photo: np.ndarray, text: str, scale: int, noise: float, seed: int) -> np.ndarray:
    """Blurred, decimated and noisy, without what wrapped around."""
    room = ROOM // scale
    return usrnet.degrade(photo, text, scale=scale, noise_level=noise, seed=seed)[room:-room, room:-room]


def table(methods: dict[str, Method], scales: Iterable[int], texts: Iterable[str]) -> None:
    print(f"| kernel | noise | {' | '.join(methods)} |\n{'| --- ' * (len(methods) + 2)}|", flush=True)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for scale in scales:
        for text, noise in product(texts, NOISE):
            scores = {name: [] for name in methods}
            for seed, photo in enumerate(photos()):
                truth = photo[ROOM:-ROOM, ROOM:-ROOM]
                small = observe(photo, text, scale, noise, seed)
                for name, method in methods.items():
                    result, taken = method(small, text, scale, noise, truth)
                    scores[name].append(metrics.psnr(result, truth))
                    seconds[name].append(taken)
            means = {name: float(np.mean(values)) for name, values in scores.items()}
            top = max(means.values())
            cells = (f"**{value:.2f}**" if value == top else f"{value:.2f}" for value in means.values())
            name = text if scale == 1 else f"×{scale}, {text}"
            print(f"| {name} | {noise:g} | {' | '.join(cells)} |", flush=True)
    print(f"| seconds | | {' | '.join(f'{np.median(values):.2f}' for values in seconds.values())} |", flush=True)


def pictures(folder: Path, methods: dict[str, Method]) -> None:
    """A shaken photo by all methods, for noise 1 and for noise 5 another."""
    for noise, index in ((1.0, 0), (5.0, 1)):
        photo, text = photos()[index], "motion:16"
        truth = photo[ROOM:-ROOM, ROOM:-ROOM]
        small = observe(photo, text, 1, noise, index)
        row = [(f"blurred, noise {noise:g}", with_kernel(small, kernels.parse(text)))]
        for name, method in methods.items():
            result, _ = method(small, text, 1, noise, truth)
            row.append((f"{name}, {metrics.psnr(result, truth):.1f} dB", result))
        row.append(("truth", truth))
        path = folder / f"comparison_{noise:g}.jpg"
        Image.fromarray(sheet([row[:3], row[3:]])).save(path, quality=90, subsampling=0)
        print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("deblurring", "enlarging"))
    parser.add_argument("--scales", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--kernels", nargs="+", default=KERNELS)
    parser.add_argument("--pictures", type=Path, help="a folder: the figures, in place of the tables")
    arguments = parser.parse_args()
    others: dict[str, Method] = {
        "richardson_lucy": with_richardson_lucy,
        "wiener": with_wiener,
        "unsupervised_wiener": with_unsupervised,
    }
    if arguments.pictures:
        pictures(arguments.pictures, others | {"usrnet": ours("default")})
        return
    mine = {"usrnet `tv`": ours("tv"), "usrnet `default`": ours("default")}
    if arguments.only != "enlarging":
        table({"input": with_cubic} | others | mine, [1], arguments.kernels)
    if arguments.only != "deblurring":
        interpolation: dict[str, Method] = {"cubic": with_cubic, "Lanczos": with_lanczos}
        table(
            interpolation | {"cubic, richardson_lucy": with_richardson_lucy} | mine,
            arguments.scales,
            arguments.kernels,
        )


if __name__ == "__main__":
    main()
