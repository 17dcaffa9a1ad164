"""Choosing the device that a person asked for by name."""

import torch

from usrnet.errors import UsrnetError


def choose_device(name: str) -> torch.device:
    """``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises ``UsrnetError`` when the device is not there: nothing falls back silently.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsrnetError(f"device {name!r} is not known: choose auto, cpu or cuda") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsrnetError(f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices")
    if device.type not in ("cpu", "cuda"):
        raise UsrnetError(f"device {name!r} is not supported: choose auto, cpu or cuda")
    return device


def describe_device(device: torch.device) -> str:
    """The device as it is said to the user."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)"
