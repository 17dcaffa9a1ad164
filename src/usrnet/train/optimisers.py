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
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if group["weight_decay"]:
                for parameter in parameters:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
            if group["muon"]:
                self._muon(parameters, group)
            else:
                for parameter in parameters:
                    self._adam(parameter, group)

    def _muon(self, parameters: list[Tensor], group: dict) -> None:
        alike: dict[torch.Size, list[Tensor]] = {}
        for parameter in parameters:
            alike.setdefault(parameter.shape, []).append(parameter)
        for shape, some in alike.items():  # a network has many matrices of few sizes
            matrices = torch.stack([self._direction(parameter, group) for parameter in some]).flatten(2)
            stretch = max(1.0, matrices.shape[1] / matrices.shape[2]) ** 0.5
            for parameter, update in zip(some, orthogonalise(matrices), strict=True):
                parameter.add_(update.reshape(shape), alpha=-group["lr"] * stretch)

    def _direction(self, parameter: Tensor, group: dict) -> Tensor:
        """Nesterov's momentum."""
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        gradient = parameter.grad
        assert gradient is not None
        state["momentum"].lerp_(gradient, 1 - group["momentum"])
        return gradient.lerp(state["momentum"], group["momentum"])

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
    """The nearest (semi-)orthogonal matrix to each …×m×n, roughly, by the quintic Newton–Schulz iteration of Muon.

    Each iteration is ``X ← P X`` with ``P = a + b G + c G²``, ``G = X Xᵀ``. All P commute, so their product can be
    taken first, of small square matrices, and ``G ← P G P`` needs no X.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    flat = matrix.shape[-2] <= matrix.shape[-1]
    x = matrix if flat else matrix.mT
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    gram = x @ x.mT
    one = product = torch.eye(x.shape[-2], dtype=x.dtype, device=x.device)
    for _ in range(iterations):
        factor = a * one + b * gram + c * gram @ gram
        gram = factor @ gram @ factor
        product = factor @ product
    x = product @ x
    return x if flat else x.mT


def _outer(name: str) -> bool:
    return not {"m_head", "m_tail"}.isdisjoint(name.split("."))
