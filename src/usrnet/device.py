"""What the machine can do: the device that a person asked for by name, its precision, memory."""

import ctypes
import re
import resource
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


def prefers_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 natively, so that it is faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def best_precision(device: torch.device) -> str:
    """``"bf16"`` where the hardware multiplies it natively, else ``"fp16"`` on a GPU and ``"fp32"`` on a CPU."""
    if prefers_bf16(device):
        return "bf16"
    return "fp16" if device.type == "cuda" else "fp32"


REDUCED = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def peak_memory_mb() -> float:
    """The largest resident memory of this process so far, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage's figure is never below what the parent process had
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
