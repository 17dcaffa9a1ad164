"""A blur that varies over the picture: ``k(p)``, bilinear in the position p between the kernels of a grid.

The picture is cut into R×C equal cells; a kernel holds in the middle of its cell, and from the outermost middles to
the border it stays what it is.
"""

import json
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from usrnet.errors import UsrnetError, UsrnetWarning
from usrnet.kernels.files import load, load_all, split_index
from usrnet.kernels.language import looked_at, resolve
from usrnet.kernels.shape import check

CORNER_GRID = 7  # cells a side that serve a width that grows towards the corners


@dataclass(frozen=True, eq=False)
class Field:
    """A blur that varies over the image: kernels on a grid, bilinear in between.

    Attributes
    ----------
    taps : ndarray, rows×columns×C×kh×kw
        C = 1 or 3, float64, every kernel's sum one.
    area : tuple of float
        Top, bottom, left and right of the part of the image that this is the field of, as fractions of its sides.

    Examples
    --------
    >>> from usrnet import kernels
    >>> grid = kernels.field([["gaussian:1", "gaussian:2"]], scale=1)
    >>> grid.shape, grid.at(0.5, 0.5).shape
    ((1.0, 2.0), (1, 25, 25))
    """

    taps: np.ndarray
    area: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0)

    @property
    def shape(self) -> tuple[float, float]:
        """How many cells lie along the height and the width of the area."""
        top, bottom, left, right = self.area
        return self.taps.shape[0] * (bottom - top), self.taps.shape[1] * (right - left)

    def at(self, y: float, x: float) -> np.ndarray:
        """The kernel C×kh×kw at the fraction ``y`` of the height and ``x`` of the width."""
        top, bottom, left, right = self.area
        taps = self.taps
        for fraction in (top + y * (bottom - top), left + x * (right - left)):
            place = min(max(fraction * len(taps) - 0.5, 0), len(taps) - 1)
            first = min(int(place), max(len(taps) - 2, 0))
            share = place - first
            taps = (1 - share) * taps[first] + share * taps[min(first + 1, len(taps) - 1)]
        return taps

    def part(self, top: float, bottom: float, left: float, right: float) -> "Field":
        """The field of a part of the picture; the arguments are fractions of its sides."""
        first_y, last_y, first_x, last_x = self.area
        height, width = last_y - first_y, last_x - first_x
        return Field(
            self.taps,
            (first_y + top * height, first_y + bottom * height, first_x + left * width, first_x + right * width),
        )

    def mean(self) -> np.ndarray:
        """The mean kernel, C×kh×kw."""
        return self.taps.mean(axis=(0, 1))


def field(
    rows: list[list[np.ndarray | str]],
    *,
    scale: int,
    name: str = "the grid of kernels",
    align: bool | None = None,
    from_files: bool = False,
) -> Field:
    """The field of a grid of kernels; smaller ones get margins of nothing.

    Parameters
    ----------
    rows : list of list of ndarray or str
        From top to bottom and left to right. Texts are parsed together with the scale; arrays must all have the same
        size.
    scale : int
        The scale factor s.
    name : str
        What errors call it.
    align : bool, optional
        Whether kernels from files are moved for the scale, as for :func:`parse`.
    from_files : bool
        Whether the arrays were measured and come from files, and are looked at as well.

    Returns
    -------
    Field
        What :func:`usrnet.restore` takes as a kernel.

    Raises
    ------
    UsrnetError
        Rows differ in their length or arrays in their size.

    Examples
    --------
    >>> from usrnet import kernels
    >>> kernels.field([["gaussian:1", "gaussian:2"], ["gaussian:2", "disk:3"]], scale=1).taps.shape
    (2, 2, 1, 25, 25)
    """
    if not rows or len({len(row) for row in rows}) != 1 or not rows[0]:
        raise UsrnetError(f"{name} must have rows of the same length, not {[len(row) for row in rows]}")
    made, measured = [], set()
    doubts: dict[str, None] = {}
    for row in rows:
        made.append([])
        for kernel in row:
            taps = kernel
            if isinstance(kernel, str) and (file := split_index(kernel)):
                taps = load(file[0], index=file[1])
            if not isinstance(taps, str):
                taps = check(np.asarray(taps))
                measured.add(taps.shape)
                if from_files or isinstance(kernel, str):
                    taps, found = looked_at(taps, scale, align=align)
                    doubts |= dict.fromkeys(found)
            made[-1].append(resolve(taps, scale=scale))
    if doubts:  # once, however many kernels it is true of
        more = f" (of one kernel; {len(doubts) - 1} notes more on others)" if len(doubts) > 1 else ""
        warnings.warn(f"{name}: {next(iter(doubts))}{more}", UsrnetWarning, stacklevel=3)
    if len({shape[:2] for shape in measured}) > 1:
        sizes = ", ".join(sorted({"×".join(map(str, shape[:2])) for shape in measured}))
        raise UsrnetError(f"{name} has kernels of different sizes ({sizes}): give all the same size")
    height, width = (max(taps.shape[axis] for row in made for taps in row) for axis in (-2, -1))
    channels = max(taps.shape[0] for row in made for taps in row)
    grown = [[np.broadcast_to(_grow(taps, height, width), (channels, height, width)) for taps in row] for row in made]
    return Field(np.array(grown))


def load_field(path: Path | str, *, scale: int = 1, align: bool | None = None) -> Field:
    """A grid of kernels from a ``.json`` file, a folder, or one file with R×C×kh×kw or n×kh×kw numbers.

    Parameters
    ----------
    path : pathlib.Path or str
        ``.json``: ``{"kernels": [["gaussian:1", "gaussian:1.5"], ["a.npy", "b.npy"]]}``: rows from top to bottom of
        what ``--kernel`` takes, files relative to it. A folder holds one kernel per file, in the order of their
        names; n of them are a square grid.
    scale : int
        The scale factor s that texts are parsed with.
    align : bool, optional
        Whether kernels from files are moved for the scale, as for :func:`parse`.

    Returns
    -------
    Field
        What :func:`usrnet.restore` takes as a kernel.

    Raises
    ------
    UsrnetError
        It is not a grid, or a file of it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from usrnet import kernels
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "grid.json").write_text('{"kernels": [["gaussian:1", "gaussian:2"]]}')
    ...     kernels.load_field(f"{folder}/grid.json").shape
    (1.0, 2.0)
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        return field([[*row] for row in read_grid(path)], scale=scale, name=str(path), align=align)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        stack = [kernel for file in files for kernel in load_all(file)]
    else:
        stack = load_all(path)
    side = math.isqrt(len(stack))
    if side * side != len(stack) or side < 2:
        raise UsrnetError(
            f"{path} holds {len(stack)} kernels: a square grid needs 4, 9, 16, …; a .json file says others"
        )
    rows: list[list[np.ndarray | str]] = [list(stack[row * side : (row + 1) * side]) for row in range(side)]
    return field(rows, scale=scale, name=str(path), align=align, from_files=True)


def read_grid(path: Path) -> list[list[str]]:
    """The rows of texts in a ``.json`` grid; a file lies beside the grid unless it is elsewhere.

    Raises ``UsrnetError`` when it is not a grid. What the texts mean is not looked at.
    """
    try:
        rows = [[str(text) for text in row] for row in json.loads(path.read_text("utf-8"))["kernels"]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UsrnetError(f'{path} is not a grid of kernels: it should hold {{"kernels": [[…], …]}}') from error

    def placed(text: str) -> str:
        file = split_index(text)
        return str(path.parent / text) if file and _kind_of_path(path.parent / file[0]) else text

    return [[placed(text) for text in row] for row in rows]


def resolve_field(kernel: object, *, scale: int, align: bool | None = None) -> Field | None:
    """The field that a person means, or None where it is one kernel: a ``.json`` file or a folder is a field."""
    if isinstance(kernel, Field):
        return kernel
    return load_field(kernel, scale=scale, align=align) if isinstance(kernel, str) and is_grid(kernel) else None


def is_grid(text: str) -> bool:
    """Whether a kernel's text names a grid of them: a ``.json`` file or a folder."""
    if not text:  # would be the folder that one is in
        return False
    return Path(text).suffix.lower() == ".json" or _kind_of_path(Path(text)) == "folder"


def _kind_of_path(path: Path) -> str | None:
    """``file``, ``folder``, or None for nothing; texts that can name no file (too long) are nothing."""
    try:
        return "folder" if path.is_dir() else "file" if path.exists() else None
    except OSError:
        return None


def widening(kernel: np.ndarray, corner: float) -> Field:
    """A field in which a kernel grows from the middle of the image to its corners.

    The width grows with the square of the distance from the middle, as the lowest aberrations of a lens do.

    Parameters
    ----------
    kernel : ndarray, C×kh×kw
        The kernel in the middle, C = 1 or 3.
    corner : float
        How many times as wide it is in the corners, 0.25 to 4.

    Returns
    -------
    Field
        What :func:`usrnet.restore` takes as a kernel.

    Raises
    ------
    UsrnetError
        The factor is another.

    Examples
    --------
    >>> from usrnet import kernels
    >>> kernels.widening(kernels.gaussian(1.2)[None], 1.6).shape
    (7.0, 7.0)
    """
    if not 0.25 <= corner <= 4:
        raise UsrnetError(f"the corners can be 0.25 to 4 times as wide as the middle, not {corner:g}")
    place = (np.arange(CORNER_GRID) + 0.5) / CORNER_GRID * 2 - 1
    distance = (place[:, None] ** 2 + place**2) / 2
    factors = 1 + (corner - 1) * distance
    side = [math.ceil(length // 2 * max(1.0, float(factors.max()))) for length in kernel.shape[-2:]]
    grown = _grow(kernel, *(2 * reach + 1 for reach in side))
    return Field(np.array([[_stretched(grown, float(factor)) for factor in row] for row in factors]))


def _stretched(taps: np.ndarray, factor: float) -> np.ndarray:
    from scipy.ndimage import affine_transform

    # About the centre of mass, or a kernel that was moved for its scale would move further.
    result = []
    for plane in taps:
        grid = [np.arange(length) for length in plane.shape]
        total = plane.sum()
        centre = np.array([(plane.sum(axis=1) @ grid[0]) / total, (plane.sum(axis=0) @ grid[1]) / total])
        offset: Any = centre * (1 - 1 / factor)
        result.append(affine_transform(plane, np.eye(2) / factor, offset=offset, order=1))
    made = np.stack(result)
    return made / made.sum(axis=(-2, -1), keepdims=True)


def _grow(taps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Margins of nothing around a kernel C×kh×kw; its centre stays the centre."""
    before = [side // 2 - length // 2 for side, length in zip((height, width), taps.shape[-2:], strict=True)]
    after = [side - length - first
             for side, length, first in zip((height, width), taps.shape[-2:], before, strict=True)]  # fmt: skip
    return np.pad(taps, [(0, 0), *zip(before, after, strict=True)])
