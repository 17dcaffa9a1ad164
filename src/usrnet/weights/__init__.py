"""Names and files → models with weights.

:func:`load` turns a name (``"default"``, ``"usrnet-tiny"``) or a file into a model; the architecture is read
from the tensor shapes. No file that is opened here can run code. The names are resolved when they are first
used, so that the table of known models (:mod:`usrnet.weights.registry`) costs no import of torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from usrnet.weights.blending import blend
    from usrnet.weights.download import cache_dir, fetch
    from usrnet.weights.files import convert, save
    from usrnet.weights.loading import Info, describe, load
    from usrnet.weights.registry import names

__all__ = ["Info", "blend", "cache_dir", "convert", "describe", "fetch", "load", "names", "save"]

_HOME = {
    "Info": "loading",
    "blend": "blending",
    "cache_dir": "download",
    "convert": "files",
    "describe": "loading",
    "fetch": "download",
    "load": "loading",
    "names": "registry",
    "save": "files",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"usrnet.weights.{_HOME[name]}"), name)
    raise AttributeError(f"module 'usrnet.weights' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
