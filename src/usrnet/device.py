"""What the machine can do, asked in one place: the device that a person named, its precisions, its memory."""

import ctypes
import os
import re
import sys
from pathlib import Path, PurePosixPath

import torch

from usrnet.errors import UsrnetError

REDUCED = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""The precisions by name, and the type of the prior's inner layers where it is not float32."""


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
    return f"{device} ({describe_threads()})"


def describe_threads() -> str:
    """How many threads torch computes with."""
    count = torch.get_num_threads()
    return f"{count} thread{'s' * (count != 1)}"


# Precision


def choose_precision(name: str, device: torch.device) -> str:
    """``"fp32"``, ``"bf16"`` or ``"fp16"``; ``"auto"`` is the best that the device does natively.

    Raises ``UsrnetError`` when the precision is not known, or when this device cannot compute in it.
    """
    if name == "auto":
        return best_precision(device)
    if name not in REDUCED:
        raise UsrnetError(f"precision {name!r} is not known: choose auto, {', '.join(REDUCED)}")
    if name != "fp32" and not computes(name, device):
        raise UsrnetError(f"precision {name!r} cannot be had on this processor ({device}): choose auto or fp32")
    return name


def best_precision(device: torch.device) -> str:
    """``"bf16"`` where the hardware multiplies it natively, else ``"fp16"`` on a GPU and ``"fp32"`` on a CPU."""
    if multiplies_bf16(device):
        return "bf16"
    return "fp16" if device.type == "cuda" else "fp32"


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 natively, so that it is faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16")) and computes("bf16", device)


def computes(precision: str, device: torch.device) -> bool:
    """Whether the device runs a 16-bit convolution at all, natively or not."""
    if device.type == "cuda":
        return True
    if not torch.backends.mkldnn.is_available():
        return False
    # oneDNN's own limit is not seen by the questions below, which ask the processor.
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "ALL")).upper()
    if not re.match("ALL|DEFAULT|AVX512|AVX10", limit):
        return False
    asks = {"bf16": "_is_mkldnn_bf16_supported", "fp16": "_is_mkldnn_fp16_supported"}
    return bool(getattr(torch.ops.mkldnn, asks[precision])())


# Memory


def free_memory(device: torch.device) -> float:
    """Bytes that can still be had on the device; in a container no more than it is allowed."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 8e9  # where the system does not say: assume a small machine
    return min(1024 * float(available.split()[1]), container_memory(Path("/")))


def container_memory(root: Path) -> float:
    """Bytes that the control groups of this process still allow, infinite without a limit.

    ``root``: where ``proc`` and ``sys`` are. Both versions of control groups; of what is used, the file cache that
    can be dropped does not count. A limit may be set on any group that the process's own lies in.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return float("inf")
    room = float("inf")
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers == "":
            mount, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            mount = root / "sys/fs/cgroup/memory"
        else:
            continue
        own = PurePosixPath(place.lstrip("/"))
        for group in (own, *own.parents):
            room = min(room, _room_in(mount / group, *names))
    return room


def _room_in(group: Path, limit: str, used: str, reclaimable: str) -> float:
    try:
        allowed = float((group / limit).read_text())  # "max" is no number: no limit
        taken = float((group / used).read_text())
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return float("inf")
    return max(0.0, allowed - taken + float(statistics.get(reclaimable, 0)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory could not be had, on a CPU or a GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # What torch's allocator and oneDNN raise on a CPU has no class of its own.
    texts = ("can't allocate memory", "not enough memory", "could not create a memory", "out of memory")
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in texts)


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


def peak_memory_mb() -> float:
    """The largest resident memory of this process so far, in MB; NaN where the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage's figure is never below what the parent process had
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) / 2**10
    try:
        import resource
    except ImportError:  # not on Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
