"""The relativistic average GAN: is a photo more like a photo than the restored pictures are, on average?

    C(x) = D(x) − mean D(x̂),  C(x̂) = D(x̂) − mean D(x)
    discriminator: (f(C(x), 1) + f(C(x̂), 0)) / 2 + R1 · mean ‖∂D(x)/∂x‖² / 2
    restoring:     (f(C(x̂), 1) + f(C(x), 0)) / 2

(Jolicoeur-Martineau, ICLR 2019). f is the cross-entropy (``plain``), the squared distance to 1 and −1 (``lsgan``)
or what is missing to a margin of 1, ``max(0, 1 ∓ C)`` (``hinge``). R1 (Mescheder et al., ICML 2018) keeps D from
becoming steep. The means go over one part of a batch (``data.micro``) wherever it is computed, so that the number of
processes changes nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from usrnet.train.config import TrainConfig
from usrnet.train.discriminator import make_discriminator, turn

# f(C, 1); f(C, 0) is the same of −C.
LOSSES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda score: F.softplus(-score).mean(),
    "lsgan": lambda score: (score - 1).square().mean(),
    "hinge": lambda score: F.relu(1 - score).mean(),
}


def relativistic(loss: str, higher: Tensor, lower: Tensor) -> Tensor:
    """How far ``higher`` scores are from exceeding the mean of the ``lower`` ones, and the other way round."""
    f = LOSSES[loss]
    return (f(higher - lower.mean()) + f(higher.mean() - lower)) / 2


class Adversary:
    """The discriminator of a run with its optimiser: what it thinks, how it learns, what it remembers."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.options, self.seed = config.discriminator, config.run.seed
        made = make_discriminator(
            self.options.architecture, patch=config.data.patch, channels=self.options.channels, seed=config.run.seed
        )
        self.network = made.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        options = self.options.optimiser
        kind = torch.optim.Adam if options.name == "adam" else torch.optim.AdamW
        self.optimiser = kind(
            self.network.parameters(), lr=options.lr, betas=options.betas, weight_decay=options.weight_decay,
            foreach=True,
        )  # fmt: skip

    def learns(self, step: int) -> bool:
        """Whether it sees anything in ``step``."""
        return step >= self.options.start

    def is_felt(self, step: int) -> bool:
        """Whether the restoring network hears of it in ``step``."""
        return step >= self.options.start + self.options.alone

    def judge(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """The adversarial term of the restoring network; no gradient goes to the discriminator."""
        self.network.requires_grad_(requires_grad=False)
        with torch.no_grad():
            real = self.network(sharp).float()
        term = relativistic(self.options.loss, self.network(restored).float(), real)
        self.network.requires_grad_()
        return term

    def learn(self, restored: Tensor, sharp: Tensor, *, share: float) -> Tensor:
        """Add ``share`` of this part's gradient; gives the loss, and the mean scores of photos and restored ones."""
        sharp = sharp.detach().requires_grad_(self.options.r1 > 0)
        real, fake = self.network(sharp).float(), self.network(restored.detach()).float()
        loss = relativistic(self.options.loss, real, fake)
        if self.options.r1:
            (slope,) = torch.autograd.grad(real.sum(), sharp, create_graph=True)
            loss = loss + self.options.r1 / 2 * slope.square().sum(dim=(1, 2, 3)).mean()
        (loss * share).backward()
        return torch.stack([loss, real.mean(), fake.mean()]).detach() * share

    def step(self, fabric: Fabric, rate: float) -> None:
        """One step with the mean gradient over all processes."""
        parameters = list(self.network.parameters())
        if fabric.world_size > 1:
            for parameter in parameters:
                parameter.grad = fabric.all_reduce(parameter.grad, reduce_op="mean")  # pyright: ignore
        nn.utils.clip_grad_norm_(parameters, self.options.optimiser.clip or float("inf"))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.optimiser.zero_grad()
        turn(self.network)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
