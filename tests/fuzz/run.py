"""Bent files for every reader: nothing but our own errors, no hang, no crash, memory bounded by the allowed size.

    PYTHONPATH=tests python -m fuzz.run {pictures,passed,kernels} [--seconds 60 | --cases 1000] [--keep FOLDER]

A case is a number, from ``--first`` on: the same one makes the same file. Cases run in child processes, a hundred in
each, so that one that crashes or does not end costs only itself; it is named by its number and its file is kept in
FOLDER. Memory that a decoder spoils may end the process some cases later: then try those before, ``--cases 1`` each.
"""

import argparse
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from fuzz.files import File, kernel_files, pictures
from fuzz.mutations import mutate
from usrnet import io, kernels
from usrnet.errors import UsrnetError, UsrnetWarning
from usrnet.io.encode import LARGEST_SIDE
from usrnet.io.stack import open_stack
from usrnet.kernels.files import LARGEST_FILE

SECONDS = 10  # of processor time for one file
ADDRESS_SPACE = 8 * 2**30  # beyond what the program has; only what asks for nonsense meets it
MAX_PIXELS = 2**18
PIXEL_BYTES = 160  # four floats of 64 bits, five times
MARGIN = 128 * 2**20
BATCH = 100


class Broken(Exception):  # noqa: N818  a finding is no error of the program's
    """What a reader must not do."""


def read_picture(path: Path) -> None:
    """Everything that is done with a picture file that someone names."""
    with _sentences():
        picture = io.read_whole(path, max_pixels=MAX_PIXELS)
        pixels = picture.pixels
        _expect(
            pixels.dtype.kind in "uif" and pixels.ndim in (2, 3) and pixels.size > 0, f"{pixels.dtype} {pixels.shape}"
        )
        _expect(pixels.shape[0] * pixels.shape[1] <= MAX_PIXELS, f"{pixels.shape} is more than the limit")
        _expect(pixels.dtype.kind != "f" or not bool(np.isinf(pixels).any()), "values that are infinite")
        plain = io.plain(picture, name="p")
        _expect(plain.pixels.dtype.kind != "f" or bool(np.isfinite(plain.pixels).all()), "values that are not finite")
        _expect(plain.pixels.dtype in (np.uint8, np.uint16, np.float32), str(plain.pixels.dtype))
        levels = io.levels_of(picture, None, lambda text: None)
        try:
            for format in ("PNG", "JPEG", "TIFF"):  # what can be read and restored must not be lost at the end
                if max(pixels.shape[:2]) > LARGEST_SIDE.get(format, 2**32 - 1):
                    continue  # refused before the work
                io.write(BytesIO(), io.result_of(picture, pixels, 1), format=format, levels=levels)
        except UsrnetError as error:
            raise Broken(f"cannot be written: {error}") from error
    with _sentences():
        if (stack := open_stack(path, max_pixels=MAX_PIXELS)) is not None:
            for index in range(min(stack.count, 4)):
                stack.picture(index)
            stack.close()
    with _sentences():
        io.read_provenance(path)


def pass_picture(path: Path) -> None:
    """A picture that someone opens with Pillow and passes on."""
    try:
        with warnings.catch_warnings(action="ignore"):
            image = Image.open(path)
            if image.width * image.height > MAX_PIXELS:
                return
            image.load()
    except Exception:  # Pillow's own matter
        return
    with _sentences():
        io.from_any(image)


def read_kernel(path: Path) -> None:
    """Everything that is done with a kernel file that someone names."""
    for index in (None, 1, "rgb"):
        with _sentences():
            _inspect(kernels.load(path, index=index))
    with _sentences():
        for kernel in kernels.load_all(path)[:8]:
            _inspect(kernel)
    if path.suffix == ".json":
        with _sentences():
            kernels.load_field(path)


def _inspect(kernel: np.ndarray) -> None:
    _expect(kernel.dtype == np.float64 and kernel.ndim in (2, 3), f"{kernel.dtype} {kernel.shape}")
    _expect(bool(np.isfinite(kernel).all()), "values that are not finite")
    _expect(bool(np.allclose(kernel.sum(axis=(0, 1)), 1)), f"the sum {kernel.sum()}")
    if max(kernel.shape) > 64:
        return
    for text in kernels.findings(kernel, scale=2):
        _expect("\n" not in text and "nan" not in text, text)
    with _sentences():
        kernels.center(kernel)
    with _sentences():
        kernels.subtract(kernel, None)


def _expect(truth: bool, text: str) -> None:
    if not truth:
        raise Broken(text)


@contextmanager
def _sentences() -> Iterator[None]:
    """Our errors and notes pass, if they are one sentence; other warnings are findings as other errors are."""
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        try:
            yield
        except UsrnetError as error:
            text = str(error)
            _expect(bool(text) and "\n" not in text and "enough memory" not in text, repr(text))
    for note in notes:
        where = f"({Path(note.filename).name}:{note.lineno})"
        _expect(issubclass(note.category, UsrnetWarning), f"{note.category.__name__}: {note.message} {where}")
        _expect("\n" not in str(note.message), repr(str(note.message)))


WHAT: dict[str, tuple[Callable[[Path], list[File]], Callable[[Path], None], int]] = {
    "pictures": (lambda folder: pictures(), read_picture, MAX_PIXELS * PIXEL_BYTES + MARGIN),
    "kernels": (kernel_files, read_kernel, 4 * LARGEST_FILE),
    "passed": (lambda folder: pictures(), pass_picture, 2**40),  # the memory is Pillow's matter
}


def case(files: list[File], number: int) -> File:
    """The bent file of a number."""
    rng = np.random.default_rng(number)
    suffix, content = files[int(rng.integers(len(files)))]
    others = [other for kind, other in files if kind == suffix]
    return suffix, mutate(content, others, rng)


def try_one(what: str, path: Path) -> str | None:
    """What is wrong with how a file is read; None where nothing is."""
    _, read, most = WHAT[what]
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmRSS")
    try:
        read(path)
    except Broken as error:
        return f"Broken: {error}"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
    taken = _memory("VmHWM") - before
    return f"{taken >> 20} MB of memory" if taken > most else None


def _memory(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def _batch(what: str, files: list[File], numbers: range, folder: Path, pipe: int) -> None:
    """Runs in a child: says the number before each case, and after it what was wrong."""
    space = _memory("VmSize") + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the child, wherever it is
    for number in numbers:
        os.write(pipe, f"{number}\n".encode())
        suffix, content = case(files, number)
        path = folder / f"k{suffix}"
        path.write_bytes(content)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        found = try_one(what, path)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if found:
            os.write(pipe, f"!{' '.join(found.split())[:1000]}\n".encode())


def fuzz(what: str, files: list[File], numbers: range, folder: Path) -> Iterator[tuple[int, str]]:
    """The cases that went wrong, and how."""
    first = numbers.start
    while first < numbers.stop:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reading)
                _batch(what, files, range(first, min(first + BATCH, numbers.stop)), folder, writing)
                os._exit(0)
            finally:
                os._exit(1)
        os.close(writing)
        number, at_end = first - 1, first
        with os.fdopen(reading) as said:
            for line in said:
                if line.startswith("!"):
                    yield number, line[1:].strip()
                else:
                    number = int(line)
        at_end = number + 1
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == -signal.SIGPROF:
            yield number, f"more than {SECONDS} s"
        elif status:
            yield number, f"the process ended with {signal.Signals(-status).name if status < 0 else status}"
        first = max(at_end, first + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--cases", type=int, help="how many, however long it takes")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="where the files go that something is wrong with")
    arguments = parser.parse_args()
    start, number, wrong = time.monotonic(), arguments.first, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = WHAT[arguments.what][0](folder)
        for suffix, content in files:  # after which everything is imported, or it would count as memory
            path = folder / f"good{suffix}"
            path.write_bytes(content)
            if found := try_one(arguments.what, path):
                print(f"a good file {suffix}: {found}", flush=True)
                wrong += 1
        while (
            number < arguments.first + arguments.cases
            if arguments.cases
            else time.monotonic() - start < arguments.seconds
        ):
            count = min(BATCH, arguments.first + arguments.cases - number) if arguments.cases else BATCH
            for case_number, text in fuzz(arguments.what, files, range(number, number + count), folder):
                wrong += 1
                print(f"{case_number}: {text}", flush=True)
                if arguments.keep:
                    arguments.keep.mkdir(parents=True, exist_ok=True)
                    suffix, content = case(files, case_number)
                    (arguments.keep / f"{arguments.what}-{case_number}{suffix}").write_bytes(content)
            number += count
    print(f"{number - arguments.first} cases in {time.monotonic() - start:.0f} s, {wrong} of them wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
