"""Weights between two models: ``(1 − t) · A + t · B``, number by number.

What lies between the weights of a network that was trained for PSNR and those that it was trained on to for the eye
restores with a look between theirs (Wang et al., "Deep network interpolation", CVPR 2019). Of two networks that were
trained apart it is nothing useful.
"""

import math
import os
from dataclasses import asdict

import torch
from torch import nn

from usrnet.errors import UsrnetError
from usrnet.model import USRNet
from usrnet.model.widening import widened
from usrnet.weights import files
from usrnet.weights.loading import load

Model = str | os.PathLike[str] | nn.Module


def blend(first: Model, second: Model, *, t: float) -> USRNet:
    """The model ``(1 − t) · first + t · second``: float32, on the CPU, in evaluation mode; neither is changed.

    Each is what :func:`usrnet.load` takes, or a model. Raises ``UsrnetError`` for a ``t`` outside [0, 1], a model
    without weights, or two of different sizes.
    """
    if not (math.isfinite(t) and 0 <= t <= 1):
        raise UsrnetError(f"t = {t:g} is not between 0 (the first model) and 1 (the second)")
    one, other = _weights(first), _weights(second)
    one = widened(one, carry=other.config.carry, shared=other.config.shared)
    other = widened(other, carry=one.config.carry, shared=one.config.shared)
    if one.config != other.config:
        differ = [key for key, value in asdict(one.config).items() if asdict(other.config)[key] != value]
        raise UsrnetError(
            f"models of different sizes cannot be blended: {_named(first)} is a {files.summarise(one.config)}, "
            f"{_named(second)} a {files.summarise(other.config)} (they differ in {', '.join(differ)})"
        )
    made = one.float().cpu()
    with torch.no_grad():
        for weights, others in zip(made.parameters(), other.float().cpu().parameters(), strict=True):
            weights.lerp_(others, t)
    return made.eval()


def _weights(model: Model) -> USRNet:
    found = model if isinstance(model, nn.Module) else load(model)
    if not isinstance(found, USRNet):
        raise UsrnetError(f"{_named(model)} has no weights that could be blended: name a USRNet")
    return found


def _named(model: Model) -> str:
    return "the model given" if isinstance(model, nn.Module) else os.fspath(model)
