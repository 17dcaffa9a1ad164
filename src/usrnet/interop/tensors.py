"""Tensors of any number of channels through a model that knows three and wraps around."""

import torch
from torch import Tensor

from usrnet import kernels
from usrnet.model import Unfolding, USRNet
from usrnet.restoration.borders import extended_length, extrapolate
from usrnet.restoration.restorer import ROOM, grey_noise


def apply(model: Unfolding, y: Tensor, kernel: Tensor, scale: int, sigma: Tensor, *, wraps: bool) -> Tensor:
    """Restore ``y``, N×C×h×w in [0,1], with a ``kernel`` N×{1,C}×kh×kw and ``sigma`` N×1×1×1 (1 for N serves all).

    ``wraps``: whether the blur was circular; if not, what lies beyond the border is predicted from the blur. Returns
    N×C×H×W, H ≥ sh: what is more than sh is what was predicted, the part before the upper left border at its end.
    """
    channels = y.shape[1]
    if channels != 3:  # every channel is a grey picture
        kernel = kernel.expand(y.shape[0], channels, -1, -1).flatten(0, 1)[:, None]
        sigma = sigma.expand(y.shape[0], channels, 1, 1).flatten(0, 1)[:, None]
        grey = y.flatten(0, 1)[:, None].expand(-1, 3, -1, -1)
        x = apply(model, grey, kernel, scale, sigma, wraps=wraps).mean(dim=1)
        return x.unflatten(0, y.shape[:2])
    if not wraps:
        taps = kernel.detach().cpu().double().flatten(0, 1).numpy()
        height, width = (
            extended_length(length, max(reach + ROOM, side - scale * length), scale)
            for length, reach, side in zip(y.shape[-2:], kernels.extent(taps), taps.shape[-2:], strict=True)
        )
        y = extrapolate(y, kernel, scale, sigma, height, width)
    if isinstance(model, USRNet):
        sigma = sigma * grey_noise(y)[:, None, None, None]
    if kernel.shape[0] not in (1, y.shape[0]):
        kernel = kernel.expand(y.shape[0], -1, -1, -1)
    return model(y, kernel.to(y.dtype), scale, sigma.to(y.dtype))


def noise_levels(sigma: Tensor | float, like: Tensor) -> Tensor:
    """One number, or one for each picture of the batch, as N×1×1×1."""
    return torch.as_tensor(sigma, dtype=like.dtype, device=like.device).reshape(-1, 1, 1, 1)
