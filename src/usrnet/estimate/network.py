"""The small network that reads the blur of a picture from the log spectra of its tiles.

``features → log Σ, its spread, family``: every tile goes through the same two layers; what they say is averaged, by
how much it is worth, and two more layers answer for the whole picture (M. Zaheer et al., "Deep sets", NeurIPS 2017).
Averaging the answers of single tiles would not do: a tile that shows little answers with what is usual, and many such
answers are still what is usual, while many tiles together may show a lot.

What leaves it is a mean and a variance for each of the three numbers of :mod:`~usrnet.estimate.covariance`, in
low-resolution pixels.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from usrnet.errors import UsrnetError
from usrnet.estimate.spectrum import BINS, features, turned

WEIGHTS = Path(__file__).parents[1] / "weights" / "estimator.safetensors"
FAMILIES = ("gaussian", "disk", "motion", "shrunk")
"""``shrunk``: the kernels with negative lobes that programs shrink pictures with (bicubic, Lanczos)."""
INPUTS = 2 * BINS + 6
HEADS = 8  # ways to weigh tiles


@dataclass(frozen=True)
class Answer:
    """Of N pictures: ``mean`` N×3 of log Σ, its ``variance`` N×3, and the ``family``'s log-probabilities N×4."""

    mean: Tensor
    variance: Tensor
    family: Tensor


class BlurNet(nn.Module):
    """Features of the tiles of N pictures → N×10: three means, three log-variances, four logits."""

    def __init__(self, hidden: tuple[int, int] = (512, 256), last: int = 128) -> None:
        super().__init__()
        first, second = hidden
        self.layers = nn.Sequential(nn.Linear(INPUTS, first), nn.GELU(), nn.Linear(first, second), nn.GELU())
        self.worth = nn.Linear(second, HEADS)
        self.answer = nn.Sequential(nn.Linear(second + 1, last), nn.GELU(), nn.Linear(last, 10))

    def forward(self, x: Tensor, picture: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """The mean of log Σ (N×3), its log-variance (N×3), and the logits of the families (N×4).

        ``x``: features M×998 of tiles; ``picture``: M numbers below ``count`` = N, whose tile each is.
        """
        seen = self.layers(x)
        worth = torch.exp(self.worth(seen).clamp(-8, 8))
        weighted = (worth[:, :, None] * seen.view(len(seen), HEADS, -1)).flatten(1)
        total = torch.zeros(count, HEADS).index_add(0, picture, worth)
        pooled = torch.zeros(count, seen.shape[1]).index_add(0, picture, weighted)
        pooled = (pooled.view(count, HEADS, -1) / (total[:, :, None] + 1e-9)).flatten(1)
        tiles = torch.bincount(picture, minlength=count).to(pooled.dtype)
        out = self.answer(torch.cat((pooled, torch.log(tiles.clamp_min(1))[:, None] / 2 - 1), 1))
        return out[:, :3], out[:, 3:6].clamp(-8, 3), out[:, 6:]


def read(path: str | Path) -> BlurNet:
    """The network in a file; its sizes are read from the weights. Raises ``UsrnetError`` for another file."""
    try:
        state = load_file(path)
        hidden = (state["layers.0.weight"].shape[0], state["layers.2.weight"].shape[0])
        network = BlurNet(hidden, state["answer.0.weight"].shape[0])
        network.load_state_dict(state)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise UsrnetError(f"{path} does not hold the weights of an estimator: {error}") from error
    return network


@cache
def load() -> BlurNet:
    """The network with the packaged weights."""
    return read(WEIGHTS).eval()


@torch.inference_mode()
def predict(spectra: Tensor, *, scale: int, noise_level: Tensor, step: float = 0.0, each: bool = False) -> Answer:
    """The blur of a picture from the power spectra of its tiles, N×31×16 (luma on the 0–255 scale).

    ``noise_level``: N, of the tiles. ``each``: one answer for every tile instead of one for all.
    A picture that is turned or mirrored has a blur that is: the answers for four such are turned back and averaged.
    """
    count = len(spectra)
    picture = torch.arange(count) if each else torch.zeros(count, dtype=torch.long)
    network = load()
    answers = []
    for number, signs in enumerate(((1, 1, 1), (1, -1, 1), (1, 1, -1), (1, -1, -1))):
        inputs = features(
            turned(spectra, transposed=bool(number % 2), mirrored=number > 1),
            scale=torch.full((count,), scale),
            noise_level=noise_level,
            step=torch.full((count,), float(step)),
        )
        mean, log_variance, logits = network(inputs, picture, count if each else 1)
        answers.append((mean * torch.tensor(signs), log_variance.exp(), logits.log_softmax(1)))
    means, variances, families = (torch.stack(parts).mean(dim=0) for parts in zip(*answers, strict=True))
    return Answer(means, variances, families)
