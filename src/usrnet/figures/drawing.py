"""Kernels drawn into pictures, and figures as pixels and files; matplotlib only where a figure is given."""

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from usrnet.atomic import write_bytes
from usrnet.io import enlarge_nearest

if TYPE_CHECKING:
    from matplotlib.figure import Figure


GAP, BAR = 6, 22  # pixels between the pictures of a sheet, and for the text above each


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
    if min(grey.shape) < 2:
        return 0, 0  # edges need two pixels
    half = side // 2
    down, right = np.gradient(grey.astype(np.float64))
    edges = uniform_filter(np.hypot(down, right), side)
    inside = edges[half : grey.shape[0] - side + half + 1, half : grey.shape[1] - side + half + 1]
    if not inside.size:
        return 0, 0
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    return int(top), int(left)


def sheet(rows: Sequence[Sequence[tuple[str, np.ndarray]]]) -> np.ndarray:
    """Pictures H×W×3 uint8 with a text above each, one line per row, in columns."""
    font = ImageFont.load_default(13)
    heights = [max(picture.shape[0] for _, picture in row) + BAR + GAP for row in rows]
    widths = [
        max(max(picture.shape[1], math.ceil(font.getlength(text)) + 4) + GAP for text, picture in column)
        for column in zip(*rows, strict=True)
    ]
    canvas = Image.new("RGB", (sum(widths) - GAP, sum(heights)), "white")
    draw = ImageDraw.Draw(canvas)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for (text, picture), width in zip(row, widths, strict=True):
            draw.text((left + 2, top + 3), text, fill="black", font=font)
            canvas.paste(Image.fromarray(picture), (left, top + BAR))
            left += width
        top += height
    return np.asarray(canvas)


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
