"""Kernels as people write them: ``gaussian:1.6``, ``motion:7``, ``psf.mat:3``."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from usrnet.errors import UsrnetError
from usrnet.kernels.families import airy, bicubic, delta, disk, gaussian, line, moffat, motion
from usrnet.kernels.files import SUFFIXES, load
from usrnet.kernels.shape import check

FAMILIES: dict[str, tuple[Any, ...]] = {  # those of numbers: the function and the ways to write them
    "gaussian": (gaussian, "WIDTH", "WIDTH1,WIDTH2,DEGREES"),
    "line": (line, "LENGTH,DEGREES"),
    "disk": (disk, "RADIUS"),
    "moffat": (moffat, "FWHM,BETA"),
    "airy": (airy, "RADIUS"),
}
SPEC = (
    "delta, gaussian:WIDTH, gaussian:WIDTH1,WIDTH2,DEGREES, motion:SEED, line:LENGTH,DEGREES, disk:RADIUS, "
    "moffat:FWHM,BETA, airy:RADIUS, bicubic, "
    "FILE.png, FILE.npy, FILE.txt, FILE.mat or FILE.mat:INDEX"
)


def parse(text: str, scale: int = 1) -> np.ndarray:
    """The kernel that a text means, see ``SPEC``; kh×kw, or kh×kw×3 when a file holds one per channel.

    Parametric kernels are moved for ``scale``, kernels from files are not. Raises ``UsrnetError`` when the text
    means nothing or the file cannot be read.
    """
    name, colon, values = text.partition(":")
    file = re.fullmatch(r"(.+\.mat):(\d+)", text, re.IGNORECASE)
    if file:
        return load(Path(file[1]), index=int(file[2]))
    if Path(text).suffix.lower() in SUFFIXES:
        return load(Path(text))
    if text == "delta":
        return delta(scale=scale)
    if text == "bicubic":
        return bicubic(scale)
    if name == "motion" and colon:
        if not re.fullmatch(r"\d+", values):
            raise UsrnetError(f"kernel {text!r}: the seed of motion must be a whole number, as in motion:7")
        return motion(int(values), scale=scale)
    if name in FAMILIES and colon:
        family, *ways = FAMILIES[name]
        try:
            numbers = [float(value) for value in values.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) not in {way.count(",") + 1 for way in ways}:
            raise UsrnetError(f"kernel {text!r}: write {' or '.join(f'{name}:{way}' for way in ways)}")
        return family(*numbers, scale=scale)
    raise UsrnetError(f"kernel {text!r} is not known: use {SPEC}")


def resolve(kernel: np.ndarray | str, *, scale: int) -> np.ndarray:
    """A kernel array or text as C×kh×kw float64 with C = 1 or 3; a text is parsed together with the scale."""
    taps = parse(kernel, scale) if isinstance(kernel, str) else check(np.asarray(kernel))
    return taps[None] if taps.ndim == 2 else np.ascontiguousarray(np.moveaxis(taps, -1, 0))
