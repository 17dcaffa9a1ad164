"""Non-blind super-resolution and deblurring with the deep unfolding network USRNet.

Zhang, Van Gool, Timofte, "Deep unfolding network for image super-resolution", CVPR 2020, arXiv 2003.10428.

The public names are loaded when they are first used, so that ``import usrnet`` costs nothing and
``usrnet --help`` does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from usrnet import degradation, export, io, kernels, metrics, weights
    from usrnet.degradation import degrade
    from usrnet.errors import PictureError, UsrnetError, UsrnetWarning
    from usrnet.estimate import estimate
    from usrnet.model import Unfolding, USRNet
    from usrnet.restoration import Restorer, restore
    from usrnet.weights import load

__version__ = "0.1.0"

__all__ = [
    "PictureError",
    "Restorer",
    "USRNet",
    "Unfolding",
    "UsrnetError",
    "UsrnetWarning",
    "degradation",
    "degrade",
    "estimate",
    "export",
    "io",
    "kernels",
    "load",
    "metrics",
    "restore",
    "weights",
]

_HOME = {
    "PictureError": "usrnet.errors",
    "Restorer": "usrnet.restoration",
    "USRNet": "usrnet.model",
    "Unfolding": "usrnet.model",
    "UsrnetError": "usrnet.errors",
    "UsrnetWarning": "usrnet.errors",
    "degrade": "usrnet.degradation",
    "load": "usrnet.weights",
    "restore": "usrnet.restoration",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in __all__:
        return import_module(f"usrnet.{name}")
    raise AttributeError(f"module 'usrnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
