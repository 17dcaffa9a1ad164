"""Blur kernels: the point-spread function ``k`` of ``y = (x ⊗ k)↓s + n``.

A kernel is a float64 array kh×kw (kh×kw×3 with one per colour channel) that sums to one; its centre is the pixel
``(kh // 2, kw // 2)``. Widths and lengths are in pixels of the high-resolution picture.

Keeping the upper-left pixel of every s×s patch shifts a picture by (s−1)/2. A kernel that is moved by as much
toward the upper left undoes that: the functions here do so when they are told the ``scale``. Kernels from files are
taken as they are; ``shift`` moves them.
"""

from usrnet.kernels.families import (
    LARGEST,
    SIZE,
    airy,
    airy_radius,
    bicubic,
    cubic,
    delta,
    disk,
    gaussian,
    gaussians,
    line,
    moffat,
    motion,
    motions,
)
from usrnet.kernels.field import Field, field, is_grid, load_field, read_grid, resolve_field, widening
from usrnet.kernels.files import SUFFIXES, load, load_all, load_raw, save, split_index
from usrnet.kernels.language import SPEC, from_file, parse, resolve
from usrnet.kernels.look import center, centre_of_mass, findings, subtract
from usrnet.kernels.shape import LOST_MASS, align, check, extent, shift

__all__ = [
    "LARGEST",
    "LOST_MASS",
    "SIZE",
    "SPEC",
    "SUFFIXES",
    "Field",
    "airy",
    "airy_radius",
    "align",
    "bicubic",
    "center",
    "centre_of_mass",
    "check",
    "cubic",
    "delta",
    "disk",
    "extent",
    "field",
    "findings",
    "from_file",
    "gaussian",
    "gaussians",
    "is_grid",
    "line",
    "load",
    "load_all",
    "load_field",
    "load_raw",
    "moffat",
    "motion",
    "motions",
    "parse",
    "read_grid",
    "resolve",
    "resolve_field",
    "save",
    "shift",
    "split_index",
    "subtract",
    "widening",
]
