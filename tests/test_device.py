"""What the machine can do: precisions and memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from usrnet import device
from usrnet.errors import UsrnetError

CPU = torch.device("cpu")


def test_a_precision_that_cannot_be_had_is_one_sentence(monkeypatch):
    monkeypatch.setattr(device, "computes", lambda *_: False)
    with pytest.raises(UsrnetError, match=r"precision 'bf16' cannot be had on this processor \(cpu\)"):
        device.choose_precision("bf16", CPU)
    assert device.choose_precision("auto", CPU) == "fp32"
    with pytest.raises(UsrnetError, match="precision 'int8' is not known"):
        device.choose_precision("int8", CPU)


def test_a_limit_of_onednn_counts():
    """Under ``ONEDNN_MAX_CPU_ISA=AVX2`` the processor is one without bfloat16, whatever it is."""
    code = "import torch; from usrnet.device import choose_precision as c; print(c('auto', torch.device('cpu')))"
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "fp32\n"


def test_the_best_precision_of_a_gpu(monkeypatch):
    for native, expected in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, native=native, **_: native)
        assert device.best_precision(torch.device("cuda")) == expected


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_memory_of_a_container(tmp_path):
    assert device.container_memory(tmp_path) == float("inf")
    write(tmp_path, {"proc/self/cgroup": "0::/job/one\n"})
    assert device.container_memory(tmp_path) == float("inf")
    job = "sys/fs/cgroup/job"
    write(
        tmp_path,
        {
            f"{job}/one/memory.max": "max\n", f"{job}/one/memory.current": "5\n", f"{job}/one/memory.stat": "",
            f"{job}/memory.max": "1000\n", f"{job}/memory.current": "700\n",
            f"{job}/memory.stat": "anon 500\ninactive_file 150\n",
        },
    )  # fmt: skip
    assert device.container_memory(tmp_path) == 450


def test_memory_of_an_older_container(tmp_path):
    group = "sys/fs/cgroup/memory/docker/abc"
    write(
        tmp_path,
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n",
            f"{group}/memory.limit_in_bytes": "1000\n", f"{group}/memory.usage_in_bytes": "1200\n",
            f"{group}/memory.stat": "total_inactive_file 100\n",
        },
    )  # fmt: skip
    assert device.container_memory(tmp_path) == 0


def test_what_running_out_of_memory_looks_like():
    with pytest.raises(Exception) as caught:  # noqa: PT011, which class it is differs
        torch.empty(2**60)
    assert device.is_out_of_memory(caught.value)
    assert device.is_out_of_memory(MemoryError())
    assert not device.is_out_of_memory(RuntimeError("shapes differ"))
