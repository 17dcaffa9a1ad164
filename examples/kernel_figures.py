"""The families of blur kernels as pictures: three animations and the bicubic kernels.

python examples/kernel_figures.py OUT_DIR [--frames 30]
"""

import argparse
from pathlib import Path

import numpy as np

from usrnet import kernels, plot


def isotropic(frames: int) -> list[np.ndarray]:
    """The width breathes between 0.4 and 4, by equal ratios."""
    phases = 2 * np.pi * np.arange(frames) / frames
    widths = 0.4 * 10 ** ((1 - np.cos(phases)) / 2)
    return [_frame(kernels.gaussian(width, size=29), f"gaussian:{width:.1f}") for width in widths]


def anisotropic(frames: int) -> list[np.ndarray]:
    """One axis makes half a turn, after which everything is as before, while the other breathes."""
    made = []
    for part in np.arange(frames) / frames:
        narrow, degrees = 1.4 - 0.6 * np.cos(2 * np.pi * part), 180 * part
        made.append(_frame(kernels.gaussian(3.4, narrow, degrees), f"gaussian:3.4,{narrow:.1f},{degrees:.0f}"))
    return made


def motion(frames: int) -> list[np.ndarray]:
    """One camera shake after the other."""
    return [_frame(kernels.motion(seed), f"motion:{seed}") for seed in range(frames)]


def bicubic() -> np.ndarray:
    """The kernels of ×2, ×3 and ×4 on one grid."""
    scales = (2, 3, 4)
    made = [kernels.bicubic(scale) for scale in scales]
    side = made[-1].shape[0]
    made = [np.pad(kernel, (side - kernel.shape[0]) // 2) for kernel in made]
    return plot.render(plot.kernel_figure(made, [f"bicubic ×{scale}" for scale in scales]))


def _frame(kernel: np.ndarray, title: str) -> np.ndarray:
    return plot.render(plot.kernel_figure([kernel], [title]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="OUT_DIR")
    parser.add_argument("--frames", type=int, default=30, help="of each animation")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for family, seconds_per_frame in ((isotropic, 0.1), (anisotropic, 0.1), (motion, 0.6)):
        path = arguments.folder / f"kernels_{family.__name__}.gif"
        plot.save_gif(path, family(arguments.frames), seconds=arguments.frames * seconds_per_frame)
        print(path)
    path = arguments.folder / "kernels_bicubic.png"
    plot.save_png(path, bicubic())
    print(path)


if __name__ == "__main__":
    main()
