"""The errors and notes that users meet: one sentence each, saying what, where and what to do."""

from importlib import import_module
from types import ModuleType


class UsrnetError(ValueError):
    """A request that cannot be carried out; its text is one sentence for the person who made it."""


class PictureError(UsrnetError):
    """One picture cannot be read, restored or written; the others of the same call are not concerned."""


class UsrnetWarning(UserWarning):
    """Something the user should know although the work goes on, for example a kernel that was normalised."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional dependency, or raise an error that names the pip command that adds it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UsrnetError(f"this needs {package}, which is not installed: pip install 'usrnet[{extra}]'") from error
