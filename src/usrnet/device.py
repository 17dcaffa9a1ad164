"""The device that a person asked for by name, and memory."""

import ctypes
import sys
from pathlib import Path

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


def free_memory(device: torch.device) -> float:
    """Bytes that can still be had on the device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        available = next(
            line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable")
        )
        return 1024 * float(available.split()[1])
    except (OSError, StopIteration):
        return 8e9  # where the system does not say: assume a small machine


def keep_freed_memory() -> None:
    """Let this process keep the memory it frees, and use it again.

    The C library of Linux gives blocks of more than 32 MB back at once, and the system clears every page of the
    next one: a third of the time of restoring a large tile. For programs of our own; a library leaves this alone.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: never give back the end of the heap
        mallopt(-4, 0)  # M_MMAP_MAX: nothing outside the heap
