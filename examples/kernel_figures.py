"""The families of blur kernels as pictures: three animations, what lenses and air do, and the bicubic kernels.

python examples/kernel_figures.py OUT_DIR [--frames 24]
"""

import argparse
from pathlib import Path

import numpy as np

from usrnet import kernels
from usrnet.figures import drawing
from usrnet.figures.kernels import kernel_figure


def isotropic(frames: int) -> list[np.ndarray]:
    """The width breathes from 0.9 to 3."""
    phases = np.linspace(0, 2 * np.pi, frames, endpoint=False)
    widths = np.exp(np.log(0.9) + (np.log(3) - np.log(0.9)) * (1 - np.cos(phases)) / 2)
    return [_frame(kernels.gaussian(width), f"gaussian:{width:.1f}", limit=0.2) for width in widths]


def anisotropic(frames: int) -> list[np.ndarray]:
    """One axis turns by half a circle while the other breathes."""
    made = []
    for part in np.arange(frames) / frames:
        narrow, degrees = 1.3 - 0.5 * np.cos(2 * np.pi * part), 180 * part
        text = f"gaussian:3.2,{narrow:.1f},{degrees:.0f}"
        made.append(_frame(kernels.gaussian(3.2, narrow, degrees), text, limit=0.07))
    return made


def motion(frames: int) -> list[np.ndarray]:
    """One camera shake after the other."""
    return [_frame(kernels.motion(seed), f"motion:{seed}", limit=0.12) for seed in range(frames)]


def _frame(kernel: np.ndarray, title: str, *, limit: float) -> np.ndarray:
    return drawing.render(kernel_figure([kernel], [title], limit=limit), dpi=80)


def _middle(text: str) -> tuple[slice, slice]:
    """The middle 25×25 taps, beyond which there is little to see."""
    middle = kernels.parse(text).shape[0] // 2
    part = slice(middle - 12, middle + 13)
    return part, part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=24)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for family, seconds in ((isotropic, 3), (anisotropic, 3), (motion, 12)):
        path = arguments.folder / f"kernels_{family.__name__}.gif"
        drawing.save_gif(path, family(arguments.frames), seconds=seconds)
        print(path)
    path = arguments.folder / "kernels_optics.png"
    texts = ["line:15,30", "disk:6", "moffat:5,3", "airy:6"]
    figure = kernel_figure([kernels.parse(text)[_middle(text)] for text in texts], texts)
    drawing.save_png(path, drawing.render(figure, dpi=110))
    print(path)
    path = arguments.folder / "kernels_bicubic.png"
    titles = [f"bicubic ×{scale}" for scale in (2, 3, 4)]
    made = [kernels.bicubic(scale) for scale in (2, 3, 4)]
    made = [np.pad(kernel, (made[-1].shape[0] - kernel.shape[0]) // 2) for kernel in made]
    figure = kernel_figure(made, titles)
    drawing.save_png(path, drawing.render(figure, dpi=110))
    print(path)


if __name__ == "__main__":
    main()
