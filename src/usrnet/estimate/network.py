"""The small network that reads a blur from the log spectrum of a tile.

``features → log Σ, its spread, family``: a perceptron of two hidden layers. Two tiles of one picture are two
measurements of one blur, so what leaves it is a mean and a variance for each of the three numbers of
:mod:`~usrnet.estimate.covariance`, in low-resolution pixels.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from usrnet.estimate.spectrum import BINS, features

WEIGHTS = Path(__file__).parents[1] / "weights" / "estimator.safetensors"
FAMILIES = ("gaussian", "disk", "motion", "shrunk")
"""``shrunk``: the kernels with negative lobes that programs shrink pictures with (bicubic, Lanczos)."""
INPUTS = 2 * BINS + 6


@dataclass(frozen=True)
class TileEstimates:
    """For N tiles: ``mean`` N×3 of log Σ, its ``variance`` N×3, and the ``family``'s log-probabilities N×4."""

    mean: Tensor
    variance: Tensor
    family: Tensor


class BlurNet(nn.Module):
    """Features N×998 → N×10: three means, three log-variances, four logits."""

    def __init__(self, hidden: tuple[int, int] = (256, 128)) -> None:
        super().__init__()
        first, second = hidden
        self.layers = nn.Sequential(
            nn.Linear(INPUTS, first), nn.GELU(), nn.Linear(first, second), nn.GELU(), nn.Linear(second, 10)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The mean of log Σ (N×3), its log-variance (N×3), and the logits of the families (N×4)."""
        out = self.layers(x)
        return out[:, :3], out[:, 3:6].clamp(-7, 3), out[:, 6:]


@cache
def load() -> BlurNet:
    """The network with the packaged weights; its sizes are read from them."""
    state = load_file(WEIGHTS)
    network = BlurNet((state["layers.0.weight"].shape[0], state["layers.2.weight"].shape[0]))
    network.load_state_dict(state)
    return network.eval()


@torch.inference_mode()
def predict(tiles: Tensor, *, scale: int, noise_level: float, step: float = 0.0) -> TileEstimates:
    """The blur of tiles N×h×w (luma on the 0–255 scale) of one picture.

    A tile that is turned or mirrored has a blur that is: the answers for four such are turned back and averaged.
    """
    count = len(tiles)
    network = load()
    answers = []
    for view, signs in (
        (tiles, (1, 1, 1)),
        (tiles.mT, (1, -1, 1)),
        (tiles.flip(2), (1, 1, -1)),
        (tiles.mT.flip(2), (1, -1, -1)),
    ):
        inputs = features(
            view,
            scale=torch.full((count,), scale),
            noise_level=torch.full((count,), float(noise_level)),
            step=torch.full((count,), float(step)),
        )
        mean, log_variance, logits = network(inputs)
        answers.append((mean * torch.tensor(signs), log_variance.exp(), logits.log_softmax(1)))
    means, variances, families = (torch.stack(parts).mean(dim=0) for parts in zip(*answers, strict=True))
    return TileEstimates(means, variances, families)
