"""What the border of a picture costs: PSNR with a smooth border, one from the blur, and the true surroundings.

    python benchmarks/borders.py [--model default]

Photos of scikit-image are blurred, decimated and made noisy, and the part that no wrapping has touched is cut out.
PSNR in dB over that part, and over the band along its border that is 32 enlarged pixels wide. The true surroundings:
the whole degraded photo is restored before the part is cut out. Time: of a restoration with the border from the blur,
as a multiple of one with the smooth border, in turns.
"""

import argparse
import time
from functools import partial

import numpy as np
import skimage.data

import usrnet
from usrnet import kernels
from usrnet.restoration import Restorer

CASES = [
    ("motion:16", 1, 1.0),
    ("motion:16", 1, 2.55),
    ("motion:16", 1, 7.65),
    ("gaussian:2", 1, 1.0),
    ("gaussian:4", 1, 1.0),
    ("gaussian:2,0.8,30", 1, 2.55),
    ("motion:5", 2, 1.0),
    ("motion:5", 2, 2.55),
    ("gaussian:2", 2, 1.0),
    ("gaussian:2.4", 3, 1.0),
    ("gaussian:2", 4, 2.0),
    ("bicubic", 4, 0.0),
]
BAND = 32


def scores(out: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """PSNR over everything and over the band along the border, in dB."""
    error = (out.astype(np.float64) - truth) ** 2
    inner = error[BAND:-BAND, BAND:-BAND]
    band = (error.sum() - inner.sum()) / (error.size - inner.size)
    return 10 * np.log10(255**2 / np.array([error.mean(), band]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    model = usrnet.load(parser.parse_args().model)
    photos = [skimage.data.astronaut()[:400, 60:460], skimage.data.coffee()[:400, 100:500],
              skimage.data.chelsea()[:300, 60:440], skimage.data.rocket()[:400, 100:500]]  # fmt: skip
    print("| kernel | scale | noise | smooth | from the blur | surroundings known | time |\n" + "| --- " * 7 + "|")
    for text, scale, noise_level in CASES:
        taps = kernels.parse(text, scale)
        cut = -(-max(taps.shape) // scale)
        found: dict[str, list[np.ndarray]] = {"liu-jia": [], "extrapolate": [], "known": []}
        seconds = {"liu-jia": 0.0, "extrapolate": 0.0}
        restorers = {
            name: partial(Restorer(model, boundary=name), scale=scale, kernel=taps, noise_level=noise_level)
            for name in ("liu-jia", "extrapolate")
        }
        for photo in photos:
            photo = photo[tuple(slice(length // scale * scale) for length in photo.shape[:2])]
            small = usrnet.degrade(photo, taps, scale=scale, noise_level=noise_level)
            inner, part = (slice(cut, -cut),) * 2, (slice(scale * cut, -scale * cut),) * 2
            truth = photo[part]
            for name, restorer in restorers.items():
                restorer(small[inner])  # what is done once is not timed
                begin = time.perf_counter()
                found[name].append(scores(restorer(small[inner]), truth))
                seconds[name] += time.perf_counter() - begin
            found["known"].append(scores(restorers["extrapolate"](small)[part], truth))
        means = {name: np.mean(values, axis=0) for name, values in found.items()}
        shown = " | ".join(f"{everywhere:.2f} ({band:.2f})" for everywhere, band in means.values())
        share = seconds["extrapolate"] / seconds["liu-jia"]
        print(f"| {text} | ×{scale} | {noise_level:g} | {shown} | {share:.2f} |", flush=True)


if __name__ == "__main__":
    main()
