"""What is compared: interpolation, models, and files of weights, all behind one call."""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from usrnet import __version__
from usrnet.degradation import Degradation
from usrnet.errors import UsrnetError
from usrnet.evaluate.protocols import Row
from usrnet.kernels import cubic
from usrnet.restoration import Boundary, Observation, Restorer
from usrnet.weights import load

INTERPOLATION = "bicubic"
ENSEMBLE = "+"  # ends the name of a model whose results for the eight flips and turns are averaged

Method = Callable[[np.ndarray, Row], np.ndarray]
"""Small picture h×w×3 float32 and row → restored sh×sw×3 float32, clipped to [0,1]."""


@lru_cache(maxsize=16)
def make_method(name: str, version: str = "", *, boundary: Boundary, device: str, precision: str) -> Method:
    """The method behind a name: ``"bicubic"`` (interpolation), or what ``usrnet.load`` takes, and perhaps ``+``.

    ``version``: the ``digest`` of what is meant. Raises ``UsrnetError`` where the name means something else by now.
    """
    if name == INTERPOLATION:
        return interpolate_circular if boundary == "circular" else interpolate
    model = load(name.removesuffix(ENSEMBLE))
    if version and version != digest(name, model):
        raise UsrnetError(f"{name}: the weights were changed while they were measured: run it again")
    restorer = Restorer(
        model, tile="off", precision=precision, device=device, boundary=boundary, ensemble=name.endswith(ENSEMBLE)
    )

    def restore(small: np.ndarray, row: Row) -> np.ndarray:
        return restorer.restore(small, Observation(row.scale, row.kernel, row.noise_level))

    return restore


def digest(name: str, network: nn.Module | None = None) -> str:
    """What decides a method's results: the version of this package and the values of the weights.

    ``network``: what was loaded by that name, if it was loaded already.
    """
    model = name.removesuffix(ENSEMBLE)
    content = hashlib.sha256(f"{__version__} {model if model in (INTERPOLATION, 'tv') else ''}".encode())
    content.update(name[len(model) :].encode())
    if name != INTERPOLATION:
        for key, value in sorted((network or load(model)).state_dict().items()):
            content.update(key.encode())
            content.update(value.cpu().contiguous().numpy().tobytes())
    return content.hexdigest()[:16]


def label(name: str) -> str:
    """The name in reports: files lose their folder and suffix."""
    model = name.removesuffix(ENSEMBLE)
    path = Path(model)
    short = path.stem if path.suffix in (".pth", ".safetensors") else path.name
    return short + name[len(model) :]


def interpolate(small: np.ndarray, row: Row) -> np.ndarray:
    """Bicubic interpolation of pixels that are areas, as image viewers do it."""
    size = small.shape[1] * row.scale, small.shape[0] * row.scale
    channels = [Image.fromarray(small[..., c]).resize(size, Image.Resampling.BICUBIC) for c in range(3)]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1).clip(0, 1)


def interpolate_circular(small: np.ndarray, row: Row) -> np.ndarray:
    """Bicubic interpolation of a picture that wraps around and whose pixels lie on the upper left of each patch."""
    s = row.scale
    taps = cubic(np.arange(1 - 2 * s, 2 * s) / s)
    kernel = torch.from_numpy(np.outer(taps, taps)).float()[None, None]
    y = torch.from_numpy(small).permute(2, 0, 1)[None]
    enlarged = Degradation(kernel, s, s * y.shape[-2], s * y.shape[-1]).adjoint(y)
    return enlarged[0].permute(1, 2, 0).clamp(0, 1).numpy()
