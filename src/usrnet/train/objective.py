"""The objective ``Σ_t w_t · d_t(x̂, x)``: what a training step makes small, as a sum of named terms with weights.

A term is a function of the restored and the sharp pictures, N×3×P×P in [0,1] each, and gives one number. The terms:

* ``l1``: the mean of ``|x̂ − x|``, as in the published training;
* ``l2``: the mean of ``(x̂ − x)²``;
* ``charbonnier``: the mean of ``√((x̂ − x)² + ε²)``, ε = 10⁻³ (Charbonnier et al., ICIP 1994): ``l1``, smooth at 0;
* ``rmse``: the mean over the pictures of ``√(mean (x̂ − x)² + ε²)``: as ``l2`` within a picture, but an easy picture
  counts no less than a hard one, as in a mean of PSNRs;
* ``perceptual``: the distance of features, see ``perceptual.py``;
* ``adversarial``: what a discriminator says, see ``adversarial.py``.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

Term = Callable[[Tensor, Tensor], Tensor]


def charbonnier(restored: Tensor, sharp: Tensor, *, epsilon: float = 1e-3) -> Tensor:
    """The mean of ``√((x̂ − x)² + ε²)``."""
    return ((restored - sharp).square() + epsilon**2).sqrt().mean()


def rmse(restored: Tensor, sharp: Tensor, *, epsilon: float = 3e-4) -> Tensor:
    """The mean over the N pictures of their root mean square error; ε keeps the gradient finite at zero."""
    return ((restored - sharp).square().mean(dim=(1, 2, 3)) + epsilon**2).sqrt().mean()


TERMS: Mapping[str, Term] = {"l1": F.l1_loss, "l2": F.mse_loss, "charbonnier": charbonnier, "rmse": rmse}


def weighted_sum(weights: Mapping[str, float], values: Mapping[str, Tensor]) -> Tensor:
    """The sum of the terms in ``values`` with their ``weights``; one number to differentiate."""
    return torch.stack([weights[name] * value for name, value in values.items()]).sum()


def rolled(pictures: Tensor, offsets: Sequence[int]) -> Tensor:
    """N×3×P×P moved around by the ``offsets``, as patches that are blurred around their borders may be.

    Networks with strides see some phases of the grid better than others. Moved at random, the restoring network,
    which has strides of its own, cannot put a pattern where they do not look.
    """
    return pictures.roll(tuple(offsets), dims=(-2, -1))
