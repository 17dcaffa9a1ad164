"""The main job: picture + kernel + noise → picture."""

from usrnet.restoration.files import restore_file
from usrnet.restoration.restorer import (
    DEFAULT_NOISE_LEVEL,
    DEFAULT_WIDTHS,
    Boundary,
    Restorer,
    default_kernel,
    inference,
    restore,
)

__all__ = [
    "DEFAULT_NOISE_LEVEL",
    "DEFAULT_WIDTHS",
    "Boundary",
    "Restorer",
    "default_kernel",
    "inference",
    "restore",
    "restore_file",
]
