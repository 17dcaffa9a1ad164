"""Pictures degraded as the model assumes it happened: blurred, decimated, noisy."""

from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from usrnet import kernels
from usrnet.degradation.operator import check_noise_level, check_scale, degrade_batch
from usrnet.errors import UsrnetError

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
    """Degrade an image as the paper's model does, ``y = (x ⊗ k)↓s + n``, in float64, rounded only at the end.

    Parameters
    ----------
    image : PIL.Image.Image or ndarray, H×W, H×W×3 or H×W×4
        The sharp image: uint8, uint16 or float in [0,1]. It wraps around at its border.
    kernel : ndarray, kh×kw or kh×kw×3, or str
        A kernel, or its text, which is parsed together with the scale.
    scale : int
        1 to 4; every ``scale``-th pixel is kept, from the upper left one on.
    noise_level : float
        Standard deviation of the white Gaussian noise on the 0–255 scale; alpha gets none.
    seed : int
        From 0; the noise depends on it alone.

    Returns
    -------
    PIL.Image.Image or ndarray, ⌈H/s⌉×⌈W/s⌉
        Of the kind and type of ``image``.

    Raises
    ------
    UsrnetError
        The kernel is larger than the image, or an argument makes no sense.

    Examples
    --------
    >>> import numpy as np
    >>> import usrnet
    >>> image = np.zeros((40, 60, 3), np.uint8)
    >>> usrnet.degrade(image, "gaussian:1.6", scale=2, noise_level=2.55).shape
    (20, 30, 3)
    """
    from usrnet import io as pictures

    scale, noise_level = check_scale(scale), check_noise_level(noise_level)
    try:
        generator = np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise UsrnetError(f"seed {seed!r} is not a whole number from 0") from error
    taps = torch.from_numpy(kernels.resolve(kernel, scale=scale))[:, None]
    source = pictures.from_any(image)
    planes = pictures.split(source.pixels, source.levels)
    if planes.colour.shape[-1] == 1:
        taps = taps.mean(dim=0, keepdim=True)  # grey is three equal channels, and their mean stays grey

    def through(plane: np.ndarray, taps: Tensor) -> np.ndarray:
        x = torch.from_numpy(plane.astype(np.float64)).permute(2, 0, 1)[:, None]
        return degrade_batch(x, taps, scale)[:, 0].permute(1, 2, 0).numpy()

    colour = through(planes.colour, taps)
    colour = colour + noise_level / 255 * generator.normal(size=colour.shape)
    alpha = None
    if planes.alpha is not None:
        alpha = through(planes.alpha[..., None], taps.mean(dim=0, keepdim=True))[..., 0]
    return pictures.to_any(pictures.join(colour, alpha, like=source.pixels, levels=source.levels), given=source)


def bicubic_shrink(image: np.ndarray, scale: int) -> np.ndarray:
    """MATLAB's antialiased ``imresize(image, 1/scale)``: the bicubic degradation of the field, not rounded.

    The image is mirrored beyond its border, as there.

    Parameters
    ----------
    image : ndarray, H×W or H×W×C
        The image, any type of number.
    scale : int
        1 to 4.

    Returns
    -------
    ndarray, ⌊H/s⌋×⌊W/s⌋(×C)
        Float64, on the scale of ``image``.

    Raises
    ------
    UsrnetError
        The scale is another.

    Examples
    --------
    >>> import numpy as np
    >>> from usrnet import degradation
    >>> degradation.bicubic_shrink(np.ones((9, 12, 3)), 3).shape
    (3, 4, 3)
    """
    from scipy.ndimage import convolve1d

    taps = kernels.bicubic(check_scale(scale)).sum(axis=0)
    height, width = (length // scale * scale for length in image.shape[:2])
    rows = convolve1d(image[:height, :width].astype(np.float64), taps, axis=0, mode="reflect")[::scale]
    return convolve1d(rows, taps, axis=1, mode="reflect")[:, ::scale]
