"""Kernels as pictures and as surfaces. Needs the extra ``viz``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from usrnet.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
