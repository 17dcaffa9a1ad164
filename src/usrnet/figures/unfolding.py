"""Inside the network: what every iteration of the unfolding makes of one picture. Needs the extra ``viz``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from usrnet import io, metrics
from usrnet.errors import UsrnetError, require
from usrnet.figures.drawing import busiest
from usrnet.model.usrnet import Unfolding
from usrnet.restoration import Restorer
from usrnet.restoration.light import Light
from usrnet.restoration.unknown import ask, settle

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CROP = 160  # side of the part that is drawn, in restored pixels
LEVELS = (0.0, 2.55, 7.65, 15.0, 25.0)


def explain(
    picture: io.Picture | np.ndarray,
    *,
    model: nn.Module | str = "default",
    scale: int = 2,
    kernel: np.ndarray | str | None = None,
    noise_level: float | str = 2.0,
    light: Light = "auto",
    truth: np.ndarray | None = None,
    device: str = "auto",
) -> "Figure":
    """The figure of z_k, x_k, α_k, β_k and, with ``truth`` (sH×sW), PSNR per iteration; arguments as ``restore``.

    The pictures show the part with the strongest edges. Raises ``UsrnetError`` when the truth has another size, or
    the noise differs from pixel to pixel.
    """
    picture = picture if isinstance(picture, io.Picture) else io.Picture(picture)
    pixels = picture.pixels
    known = ask(scale=scale, kernel=kernel, noise_level=noise_level, light=light)
    restorer = Restorer(model, device=device, precision="fp32")
    unfolding = restorer.model
    if not isinstance(unfolding, Unfolding):
        raise UsrnetError("only an unfolding can be explained, with z_k and x_k")
    height, width = (scale * length for length in pixels.shape[:2])
    if truth is not None and truth.shape[:2] != (height, width):
        raise UsrnetError(
            f"the truth has {truth.shape[1]}×{truth.shape[0]} pixels, the restored picture {width}×{height}"
        )
    observation, _ = settle(known, pixels, picture.metadata)
    level = observation.noise_level
    if not isinstance(level, float | int):
        raise UsrnetError("noise that differs from pixel to pixel cannot be explained: α and β would too")
    observed = io.split(pixels).colour
    side = min(CROP, height, width) // scale * scale
    top, left = (scale * corner for corner in busiest(observed, side // scale))
    exact = None if truth is None else np.broadcast_to(io.split(truth).colour, (height, width, 3))

    steps, scores = [], []
    for pair in restorer.iterations(pixels, observation):
        steps.append(tuple(part[top : top + side, left : left + side] for part in pair))
        if exact is not None:
            scores.append(tuple(metrics.psnr(part.clip(0, 1), exact, border=scale**2) for part in pair))
    small = observed[top // scale : (top + side) // scale, left // scale : (left + side) // scale]
    hyper = {
        f"×{scale}": {f"σ = {one:g}": schedule(unfolding, one, scale) for one in LEVELS},
        f"σ = {level:.3g}": {f"×{s}": schedule(unfolding, level, s) for s in (1, 2, 3, 4)},
    }
    return unfolding_figure(small, steps, hyper, scores or None)


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


def schedule(unfolding: Unfolding, noise_level: float, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """α_1..α_K and β_1..β_K for a noise level on the 0–255 scale and a scale factor."""
    device = next(iter(unfolding.parameters()), torch.zeros(())).device
    with torch.inference_mode():
        alphas, betas = unfolding.h(torch.full((1, 1, 1, 1), noise_level / 255, device=device), scale)
    return alphas.flatten().cpu().numpy(), betas.flatten().cpu().numpy()
