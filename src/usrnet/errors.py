"""The errors and notes that users meet: one sentence each, saying what, where and what to do."""

from importlib import import_module
from types import ModuleType


class UsrnetError(ValueError):
    """A request that cannot be carried out; its text is one sentence for the person who made it.

    Examples
    --------
    >>> import usrnet
    >>> try:
    ...     usrnet.kernels.parse("gausian:2")
    ... except usrnet.UsrnetError as error:
    ...     print(str(error)[:35])
    kernel 'gausian:2' is not known: us
    """


class PictureError(UsrnetError):
    """One image cannot be read, restored or written; the others of the same call are not concerned.

    Examples
    --------
    >>> from pathlib import Path
    >>> import usrnet
    >>> try:
    ...     usrnet.io.read(Path("nowhere.png"))
    ... except usrnet.PictureError as error:
    ...     print(error)
    nowhere.png: cannot be read (No such file or directory)
    """


class UsrnetWarning(UserWarning):
    """Something the user should know although the work goes on, for example a kernel that was normalised.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> import usrnet
    >>> with warnings.catch_warnings(record=True) as notes:
    ...     warnings.simplefilter("always", usrnet.UsrnetWarning)
    ...     kernel = usrnet.kernels.check(np.ones((3, 3)))
    >>> print(notes[0].message)
    the kernel has the sum 9, scaled to 1
    """


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional dependency, or raise an error that names the pip command that adds it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UsrnetError(f"this needs {package}, which is not installed: pip install 'usrnet[{extra}]'") from error
