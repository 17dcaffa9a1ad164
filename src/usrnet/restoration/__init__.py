"""The main job: picture + kernel + noise → picture."""

from usrnet.restoration.files import Handling, restore_file
from usrnet.restoration.folder import Outcome, restore_pictures, sort_out
from usrnet.restoration.observation import (
    DEFAULT_NOISE_LEVEL,
    DEFAULT_WIDTHS,
    Observation,
    default_kernel,
    observe,
)
from usrnet.restoration.restorer import Boundary, Restorer, inference, restore
from usrnet.restoration.unknown import AUTO, Unknown, ask, ask_channels, settle

__all__ = [
    "AUTO",
    "DEFAULT_NOISE_LEVEL",
    "DEFAULT_WIDTHS",
    "Boundary",
    "Handling",
    "Observation",
    "Outcome",
    "Restorer",
    "Unknown",
    "ask",
    "ask_channels",
    "default_kernel",
    "inference",
    "observe",
    "restore",
    "restore_file",
    "restore_pictures",
    "settle",
    "sort_out",
]
