"""Blur and noise of pictures that come without them. See docs/estimate.md.

``usrnet.estimate`` is both this package and its main function: calling the one calls the other.
"""

import sys
from types import ModuleType
from typing import Any

from usrnet.estimate.estimator import (
    Estimate,
    Shake,
    estimate,
    estimate_file,
    estimate_parts,
    noise_to_feed,
    parts_of,
)

__all__ = [
    "Estimate",
    "Shake",
    "estimate",
    "estimate_file",
    "estimate_parts",
    "noise_to_feed",
    "parts_of",
]


class _Callable(ModuleType):
    """Importing a module binds its name in the package above it, where people look for the function."""

    def __call__(self, *arguments: Any, **options: Any) -> Estimate:
        return estimate(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
