"""Pictures degraded as the model assumes it happened: blurred, decimated, noisy."""

from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from usrnet import kernels
from usrnet.degradation.operator import check_noise_level, check_scale, degrade_batch

if TYPE_CHECKING:
    from PIL.Image import Image

AnyImage = TypeVar("AnyImage", np.ndarray, "Image")


def degrade(
    image: AnyImage,
    kernel: np.ndarray | str,
    *,
    scale: int,
    noise_level: float = 0.0,
    seed: int = 0,
) -> AnyImage:
    """Degrade a picture as the paper's model does, in float64, rounded only at the end.

    ``image``: a PIL image or an array H×W, H×W×3 or H×W×4, uint8, uint16 or float in [0,1]; the answer is of
    the same kind, ⌈H/s⌉×⌈W/s⌉. ``kernel``: a kernel or its text, parsed together with the scale.
    ``noise_level``: the noise's standard deviation on the 0–255 scale; alpha gets none. The noise depends on
    ``seed`` alone. Raises ``UsrnetError`` for a kernel larger than the picture.
    """
    from usrnet import io as pictures

    scale, noise_level = check_scale(scale), check_noise_level(noise_level)
    taps = torch.from_numpy(kernels.resolve(kernel, scale=scale))[:, None]
    source = pictures.from_any(image)
    planes = pictures.split(source.pixels, source.levels)
    if planes.colour.shape[-1] == 1:
        taps = taps.mean(dim=0, keepdim=True)  # grey is three equal channels, and their mean stays grey

    def through(plane: np.ndarray, taps: Tensor) -> np.ndarray:
        x = torch.from_numpy(plane.astype(np.float64)).permute(2, 0, 1)[:, None]
        return degrade_batch(x, taps, scale)[:, 0].permute(1, 2, 0).numpy()

    colour = through(planes.colour, taps)
    noise = np.random.default_rng(seed).normal(size=colour.shape)
    colour = colour + noise_level / 255 * noise
    alpha = None
    if planes.alpha is not None:
        alpha = through(planes.alpha[..., None], taps.mean(dim=0, keepdim=True))[..., 0]
    return pictures.to_any(pictures.join(colour, alpha, like=source.pixels, levels=source.levels), given=source)


def bicubic_shrink(image: np.ndarray, scale: int) -> np.ndarray:
    """MATLAB's antialiased ``imresize(image, 1/scale)``: the bicubic degradation of the field, not rounded.

    ``image``: H×W or H×W×C; returns ⌊H/s⌋×⌊W/s⌋(×C) float64. The picture is mirrored beyond its border, as there.
    """
    from scipy.ndimage import convolve1d

    taps = kernels.bicubic(check_scale(scale)).sum(axis=0)
    height, width = (length // scale * scale for length in image.shape[:2])
    rows = convolve1d(image[:height, :width].astype(np.float64), taps, axis=0, mode="reflect")[::scale]
    return convolve1d(rows, taps, axis=1, mode="reflect")[:, ::scale]
