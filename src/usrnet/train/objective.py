"""The objective ``Σ_t w_t · d_t(x̂, x)``: what a training step makes small, as a sum of named terms with weights.

A term is a function of the restored and the sharp pictures, N×3×P×P in [0,1] each, and gives one number. The terms:

* ``l1``: the mean of ``|x̂ − x|``, as in the published training;
* ``l2``: the mean of ``(x̂ − x)²``;
* ``charbonnier``: the mean of ``√((x̂ − x)² + ε²)``, ε = 10⁻³ (Charbonnier et al., ICIP 1994): ``l1``, smooth at 0;
* ``rmse``: the mean over the pictures of ``√(mean (x̂ − x)² + ε²)``: as ``l2`` within a picture, but an easy picture
  counts no less than a hard one, as in a mean of PSNRs;
* ``spectrum``: how far the power at each frequency is off, wherever in the picture it lies, see :func:`spectrum`;
* ``lattice``: whether what is sharp keeps to every third or fourth pixel, see :func:`lattice`;
* ``perceptual``: the distance of features, see ``perceptual.py``;
* ``adversarial``: what a discriminator says, see ``adversarial.py``.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from usrnet.train.adversarial import Adversary
from usrnet.train.config import SPECTRUM_WINDOW, TrainConfig
from usrnet.train.perceptual import PerceptualLoss, load_trunk

Term = Callable[[Tensor, Tensor], Tensor]


def charbonnier(restored: Tensor, sharp: Tensor, *, epsilon: float = 1e-3) -> Tensor:
    """The mean of ``√((x̂ − x)² + ε²)``."""
    return ((restored - sharp).square() + epsilon**2).sqrt().mean()


def rmse(restored: Tensor, sharp: Tensor, *, epsilon: float = 3e-4) -> Tensor:
    """The mean over the N pictures of their root mean square error; ε keeps the gradient finite at zero."""
    return ((restored - sharp).square().mean(dim=(1, 2, 3)) + epsilon**2).sqrt().mean()


def spectrum(restored: Tensor, sharp: Tensor, *, side: int = SPECTRUM_WINDOW, epsilon: float = 1 / 255) -> Tensor:
    """The mean of ``|log(P(x̂) + ε²) − log(P(x) + ε²)|``; P: mean power by frequency.

    P is taken for every picture and channel, over Hann windows of ``side`` pixels, normalised so that white noise
    of standard deviation σ has the power σ² at all frequencies. It asks for as much texture as there is, and against
    a pattern: what repeats every few pixels has its power at a few frequencies, where a photo has no more than beside
    them. Neither costs a perceptual loss much.
    """
    window = torch.hann_window(side + 2, periodic=False, device=sharp.device)[1:-1]
    window = torch.outer(window, window)
    window = window / window.square().sum().sqrt()

    def log_power(pictures: Tensor) -> Tensor:
        parts = pictures.unfold(-2, side, side // 2).unfold(-2, side, side // 2)
        parts = parts - parts.mean(dim=(-2, -1), keepdim=True)
        coefficients = torch.view_as_real(torch.fft.rfft2(parts * window))
        return (coefficients.square().sum(dim=-1).mean(dim=(2, 3)) + epsilon**2).log()

    return F.l1_loss(log_power(restored), log_power(sharp))


def lattice(restored: Tensor, sharp: Tensor, *, periods: Sequence[int] = (3, 4), epsilon: float = 1e-3) -> Tensor:
    """The mean of ``|log(m_p(x̂) + ε) − log(m_p(x) + ε)|``; m_p: how much neighbours differ at phase p of a period.

    An enlarged picture may hold, besides what was observed, whatever the decimation folds onto zero. Made from what
    was observed, that repeats with the scale: not as a line in the spectrum where the picture itself has many
    frequencies, but edges lie on a lattice. A photo has as many at every phase. For each picture, direction and
    period P there are P×P phases, and m_p is the mean over the pixels of a phase and the colours of the absolute
    difference to the next.
    """
    parts = []
    for pictures in (restored, sharp):
        steps = [pictures.diff(dim=axis).abs().mean(dim=1) for axis in (-2, -1)]
        means = []
        for step in steps:
            for period in periods:
                height, width = (size // period * period for size in step.shape[-2:])
                blocks = step[:, :height, :width].unflatten(1, (-1, period)).unflatten(3, (-1, period))
                means.append(blocks.mean(dim=(1, 3)).flatten(1))
        parts.append((torch.cat(means, dim=1) + epsilon).log())
    return F.l1_loss(*parts)


TERMS: Mapping[str, Term] = {
    "l1": F.l1_loss, "l2": F.mse_loss, "charbonnier": charbonnier, "rmse": rmse, "spectrum": spectrum,
    "lattice": lattice,
}  # fmt: skip


class Objective:
    """The terms of a run with their weights, and the networks that some of them look at pictures with.

    ``details``: what a step says beside its loss: every term, where there are several, and what the discriminator
    thinks.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.weights = config.objective.terms()
        self.seed = config.run.seed
        self.perceptual: PerceptualLoss | None = None
        if "perceptual" in self.weights:
            layers = config.perceptual.weights()
            trunk = load_trunk(config.perceptual.network, layers, config.perceptual.file)
            self.perceptual = PerceptualLoss(trunk, layers, config.perceptual.distance).to(device)
        self.adversary = Adversary(config, device) if "adversarial" in self.weights else None
        scores = ["discriminator", "score_sharp", "score_restored"] if self.adversary is not None else []
        self.details = [*self.weights, *scores] if len(self.weights) > 1 or scores else []

    def __call__(
        self, restored: Tensor, sharp: Tensor, step: int, part: int, *, share: float, reduced: bool
    ) -> tuple[Tensor, Tensor]:
        """The loss of a part of a batch and its details, as ``share`` of those of the step; the discriminator learns.

        ``reduced``: whether the networks that look compute in bfloat16.
        """
        values = {name: TERMS[name](restored, sharp) for name in self.weights if name in TERMS}
        scores = torch.zeros(3, device=sharp.device)
        with torch.autocast(sharp.device.type, torch.bfloat16, enabled=reduced):
            if self.perceptual is not None:
                offsets = np.random.default_rng((self.seed, step, part, 2)).integers(0, 32, 2).tolist()
                values["perceptual"] = self.perceptual(rolled(restored, offsets), rolled(sharp, offsets))
            # The discriminator sees pictures where they are: what keeps to the lattice of the decimation is then at
            # the same place in every picture, and it learns in a hundred steps what it hardly learns when they move.
            if self.adversary is not None and self.adversary.is_felt(step):
                values["adversarial"] = self.adversary.judge(restored, sharp)
            if self.adversary is not None and self.adversary.learns(step):
                scores = self.adversary.learn(restored, sharp, share=share)
        loss = weighted_sum(self.weights, values) * share
        if not self.details:
            return loss, scores[:0]
        said = [values[name].detach() * share if name in values else scores.new_zeros(()) for name in self.weights]
        return loss, torch.stack(said) if self.adversary is None else torch.cat((torch.stack(said), scores))


def weighted_sum(weights: Mapping[str, float], values: Mapping[str, Tensor]) -> Tensor:
    """The sum of the terms in ``values`` with their ``weights``; one number to differentiate."""
    return torch.stack([weights[name] * value for name, value in values.items()]).sum()


def rolled(pictures: Tensor, offsets: Sequence[int]) -> Tensor:
    """N×3×P×P moved around by the ``offsets``, as patches that are blurred around their borders may be.

    Networks with strides see some phases of the grid better than others. Moved at random, the restoring network,
    which has strides of its own, cannot put a pattern where they do not look.
    """
    return pictures.roll(tuple(offsets), dims=(-2, -1))
