"""Kernels as people write them: ``gaussian:1.6``, ``motion:7``, ``psf.mat:3``."""

import re
import warnings
from typing import Any

import numpy as np

from usrnet.errors import UsrnetError, UsrnetWarning
from usrnet.kernels.families import airy, bicubic, delta, disk, gaussian, line, moffat, motion
from usrnet.kernels.files import load, split_index
from usrnet.kernels.look import findings, is_placed
from usrnet.kernels.shape import align as place
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
    "a FILE (.png .npy .npz .mat .txt .csv .tif .fits) or FILE:INDEX"
)


def parse(text: str, scale: int = 1, *, align: bool | None = None) -> np.ndarray:
    """The kernel that a text means: ``gaussian:1.6``, ``motion:7``, ``psf.mat:3``.

    Parametric kernels are placed for the scale. Kernels from files are looked at, with a note on what is doubtful.

    Parameters
    ----------
    text : str
        One of delta, gaussian:WIDTH, gaussian:WIDTH1,WIDTH2,DEGREES, motion:SEED, line:LENGTH,DEGREES, disk:RADIUS,
        moffat:FWHM,BETA, airy:RADIUS, bicubic, a FILE (.png .npy .npz .mat .txt .csv .tif .fits) or FILE:INDEX.
        Widths, lengths and radii in pixels of the high-resolution image.
    scale : int
        The scale factor s that the kernel is placed for: moved by (s−1)/2 up and left.
    align : bool, optional
        Whether a kernel from a file is moved as well. When false a note says if it would have to be; None says
        nothing.

    Returns
    -------
    ndarray, kh×kw or kh×kw×3
        Float64, sum 1; three when a file holds one per colour channel.

    Raises
    ------
    UsrnetError
        The text means nothing, or the file cannot be read.

    Warns
    -----
    UsrnetWarning
        Something about a kernel from a file is doubtful.

    Examples
    --------
    >>> import numpy as np
    >>> from usrnet import kernels
    >>> bool(np.array_equal(kernels.parse("gaussian:3,1,30", scale=2), kernels.gaussian(3, 1, 30, scale=2)))
    True
    """
    name, colon, values = text.partition(":")
    if file := split_index(text):
        return from_file(load(file[0], index=file[1]), text, scale, align=align)
    if text == "delta":
        return delta(scale=scale)
    if text == "bicubic":
        return bicubic(scale)
    if name == "motion" and colon:
        if not re.fullmatch(r"\d{1,99}", values):
            raise UsrnetError(f"kernel {text[:99]!r}: the seed of motion must be a whole number, as in motion:7")
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


def from_file(kernel: np.ndarray, name: str, scale: int, *, align: bool | None = None) -> np.ndarray:
    """A kernel that was measured, looked at and placed; see ``parse``."""
    kernel, doubts = looked_at(kernel, scale, align=align)
    for text in doubts:
        warnings.warn(f"{name}: {text}", UsrnetWarning, stacklevel=4)
    return kernel


def looked_at(kernel: np.ndarray, scale: int, *, align: bool | None) -> tuple[np.ndarray, list[str]]:
    """A kernel that was measured, placed if ``align``, and what is doubtful in it."""
    doubts = findings(kernel, scale=scale)
    placed = is_placed(kernel, scale)
    if align and scale > 1 and placed and not doubts:
        return kernel, ["the kernel is placed for the scale already, and is taken as it is"]
    if align:
        return place(kernel, scale), doubts
    if align is False and not placed and not doubts:
        doubts = [
            f"the kernel is centred, so that the result lies {(scale - 1) / 2:g} pixels to the upper left of the "
            "input: --align places it for the scale"
        ]
    return kernel, doubts


def resolve(kernel: np.ndarray | str, *, scale: int, align: bool | None = None) -> np.ndarray:
    """A kernel array or text as C×kh×kw float64 with C = 1 or 3; a text is parsed together with the scale."""
    taps = parse(kernel, scale, align=align) if isinstance(kernel, str) else check(np.asarray(kernel))
    return taps[None] if taps.ndim == 2 else np.ascontiguousarray(np.moveaxis(taps, -1, 0))
