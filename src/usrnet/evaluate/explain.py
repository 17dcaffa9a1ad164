"""Inside the network: what every iteration of the unfolding makes of one picture."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from usrnet import image, metrics, plot
from usrnet.errors import UsrnetError
from usrnet.model.usrnet import Unfolding
from usrnet.restoration import Restorer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CROP = 160  # side of the part that is drawn, in restored pixels
LEVELS = (0.0, 2.55, 7.65, 15.0, 25.0)


def explain(
    pixels: np.ndarray,
    *,
    model: nn.Module | str = "default",
    scale: int = 2,
    kernel: np.ndarray | str | None = None,
    noise_level: float = 2.0,
    truth: np.ndarray | None = None,
    device: str = "auto",
) -> "Figure":
    """The figure of z_k, x_k, α_k, β_k and, with ``truth`` (sH×sW), PSNR per iteration; arguments as ``restore``.

    The pictures show the part with the strongest edges. Raises ``UsrnetError`` when the truth has another size.
    """
    restorer = Restorer(model, scale=scale, kernel=kernel, noise_level=noise_level, device=device, precision="fp32")
    unfolding = restorer.model
    if not isinstance(unfolding, Unfolding):
        raise UsrnetError("only an unfolding can be explained, with z_k and x_k")
    height, width = (scale * length for length in pixels.shape[:2])
    if truth is not None and truth.shape[:2] != (height, width):
        raise UsrnetError(
            f"the truth has {truth.shape[1]}×{truth.shape[0]} pixels, the restored picture {width}×{height}"
        )
    observed = image.split(pixels).colour
    side = min(CROP, height, width) // scale * scale
    top, left = (scale * corner for corner in plot.busiest(observed, side // scale))
    exact = None if truth is None else np.broadcast_to(image.split(truth).colour, (height, width, 3))

    steps, scores = [], []
    for pair in restorer.iterations(pixels):
        steps.append(tuple(part[top : top + side, left : left + side] for part in pair))
        if exact is not None:
            scores.append(tuple(metrics.psnr(part.clip(0, 1), exact, border=scale**2) for part in pair))
    small = observed[top // scale : (top + side) // scale, left // scale : (left + side) // scale]
    hyper = {
        f"×{scale}": {f"σ = {level:g}": schedule(unfolding, level, scale) for level in LEVELS},
        f"σ = {noise_level:g}": {f"×{s}": schedule(unfolding, noise_level, s) for s in (1, 2, 3, 4)},
    }
    return plot.unfolding_figure(small, steps, hyper, scores or None)


def schedule(unfolding: Unfolding, noise_level: float, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """α_1..α_K and β_1..β_K for a noise level on the 0–255 scale and a scale factor."""
    device = next(iter(unfolding.parameters()), torch.zeros(())).device
    with torch.inference_mode():
        alphas, betas = unfolding.h(torch.full((1, 1, 1, 1), noise_level / 255, device=device), scale)
    return alphas.flatten().cpu().numpy(), betas.flatten().cpu().numpy()
