"""`usrnet batch` with a cluster on this machine against `usrnet restore` on the same folder.

    python benchmarks/batch.py [--pictures 200] [--workers 2] [--address HOST:6379]

Parts of scikit-image's photos, 128 to 192 pixels wide and high, at ×2 with the default model. Each command is timed
as a whole, what it loads and starts included. Memory is the largest sum over its processes.
The workers' memory is that in the manifest, once more for a quarter of the pictures: it must not grow with them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import skimage.data
import torch

from usrnet import io
from usrnet.bench import hardware


def cut(folder: Path, count: int) -> None:
    """Free photos (NASA's astronaut; the others CC0), in parts that differ in size and place."""
    photos = [getattr(skimage.data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")]
    rng = np.random.default_rng(0)
    for index in range(count):
        photo = photos[index % len(photos)]
        height, width = rng.integers(128, 193, 2)
        top, left = (
            rng.integers(0, length - side) for length, side in zip(photo.shape, (height, width), strict=False)
        )
        part = np.ascontiguousarray(photo[top : top + height, left : left + width])
        io.write(folder / f"{index:04}.png", io.Picture(part))


@dataclass(frozen=True)
class Taken:
    """Of a command with all its processes: seconds by the clock, of the processors, and the most memory in MB."""

    seconds: float
    processor: float
    megabytes: float

    def line(self, name: str, count: int) -> str:
        return (
            f"{name:24} {self.seconds:6.1f} s  {count / self.seconds:5.2f} a second  "
            f"{self.processor:6.1f} s of processors  {self.megabytes:6.0f} MB"
        )


def run(*arguments: str | Path) -> Taken:
    """A command of ours. Stops where it fails."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "usrnet", *map(str, arguments)], stdout=said, stderr=subprocess.STDOUT
        )
        peak, processor = 0.0, {}
        while process.poll() is None:
            pids = family(process.pid)
            peak = max(peak, sum(map(megabytes, pids)))
            processor |= {pid: seconds for pid in pids if (seconds := processor_seconds(pid)) is not None}
            time.sleep(0.5)
        seconds = time.perf_counter() - begin
        if process.returncode:
            said.seek(0)
            raise SystemExit(said.read().decode())
    return Taken(seconds, sum(processor.values()), peak)


def fields_of(pid: int) -> list[str] | None:
    """What the system says of a process, from its state on; None when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def family(pid: int) -> list[int]:
    """A process and all that come from it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if fields := fields_of(int(folder.name)):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found, new = [pid], [pid]
    while new:
        new = [child for one in new for child in children.get(one, [])]
        found += new
    return found


def processor_seconds(pid: int) -> float | None:
    fields = fields_of(pid)
    return None if fields is None else (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int) -> float:
    """The memory of a process; of pages that it shares, its share."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def worker_megabytes(folder: Path) -> str:
    rows = pq.read_table(folder / "manifest.parquet").to_pylist()
    largest: dict[str, float] = {}
    for row in rows:
        largest[row["worker"]] = max(largest.get(row["worker"], 0.0), row["peak_mb"])
    return " and ".join(f"{value:.0f}" for value in largest.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--address", default=None, help="of a cluster that runs already")
    parser.add_argument("--only", action="append", choices=["restore", "batch", "quarter"])
    options = parser.parse_args()
    more = ["--address", options.address] if options.address else []
    with tempfile.TemporaryDirectory() as made:
        photos, quarter = Path(made, "photos"), Path(made, "quarter")
        for folder, count in ((photos, options.pictures), (quarter, options.pictures // 4)):
            folder.mkdir()
            cut(folder, count)
        print(f"{hardware(torch.device('cpu'))}, {options.pictures} pictures, {options.precision}")
        command = ("--precision", options.precision)
        count, few = options.pictures, len(list(quarter.iterdir()))
        for kind in options.only or ("restore", "batch", "quarter"):
            if kind == "restore":
                print(run("restore", photos, "-o", f"{made}/alone/", *command).line("restore", count), flush=True)
                continue
            folder, of = (photos, count) if kind == "batch" else (quarter, few)
            out = Path(made, f"out-{kind}")
            taken = run("batch", folder, out, "--workers", str(options.workers), *command, *more)
            name = f"batch of {of}, {options.workers} workers"
            print(f"{taken.line(name, of)}, workers {worker_megabytes(out)} MB", flush=True)


if __name__ == "__main__":
    main()
