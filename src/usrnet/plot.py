"""Figures of kernels: each one as a picture and as a surface. Needs the extra ``viz``.

Colours: zero is the dark ground, positive taps glow from violet to yellow, negative ones are blue. Nothing here
touches matplotlib's global state.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from usrnet.atomic import write_bytes
from usrnet.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

GROUND, TEXT, FAINT = "#10131a", "#f2f2f2", "#9aa3b2"
NEGATIVE = ("#d6f6ff", "#5cc8f5", "#1f7fc4", "#174a78")  # from −1 up to zero
POSITIVE = ("#3b1a5a", "#8a226a", "#d44842", "#f98e09", "#fcffa4")  # from zero up to 1


def kernel_figure(kernels: Sequence[np.ndarray], titles: Sequence[str]) -> "Figure":
    """Kernels as pictures and as surfaces: one kernel beside its surface, several above theirs.

    ``kernels``: arrays kh×kw, with a title each. Colours are relative to the largest tap of all; if there are
    negative taps, the colours are stretched (asinh) and a bar explains them. A surface is as high as its own largest
    tap, which is written under the title. Raises ``UsrnetError`` when matplotlib is missing.
    """
    require("matplotlib", extra="viz")
    from matplotlib.figure import Figure

    limit = max(float(np.abs(kernel).max()) for kernel in kernels)
    signed = any(kernel.min() < 0 for kernel in kernels)
    norm = _norm(limit, stretched=signed)
    # Fixed places, in inches: an automatic layout would make the frames of an animation tremble.
    side, step, left, top = 3.0, 3.55, 0.55, 0.85
    if len(kernels) == 1:
        width, height = 7.75, top + side + 0.45
        solid_x, solid_y, solid_side = left + side + 0.05, 0.2, 4.2
    else:
        width, height = left + len(kernels) * step - 0.25, top + 2 * side + 0.45
        solid_x, solid_y, solid_side = left - 0.2, -0.15, 3.4
    width += signed  # an inch for the bar
    figure = Figure(figsize=(width, height), facecolor=GROUND)

    def place(x: float, y: float, w: float, h: float) -> tuple[float, float, float, float]:
        return x / width, y / height, w / width, h / height

    picture = None
    for kernel, title, x in zip(kernels, titles, np.arange(len(kernels)) * step, strict=True):
        solid = figure.add_axes(place(solid_x + x, solid_y, solid_side, solid_side), projection="3d")
        kernel_surface(solid, kernel, norm)
        picture = kernel_picture(figure.add_axes(place(left + x, height - top - side, side, side)), kernel, norm)
        line = {"x": (left + x) / width, "va": "center"}
        figure.text(y=1 - 0.34 / height, s=title, color=TEXT, family="monospace", size=16, weight="bold", **line)
        figure.text(y=1 - 0.63 / height, s=_largest_and_smallest(kernel), color=FAINT, size=11, **line)
    if signed and picture is not None:
        bar = figure.add_axes(place(width - 1.0, height - top - 1.4 * side, 0.16, 1.4 * side))
        colours = figure.colorbar(picture, cax=bar, ticks=[part * limit for part in (-1, -0.1, 0, 0.1, 1)])
        colours.ax.tick_params(colors=FAINT, labelsize=9, length=3, width=0.6)
        colours.ax.yaxis.set_major_formatter("{x:.3f}")
        colours.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


def kernel_picture(axes: "Axes", kernel: np.ndarray, norm: "Normalize") -> "AxesImage":
    """Show the kernel (kh×kw) as a picture, in pixels from its centre; a frame marks the centre pixel."""
    from matplotlib.patches import Rectangle

    height, width = kernel.shape
    left, top = -(width // 2) - 0.5, -(height // 2) - 0.5
    axes.set_facecolor(GROUND)
    extent = (left, left + width, top + height, top)
    picture = axes.imshow(kernel, cmap=_colours(), norm=norm, extent=extent, interpolation="nearest")
    for colour, thickness in ((GROUND, 2.4), (TEXT, 1.0)):  # seen on dark and on bright taps
        axes.add_patch(Rectangle((-0.5, -0.5), 1, 1, fill=False, edgecolor=colour, linewidth=thickness))
    axes.set_xticks(sorted({-(width // 2), 0, (width - 1) // 2}))
    axes.set_yticks(sorted({-(height // 2), 0, (height - 1) // 2}))
    axes.tick_params(colors=FAINT, labelsize=10, length=3, width=0.6)
    for spine in axes.spines.values():
        spine.set(color=FAINT, linewidth=0.6)
    return picture


def kernel_surface(axes: Any, kernel: np.ndarray, norm: "Normalize") -> None:
    """Draw the kernel (kh×kw) as a surface as high as its largest tap; ``axes`` is three-dimensional.

    Rows grow towards the reader, as they grow downwards in the picture. The lines on the floor cross at the centre.
    """
    from scipy.ndimage import zoom

    (rows, columns), finer = kernel.shape, 3  # bilinear between the taps: the same surface, but smoothly coloured
    size = (finer * (rows - 1) + 1, finer * (columns - 1) + 1)
    heights = zoom(kernel, (size[0] / rows, size[1] / columns), order=1) / kernel.max()
    y, x = np.mgrid[-(rows // 2) : (rows - 1) // 2 : size[0] * 1j, -(columns // 2) : (columns - 1) // 2 : size[1] * 1j]
    low_x, high_x, low_y, high_y = x.min(), x.max(), y.min(), y.max()
    floor = {"color": FAINT, "linewidth": 0.7, "alpha": 0.55, "zorder": 0}
    outline = [low_x, high_x, high_x, low_x, low_x], [low_y, low_y, high_y, high_y, low_y]
    for xs, ys in (outline, ([low_x, high_x], [0, 0]), ([0, 0], [low_y, high_y])):
        axes.plot(xs, ys, 0, **floor)
    colours = _colours()(norm(heights * kernel.max()))
    colours[np.abs(heights) < 0.004, 3] = 0  # where nothing is, the floor is seen
    axes.plot_surface(
        x, y, heights, facecolors=colours, rcount=size[0], ccount=size[1], linewidth=0, antialiased=False, shade=False,
        zorder=1,
    )  # fmt: skip
    axes.set(xlim=(low_x, high_x), ylim=(high_y, low_y), zlim=(min(0.0, heights.min()), 1))
    axes.computed_zorder = False
    axes.set_box_aspect((1, 1, 0.85), zoom=1.1)
    axes.view_init(elev=28 if kernel.min() >= 0 else 14, azim=-60)
    axes.set_axis_off()
    axes.patch.set_visible(False)


def _largest_and_smallest(kernel: np.ndarray) -> str:
    text = f"largest tap {kernel.max():.4f}"
    return text if kernel.min() >= 0 else f"{text}, smallest −{-kernel.min():.4f}"


def _colours() -> "Colormap":
    from matplotlib.colors import LinearSegmentedColormap

    below = zip((0, 0.15, 0.3, 0.42), NEGATIVE, strict=True)
    above = zip((0.54, 0.65, 0.78, 0.9, 1), POSITIVE, strict=True)
    return LinearSegmentedColormap.from_list("kernel", [*below, (0.5, GROUND), *above], N=512)


def _norm(limit: float, *, stretched: bool) -> "Normalize":
    from matplotlib.colors import AsinhNorm, Normalize

    return AsinhNorm(limit / 50, -limit, limit) if stretched else Normalize(-limit, limit)


def render(figure: "Figure", *, dpi: int = 100) -> np.ndarray:
    """The figure as H×W×3 uint8, drawn twice as large and shrunk, for smooth edges of surfaces."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(2 * dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).reduce(2))


def save_png(path: Path, picture: np.ndarray) -> None:
    """Write H×W×3 uint8."""
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
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
