"""The optimiser of a run."""

import torch
from torch import Tensor, nn

from usrnet.train.config import Optimiser


def make_optimiser(model: nn.Module, options: Optimiser) -> torch.optim.Optimizer:
    """The optimiser that ``options`` names, over all parameters of ``model``."""
    if options.name == "muon":
        return Muon(model, options)
    kind = torch.optim.Adam if options.name == "adam" else torch.optim.AdamW
    return kind(
        model.parameters(), lr=options.lr, betas=options.betas, weight_decay=options.weight_decay, foreach=True
    )


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised by Newton–Schulz for the convolutions of the prior, Adam for everything else.

    K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. A convolution is taken as the
    matrix outputs × (inputs · taps). The head, the tail and the hyper-parameter module, which are not hidden layers,
    get Adam with the same learning rate times ``adam_factor``. ``weight_decay`` times the learning rate is taken from
    every weight in every step, beside the gradient.
    """

    def __init__(
        self, model: nn.Module, options: Optimiser, *, momentum: float = 0.95, adam_factor: float = 0.1
    ) -> None:
        named = dict(model.named_parameters())
        hidden = [p for name, p in named.items() if p.dim() == 4 and name.startswith("p.") and not _outer(name)]
        chosen = {id(p) for p in hidden}
        others = [p for p in named.values() if id(p) not in chosen]
        groups = [
            {"params": hidden, "muon": True, "lr_factor": 1.0},
            {"params": others, "muon": False, "lr_factor": adam_factor},
        ]
        super().__init__(
            groups,
            {"lr": options.lr, "betas": options.betas, "momentum": momentum, "weight_decay": options.weight_decay},
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    if group["weight_decay"]:
                        parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    (self._muon if group["muon"] else self._adam)(parameter, group)

    def _muon(self, parameter: Tensor, group: dict) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        gradient = parameter.grad
        assert gradient is not None
        state["momentum"].lerp_(gradient, 1 - group["momentum"])
        direction = gradient.lerp(state["momentum"], group["momentum"])
        matrix = direction.reshape(direction.shape[0], -1)
        update = orthogonalise(matrix) * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
        parameter.add_(update.reshape(parameter.shape), alpha=-group["lr"])

    def _adam(self, parameter: Tensor, group: dict) -> None:
        state = self.state[parameter]
        if not state:
            state.update(step=0, first=torch.zeros_like(parameter), second=torch.zeros_like(parameter))
        state["step"] += 1
        gradient = parameter.grad
        assert gradient is not None
        beta1, beta2 = group["betas"]
        state["first"].lerp_(gradient, 1 - beta1)
        state["second"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        first = state["first"] / (1 - beta1 ** state["step"])
        second = state["second"] / (1 - beta2 ** state["step"])
        parameter.addcdiv_(first, second.sqrt().add_(1e-8), value=-group["lr"])


def orthogonalise(matrix: Tensor, iterations: int = 5) -> Tensor:
    """The nearest (semi-)orthogonal matrix to m×n, roughly, by the quintic Newton–Schulz iteration of Muon."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.mT


def _outer(name: str) -> bool:
    return name.startswith(("p.m_head", "p.m_tail"))
