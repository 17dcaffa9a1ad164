"""USRNet for spandrel (https://github.com/chaiNNer-org/spandrel), and so for the tools that load models with it.

spandrel calls a model with a picture and nothing else. What USRNet has to be told besides, the scale, the kernel and
the noise level, is fixed when :func:`install` is called.
"""

from pathlib import Path

import numpy as np
import torch
from spandrel import MAIN_REGISTRY, Architecture, ArchRegistry, ArchSupport, ImageModelDescriptor, StateDict
from spandrel.util import KeyCondition
from torch import Tensor

from usrnet.errors import UsrnetError
from usrnet.interop.tensors import apply, noise_levels
from usrnet.model import USRNet
from usrnet.restoration import DEFAULT_NOISE_LEVEL, Observation, observe
from usrnet.weights.files import infer_config, summarise

ID = "USRNet"


class USRNetArch(Architecture[USRNet]):
    """Any size of USRNet, under the names of the published files."""

    def __init__(self, observation: Observation) -> None:
        prior = KeyCondition.has_any("p.m_head.weight", "p.0.m_head.weight")  # one for all iterations, or for each
        detect = KeyCondition.has_all(prior, "h.mlp.0.weight", "h.mlp.4.weight")
        super().__init__(id=ID, detect=detect)
        self.observation = observation

    def load(self, state_dict: StateDict) -> ImageModelDescriptor[USRNet]:
        """The model with these weights, and how spandrel calls it."""
        config = infer_config(state_dict, Path("this state dict"))
        known = self.observation
        level = known.noise_level
        if not isinstance(level, float):
            raise UsrnetError("spandrel's models take one noise level for the whole picture")
        kernel = torch.from_numpy(known.taps).float()[None]

        def call(model: USRNet, image: Tensor) -> Tensor:
            height, width = (known.scale * length for length in image.shape[-2:])
            sigma = noise_levels(level / 255, image)
            return apply(model, image, kernel.to(image), known.scale, sigma, wraps=False)[..., :height, :width]

        return ImageModelDescriptor(
            USRNet(config),
            state_dict,
            architecture=self,
            purpose="SR" if known.scale > 1 else "Restoration",
            tags=[summarise(config), f"x{known.scale}", f"noise {level:g}"],
            supports_half=False,  # the data step divides by numbers that 16 bits do not hold
            supports_bfloat16=False,
            scale=known.scale,
            input_channels=3,
            output_channels=3,
            call_fn=call,
        )


def install(
    *,
    scale: int = 2,
    kernel: np.ndarray | str | None = None,
    noise_level: float = DEFAULT_NOISE_LEVEL,
    registry: ArchRegistry = MAIN_REGISTRY,
) -> None:
    """Make spandrel's ``ModelLoader`` load USRNet; called again, it sets how later ones are called.

    ``scale``, ``kernel``, ``noise_level``: as for :func:`usrnet.restore`, the same defaults. Raises ``UsrnetError``
    as it.
    """
    arch = USRNetArch(observe(scale=scale, kernel=kernel, noise_level=noise_level))
    if ID not in registry:
        registry.add(ArchSupport.from_architecture(arch))
        return
    installed = registry[ID].architecture
    assert isinstance(installed, USRNetArch)
    installed.observation = arch.observation
