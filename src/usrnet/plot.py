"""Kernels drawn into pictures; figures of kernels, of the unfolding and of speed, which need the extra ``viz``."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from usrnet.atomic import write_bytes
from usrnet.errors import require
from usrnet.image import enlarge_nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from usrnet.bench import Measurement


def kernel_figure(kernels: Sequence[np.ndarray], titles: Sequence[str], *, limit: float | None = None) -> "Figure":
    """Kernels beside each other: above as pictures, below as surfaces.

    ``kernels``: arrays kh×kw. If there are negative taps they are blue and positive ones red. ``limit`` is the height
    of the surfaces' axes; the largest tap of all if None.
    """
    require("matplotlib", extra="viz")
    from matplotlib.figure import Figure

    limit = limit or max(float(np.abs(kernel).max()) for kernel in kernels)
    signed = any(kernel.min() < 0 for kernel in kernels)
    figure = Figure(figsize=(2.6 * len(kernels), 4.6), layout="constrained")
    for column, (kernel, title) in enumerate(zip(kernels, titles, strict=True), 1):
        flat = figure.add_subplot(2, len(kernels), column)
        picture = flat.imshow(
            kernel, cmap="RdBu_r" if signed else "magma", vmin=-limit if signed else 0, vmax=limit
        )  # fmt: skip
        flat.set_title(title, fontsize=11)
        flat.set_xticks([0, kernel.shape[1] // 2, kernel.shape[1] - 1])
        flat.set_yticks([0, kernel.shape[0] // 2, kernel.shape[0] - 1])
        flat.tick_params(labelsize=7)
        if signed:
            figure.colorbar(picture, ax=flat, shrink=0.8).ax.tick_params(labelsize=7)
        _surface(figure.add_subplot(2, len(kernels), len(kernels) + column, projection="3d"), kernel, limit)
    return figure


def _surface(axes: "Axes", kernel: np.ndarray, limit: float) -> None:
    signed = kernel.min() < 0
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]]
    axes.plot_surface(  # pyright: ignore[reportAttributeAccessIssue]
        x, y, kernel, cmap="RdBu_r" if signed else "magma", vmin=-limit if signed else 0, vmax=limit,
        rstride=1, cstride=1, linewidth=0, antialiased=True,
    )  # fmt: skip
    axes.set_zlim(min(0.0, float(kernel.min())), limit)  # pyright: ignore[reportAttributeAccessIssue]
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(labelsize=6)
    axes.invert_yaxis()  # rows grow towards the reader, as they grow downwards in the picture


def unfolding_figure(
    observed: np.ndarray,
    steps: Sequence[tuple[np.ndarray, np.ndarray]],
    hyper: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]],
    psnr: Sequence[tuple[float, float]] | None = None,
) -> "Figure":
    """The unfolding at work: ``z_k`` above ``x_k`` for every iteration, α_k, β_k and, if known, PSNR over k.

    ``observed``: the small picture; ``steps``: the pictures of every iteration, of one size, in [0,1]; ``hyper``: for
    every title the curves (α, β) by label; ``psnr``: of z_k and x_k in dB.
    """
    require("matplotlib", extra="viz")
    from matplotlib.figure import Figure

    count = len(steps)
    figure = Figure(figsize=(1.9 * (count + 1), 7.4), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[4.0, 3.2])[:, 0]
    grid = above.subplots(2, count + 1)
    for axes in grid.flat:
        axes.set_axis_off()
    grid[0, 0].imshow(observed.clip(0, 1), cmap="gray", interpolation="nearest")
    grid[0, 0].set_title("y", fontsize=11)
    for k, pair in enumerate(steps, 1):
        for axes, picture, name in zip(grid[:, k], pair, "zx", strict=True):
            axes.imshow(picture.clip(0, 1), cmap="gray", interpolation="nearest")
            axes.set_title(f"${name}_{{{k}}}$", fontsize=11)
    iterations = np.arange(1, count + 1)
    curves = below.subplots(1, 2 * len(hyper) + (psnr is not None), squeeze=False)[0]
    panels = [(title, index) for title in hyper for index in (0, 1)]
    for axes, (title, index) in zip(curves, panels, strict=False):
        for name, pair in hyper[title].items():
            axes.semilogy(iterations, pair[index], marker="o", markersize=3, label=name)
        axes.set_title(f"{'αβ'[index]}: {title}", fontsize=10)
        axes.legend(fontsize=7)
    if psnr is not None:
        for name, values in zip("zx", np.transpose(psnr), strict=True):
            curves[-1].plot(iterations, values, marker="o", markersize=3, label=f"${name}_k$")
        curves[-1].set_title("PSNR in dB", fontsize=10)
        curves[-1].legend(fontsize=7)
    for axes in curves:
        axes.set_xlabel("iteration k", fontsize=8)
        axes.set_xticks(iterations)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    return figure


def speed_figure(measured: "Sequence[Measurement]", title: str) -> "Figure":
    """How many times faster each mode is, with the quartiles, and its peak memory; one group of bars per problem."""
    require("matplotlib", extra="viz")
    from matplotlib.figure import Figure

    problems = list(dict.fromkeys((one.architecture, one.side) for one in measured))
    modes = list(dict.fromkeys(one.mode for one in measured))
    names = [f"{architecture}\n{side}×{side}" for architecture, side in problems]
    figure = Figure(figsize=(2.5 + 2.4 * len(problems), 3.4), layout="constrained")
    figure.suptitle(title, fontsize=9)
    speed, memory = figure.subplots(1, 2)
    width = 0.8 / len(modes)
    for index, mode in enumerate(modes):
        ones = {(one.architecture, one.side): one for one in measured if one.mode == mode}
        chosen = [ones[problem] for problem in problems]
        places = np.arange(len(problems)) + (index - (len(modes) - 1) / 2) * width
        spread = [[one.ratio - one.low for one in chosen], [one.high - one.ratio for one in chosen]]
        bars = speed.bar(places, [one.ratio for one in chosen], width, yerr=spread, capsize=2, label=mode)
        speed.bar_label(bars, fmt="%.1f", fontsize=7, padding=2)
        bars = memory.bar(places, [one.megabytes for one in chosen], width, label=mode)
        memory.bar_label(bars, fmt="%.0f", fontsize=7, padding=2)
    speed.set_title("times faster than the published form", fontsize=9)
    memory.set_title("peak memory in MB", fontsize=9)
    for axes in (speed, memory):
        axes.set_xticks(np.arange(len(problems)), names, fontsize=8)
        axes.tick_params(axis="y", labelsize=7)
        axes.margins(y=0.12)
        axes.spines[["top", "right"]].set_visible(False)
    speed.legend(fontsize=7, frameon=False)
    return figure


def draw_kernel(kernel: np.ndarray) -> np.ndarray:
    """A kernel kh×kw, or kh×kw×C (its mean is shown), as grey kh×kw uint8: black is zero, white is the peak."""
    taps = kernel.mean(axis=-1) if kernel.ndim == 3 else kernel
    return (255 * (taps / taps.max()).clip(0, 1) ** 0.7).round().astype(np.uint8)  # faint tails stay visible


def with_kernel(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The picture H×W×3 uint8 with the kernel in its upper left corner, up to three times as large as it is."""
    side = min(picture.shape[:2])
    drawn = enlarge_nearest(draw_kernel(kernel), max(1, min(3, int(0.4 * side / max(kernel.shape[:2])))))
    drawn = drawn[: side // 2, : side // 2]
    marked = picture.copy()
    marked[: drawn.shape[0], : drawn.shape[1]] = drawn[..., None]
    return marked


def busiest(picture: np.ndarray, side: int) -> tuple[int, int]:
    """The upper left corner of the ``side``×``side`` crop with the strongest edges, where methods differ most."""
    from scipy.ndimage import uniform_filter

    grey = picture.mean(axis=-1) if picture.ndim == 3 else picture
    half = side // 2
    down, right = np.gradient(grey.astype(np.float64))
    edges = uniform_filter(np.hypot(down, right), side)
    inside = edges[half : grey.shape[0] - side + half + 1, half : grey.shape[1] - side + half + 1]
    if not inside.size:
        return 0, 0
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    return int(top), int(left)


def render(figure: "Figure", *, dpi: int = 90) -> np.ndarray:
    """The figure as H×W×3 uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_png(path: Path, picture: np.ndarray) -> None:
    """Write H×W×3 uint8 with 256 colours, which is enough for a figure and a third of the size."""
    buffer = BytesIO()
    Image.fromarray(picture).quantize(256).save(buffer, "PNG", optimize=True)
    write_bytes(path, buffer.getvalue())


def save_gif(path: Path, frames: Sequence[np.ndarray], *, seconds: float) -> None:
    """Write an endless animation of frames H×W×3 uint8, ``seconds`` long; all frames share one palette."""
    buffer = BytesIO()
    palette = Image.fromarray(np.concatenate(frames[:: max(1, len(frames) // 6)])).quantize(128)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    images[0].save(
        buffer, "GIF", save_all=True, append_images=images[1:], loop=0, duration=round(1000 * seconds / len(frames))
    )  # fmt: skip
    write_bytes(path, buffer.getvalue())
