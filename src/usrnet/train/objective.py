"""The objective ``Σ_t w_t · d_t(x̂, x)``: what a training step makes small, as a sum of named terms with weights.

A term is a function of the restored and the sharp pictures, N×3×P×P in [0,1] each, and gives one number. The terms:

* ``l1``: the mean of ``|x̂ − x|``, as in the published training;
* ``l2``: the mean of ``(x̂ − x)²``;
* ``charbonnier``: the mean of ``√((x̂ − x)² + ε²)``, ε = 10⁻³ (Charbonnier et al., ICIP 1994): ``l1``, smooth at 0;
* ``rmse``: the mean over the pictures of ``√(mean (x̂ − x)² + ε²)``: as ``l2`` within a picture, but an easy picture
  counts no less than a hard one, as in a mean of PSNRs.
"""

from collections.abc import Callable, Mapping

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


def weighted_sum(terms: Mapping[str, float], restored: Tensor, sharp: Tensor) -> Tensor:
    """The objective with the weights ``terms``, by name; one number to differentiate."""
    return torch.stack([weight * TERMS[name](restored, sharp) for name, weight in terms.items()]).sum()
