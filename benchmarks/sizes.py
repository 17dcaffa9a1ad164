"""Large pictures, many pictures, and files larger than memory.

    python benchmarks/sizes.py [large] [folder] [wide]

``large``: pixels per second at 8000×6000 against 512×512, and the peak memory of it. ``folder``: a folder of 100
pictures through reading, restoring and writing, against the model alone. ``wide``: the peak memory for 16-bit TIFFs
as wide as one of 30,000×30,000, of which only the height is less. Everything ×2 with the default model.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from PIL import Image

from usrnet.device import keep_freed_memory, peak_memory_mb
from usrnet.io import Picture, read_rgb, tiff, write
from usrnet.restoration import Restorer, observe, restore_file, restore_pictures
from usrnet.restoration.jobs import Job, Recipe


def photo(height: int, width: int) -> np.ndarray:
    """The bundled photo, repeated to fill a picture."""
    with as_file(files("usrnet") / "data" / "astronaut.png") as path:
        bundled = read_rgb(path)
    repeats = -(-height // bundled.shape[0]), -(-width // bundled.shape[1]), 1
    return np.tile(bundled, repeats)[:height, :width]


def seconds(restorer: Restorer, pixels: np.ndarray) -> float:
    begin = time.perf_counter()
    restorer(pixels)
    return time.perf_counter() - begin


def large(folder: Path) -> None:
    restorer = Restorer()
    small = photo(256, 256)
    seconds(restorer, small)
    before = [seconds(restorer, small) for _ in range(10)]
    write(folder / "large.png", Picture(photo(3000, 4000)))
    begin = time.perf_counter()
    restore_file(restorer, folder / "large.png", folder / "out.png", observe())
    taken = time.perf_counter() - begin
    after = [seconds(restorer, small) for _ in range(10)]
    of_small = statistics.median(before + after)
    ratio = 8000 * 6000 / taken / (512 * 512 / of_small)
    print(f"8000×6000, read, restored and written: {ratio:.2f} of the pixels per second of restoring 512×512")
    print(f"8000×6000: {peak_memory_mb():.0f} MB resident in all")


def folder(folder: Path) -> None:
    restorer = Restorer()
    whole = photo(1024, 1024)
    sources = []
    for index in range(100):
        top, left = divmod(index, 10)
        sources.append(folder / f"{index}.png")
        Image.fromarray(whole[64 * top : 64 * top + 256, 64 * left : 64 * left + 256]).save(sources[-1])
    pixels = read_rgb(sources[0])
    seconds(restorer, pixels)
    alone, files = [], []
    for start in range(0, 100, 10):  # in turns, ten at a time
        alone += [seconds(restorer, pixels) for _ in range(10)]
        recipe = Recipe.of_settings(2, "default", 2, "default")
        jobs = [Job(one, folder / f"{one.stem}_x2.png", recipe) for one in sources[start : start + 10]]
        files += [outcome.seconds for outcome in restore_pictures(restorer, jobs, observe())]
    print(f"100 pictures of 256×256: {sum(alone) / sum(files):.3f} of the model's pictures per second")


def wide(folder: Path) -> None:
    for height in (720, 1440, 2880):
        shape = (height, 30_000)
        rows = (photo(1, shape[1])[..., 1].astype(np.uint16) * 257 for _ in range(height))
        tiff.write(folder / "wide.tif", rows, shape=shape, dtype=np.dtype(np.uint16))
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(folder / "wide.tif")], check=True, capture_output=True, text=True
        )
        print(f"16-bit TIFF of 30,000×{height} to 60,000×{2 * height}: {done.stdout.strip()} MB resident in all")


def main() -> None:
    parts = {"large": large, "folder": folder, "wide": wide}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *parts], default=[])
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    keep_freed_memory()  # as `usrnet restore` does
    if arguments.one:
        restore_file(Restorer(), arguments.one, arguments.one.with_name("out.tif"), observe())
        print(f"{peak_memory_mb():.0f}")
        return
    for name in arguments.parts or parts:
        with tempfile.TemporaryDirectory() as path:
            parts[name](Path(path))


if __name__ == "__main__":
    main()
