"""Blur kernels: the point-spread function ``k`` of ``y = (x ⊗ k)↓s + n``.

A kernel is a float64 array kh×kw (kh×kw×3 with one per colour channel) that sums to one; its centre is the pixel
``(kh // 2, kw // 2)``. Widths and lengths are in pixels of the high-resolution picture.

Keeping the upper-left pixel of every s×s patch shifts a picture by (s−1)/2. A kernel that is moved by as much
toward the upper left undoes that: the functions here do so when they are told the ``scale``. Kernels from files are
taken as they are; ``shift`` moves them.
"""

import math
import re
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np

from usrnet.atomic import write_bytes
from usrnet.errors import UsrnetError, UsrnetWarning

SIZE = 25  # side of a parametric kernel, unless it needs more
LOST_MASS = 1e-3  # the share of its mass that a kernel may lose at the border of its array
LARGEST = 2001  # a side no picture needs; a mistyped width should not fill the memory

SPEC = (
    "delta, gaussian:WIDTH, gaussian:WIDTH1,WIDTH2,DEGREES, motion:SEED, bicubic, "
    "FILE.png, FILE.npy, FILE.txt, FILE.mat or FILE.mat:INDEX"
)
SUFFIXES = (".png", ".npy", ".mat", ".txt")


# Families


def delta(*, scale: int = 1) -> np.ndarray:
    """No blur. At scale 1 a single pixel; else moved, so that every patch is represented by its middle."""
    reach = scale // 2
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    kernel[reach, reach] = 1
    return _align(kernel, scale)


def gaussian(
    width: float, width2: float | None = None, degrees: float = 0.0, *, scale: int = 1, size: int = SIZE
) -> np.ndarray:
    """A Gaussian with the standard deviations ``width`` and ``width2`` (the same if None) along its axes.

    ``degrees`` is the angle of the first axis to the horizontal, clockwise as seen on the screen. The array is
    ``size``×``size`` and grows when that would cut off more than 0.1 % of the mass. Raises ``UsrnetError`` for
    widths that are not positive numbers.
    """
    width2 = width if width2 is None else width2
    if not (0 < width < math.inf and 0 < width2 < math.inf and math.isfinite(degrees)):
        raise UsrnetError(f"a Gaussian needs positive widths, not {width:g} and {width2:g}")
    angle = math.radians(degrees)
    offset = (scale - 1) / 2
    along, across = width**2, width2**2
    variance_x = along * math.cos(angle) ** 2 + across * math.sin(angle) ** 2
    variance_y = along * math.sin(angle) ** 2 + across * math.cos(angle) ** 2
    # Outside ±3.5 standard deviations lies 0.05 % of the mass, for two axes together 0.1 %.
    reach = math.ceil(3.5 * math.sqrt(max(variance_x, variance_y)) + offset)
    side = max(size, 2 * reach + 1)
    if side > LARGEST:
        raise UsrnetError(f"a Gaussian of width {max(width, width2):g} is too large: use less than {LARGEST // 8}")
    return gaussians(np.array([along]), np.array([across]), np.array([angle]), size=side, offset=offset)[0]


def gaussians(
    variance1: np.ndarray, variance2: np.ndarray, angle: np.ndarray, *, size: int = SIZE, offset: float = 0.0
) -> np.ndarray:
    """N point-sampled Gaussians, N×size×size, from N variances along two axes and N angles (radians).

    The mean lies ``offset`` pixels above and left of the centre.
    """
    grid = np.arange(size) - size // 2 + offset
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    along = cos * grid + sin * grid[:, None]  # rows grow downwards, so this turns clockwise on the screen
    across = cos * grid[:, None] - sin * grid
    exponent = along**2 / variance1[:, None, None] + across**2 / variance2[:, None, None]
    exponent -= exponent.min(axis=(1, 2), keepdims=True)  # the narrowest Gaussian must not vanish between the taps
    kernels = np.exp(-0.5 * exponent)
    return kernels / kernels.sum(axis=(1, 2), keepdims=True)


def motion(seed: int, *, scale: int = 1, size: int = SIZE) -> np.ndarray:
    """Camera shake: the exposure-weighted path of a point, random but the same for the same ``seed``.

    Raises ``UsrnetError`` for a negative seed or a size below 5.
    """
    if seed < 0:
        raise UsrnetError(f"the seed of a motion kernel must be 0 or more, not {seed}")
    if not 5 <= size <= LARGEST:
        raise UsrnetError(f"a motion kernel needs a size from 5 to {LARGEST}, not {size}")
    return _align(motions(np.random.default_rng(seed), 1, size=size)[0], scale)


def motions(rng: np.random.Generator, count: int, *, size: int = SIZE) -> np.ndarray:
    """``count`` random camera-shake kernels, count×size×size, each centred on its centre of mass.

    A hand-held camera drifts, trembles and is pulled back, now and then with a jerk (after Boracchi and Foi,
    "Modeling the performance of image restoration from motion blur", IEEE TIP 21(8), 2012). The path is drawn
    as an anti-aliased line, brighter where the camera rests.
    """
    steps, oversampling = 64, 6
    tremble = rng.uniform(0.1, 1.0, (count, 1))
    inertia = rng.uniform(0.75, 0.97, (count, 1))
    pull = rng.uniform(0.0, 0.02, (count, 1))
    drift = rng.normal(size=(count, 2))
    jerks = rng.random((steps, count, 1)) < rng.uniform(0, 0.1, (count, 1))
    pushes = rng.normal(size=(steps, count, 2)) * (tremble + 6 * jerks)
    # How long the camera rests at each place: most of the light falls on little of the path.
    pauses = np.exp(rng.uniform(0.2, 1.3, (count, 1)) * rng.normal(size=(count, steps - 1)))

    position = np.zeros((count, 2))
    velocity = drift.copy()
    path = np.empty((steps, count, 2))
    for step in range(steps):
        velocity = inertia * velocity + (1 - inertia) * drift + 0.5 * pushes[step] - pull * position
        position = position + velocity
        path[step] = position
    path = path.transpose(1, 2, 0)  # count × (y, x) × steps

    fraction = np.arange(oversampling) / oversampling
    fine = (path[..., :-1, None] * (1 - fraction) + path[..., 1:, None] * fraction).reshape(count, 2, -1)
    light = np.repeat(pauses, oversampling, axis=1)
    light /= light.sum(axis=1, keepdims=True)
    fine -= (fine * light[:, None]).sum(axis=2, keepdims=True)
    room = (size - 1) // 2 - 1  # what is drawn is a pixel wide
    extent = np.abs(fine).max(axis=(1, 2), keepdims=True)
    fine *= room * rng.uniform(0.25, 1.0, (count, 1, 1)) / extent

    # A point shares its light among its four neighbours, which keeps the centre of mass.
    corner = np.floor(fine).astype(int)
    below, right = (fine - corner).transpose(1, 0, 2)
    row, column = (corner + size // 2).transpose(1, 0, 2)
    first = (np.arange(count)[:, None] * size + row) * size + column
    places = np.stack([first, first + 1, first + size, first + size + 1])
    shares = np.stack([(1 - below) * (1 - right), (1 - below) * right, below * (1 - right), below * right])
    kernels = np.bincount(places.ravel(), (shares * light).ravel(), minlength=count * size * size)
    return kernels.reshape(count, size, size) / light.sum(axis=1)[:, None, None]


def bicubic(scale: int) -> np.ndarray:
    """The blur inside MATLAB's antialiased bicubic shrinking by 1/``scale``; it has negative taps.

    That is :func:`cubic` stretched by s and centred on the middle of
    each s×s patch: with it ``(x ⊗ k)↓s`` equals ``imresize(x, 1/s)`` away from the border.
    """
    offset = (scale - 1) / 2
    reach = math.ceil(2 * scale + offset) - 1
    taps = cubic((np.arange(-reach, reach + 1) + offset) / scale)
    taps /= taps.sum()
    return np.outer(taps, taps)


def cubic(t: np.ndarray) -> np.ndarray:
    """The interpolating cubic of R. Keys (IEEE TASSP 29(6), 1981, a = −1/2); zero from |t| = 2 on."""
    t = np.abs(t)
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


def extent(kernel: np.ndarray, *, share: float = 1e-4) -> tuple[int, int]:
    """The sides of the smallest centred window that holds all but ``share`` of a kernel's absolute mass.

    ``kernel``: …×kh×kw. A measured PSF often comes with wide margins of nothing, which cost time wherever its side
    counts.
    """
    mass = np.abs(kernel).reshape(-1, *kernel.shape[-2:]).sum(axis=0)
    return _side(mass.sum(axis=1), share), _side(mass.sum(axis=0), share)


def _side(profile: np.ndarray, share: float) -> int:
    length = len(profile)
    distance = np.abs(np.arange(length) - length // 2)
    within = np.cumsum(np.bincount(distance, weights=profile))
    radius = int(np.argmax(within >= (1 - share) * within[-1]))
    return min(2 * radius + 1, length)


def shift(kernel: np.ndarray, dy: float, dx: float) -> np.ndarray:
    """Move a kernel by ``dy`` pixels down and ``dx`` to the right, by bilinear resampling, and renormalise.

    ``kernel``: kh×kw or kh×kw×3. The array keeps its size, unless more than 0.1 % of the kernel would be lost at
    its border: then it grows on all sides, and the centre stays the centre. To place a centred kernel for the
    scale s, move it by −(s−1)/2 both ways.
    """
    kernel = check(kernel)
    moved = _translate(kernel, dy, dx)
    if np.abs(moved).sum() < (1 - LOST_MASS) * np.abs(kernel).sum():
        margin = [(math.ceil(abs(d)),) * 2 for d in (dy, dx)] + [(0, 0)] * (kernel.ndim - 2)
        moved = _translate(np.pad(kernel, margin), dy, dx)
    return moved / moved.sum(axis=(0, 1))


def _translate(kernel: np.ndarray, dy: float, dx: float) -> np.ndarray:
    from scipy.ndimage import shift as spline_shift

    offsets = (dy, dx) + (0,) * (kernel.ndim - 2)
    return spline_shift(kernel, offsets, order=1, mode="grid-constant", cval=0.0)


def _align(kernel: np.ndarray, scale: int) -> np.ndarray:
    return shift(kernel, -(scale - 1) / 2, -(scale - 1) / 2) if scale > 1 else kernel


# Texts


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
    if name == "gaussian" and colon:
        try:
            numbers = [float(value) for value in values.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 3):
            raise UsrnetError(f"kernel {text!r}: write gaussian:WIDTH or gaussian:WIDTH1,WIDTH2,DEGREES")
        return gaussian(*numbers, scale=scale)
    raise UsrnetError(f"kernel {text!r} is not known: use {SPEC}")


def resolve(kernel: np.ndarray | str, *, scale: int) -> np.ndarray:
    """A kernel array or text as C×kh×kw float64 with C = 1 or 3; a text is parsed together with the scale."""
    taps = parse(kernel, scale) if isinstance(kernel, str) else check(np.asarray(kernel))
    return taps[None] if taps.ndim == 2 else np.ascontiguousarray(np.moveaxis(taps, -1, 0))


def check(kernel: np.ndarray, *, name: str = "the kernel", quiet: bool = False) -> np.ndarray:
    """The kernel as float64 with every channel's sum 1; a note is given when the sum was more than 1 % off.

    Raises ``UsrnetError`` for what is not kh×kw or kh×kw×3, not real, not finite, or has a sum that is not
    clearly positive.
    """
    if kernel.dtype.kind not in "biuf":
        raise UsrnetError(f"{name} holds {kernel.dtype} values: a kernel is made of real numbers")
    if kernel.ndim not in (2, 3) or (kernel.ndim == 3 and kernel.shape[-1] != 3) or not kernel.size:
        shape = "×".join(map(str, kernel.shape)) or "a single number"
        raise UsrnetError(f"{name} has the shape {shape}: a kernel is height×width, or height×width×3 per channel")
    values = kernel.astype(np.float64)
    if not np.isfinite(values).all():
        raise UsrnetError(f"{name} holds values that are not finite (NaN or infinity)")
    total = values.sum(axis=(0, 1))
    if (total <= 1e-3 * np.abs(values).sum(axis=(0, 1))).any():  # all zero as well
        raise UsrnetError(f"{name} has the sum {np.min(total):g}: it must be clearly above zero to be scaled to 1")
    if not quiet and (abs(total - 1) > 0.01).any():
        warnings.warn(f"{name} has the sum {np.mean(total):g}, scaled to 1", UsrnetWarning, stacklevel=3)
    return values / total


# Files


def load(path: Path | str, *, index: int | None = None) -> np.ndarray:
    """One kernel from a ``.png``, ``.npy``, ``.mat`` or ``.txt`` file, normalised, not moved.

    ``index`` (from 1) chooses among several in a .mat file. Raises ``UsrnetError`` when the file cannot be read,
    holds several and none is chosen, or the kernel is not one.
    """
    kernels = load_all(path)
    if index is None and len(kernels) > 1:
        raise UsrnetError(f"{path} holds {len(kernels)} kernels: choose one, {path}:1 to {path}:{len(kernels)}")
    if index is not None and not 1 <= index <= len(kernels):
        raise UsrnetError(f"{path}:{index}: there are {len(kernels)} kernels in the file, counted from 1")
    return kernels[(index or 1) - 1]


def load_all(path: Path | str) -> list[np.ndarray]:
    """All kernels of a file in their order; see ``load``. Stacks in .npy and .mat files are n×kh×kw and kh×kw×n."""
    path = Path(path)
    readers = {".png": _read_png, ".npy": _read_npy, ".mat": _read_mat, ".txt": _read_txt}
    if path.suffix.lower() not in readers:
        raise UsrnetError(f"{path}: a kernel file is one of {', '.join(SUFFIXES)}")
    try:
        arrays = readers[path.suffix.lower()](path)
    except FileNotFoundError as error:
        raise UsrnetError(f"{path}: there is no such kernel file") from error
    except UsrnetError:
        raise
    except Exception as error:  # the readers raise whatever a damaged file makes them stumble over
        raise UsrnetError(f"{path}: the kernel cannot be read ({error})") from error
    quiet = path.suffix.lower() == ".png"  # grey levels never sum to one
    return [check(array, name=str(path), quiet=quiet) for array in arrays]


def _read_png(path: Path) -> list[np.ndarray]:
    from PIL import Image

    with Image.open(path) as image:
        deep = image.mode.startswith("I") or image.mode in ("L", "RGB")
        values = np.asarray(image if deep else image.convert("RGB")).astype(np.float64)
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    return [values]


def _read_npy(path: Path) -> list[np.ndarray]:
    array = np.load(path, allow_pickle=False)
    return list(array) if array.ndim == 3 and array.shape[-1] != 3 else [array]


def _read_txt(path: Path) -> list[np.ndarray]:
    return [np.loadtxt(path.read_text().replace(",", " ").splitlines(), ndmin=2)]


def _read_mat(path: Path) -> list[np.ndarray]:
    from scipy.io import loadmat

    try:
        variables = loadmat(path)
    except NotImplementedError as error:
        raise UsrnetError(f"{path}: MATLAB's version 7.3 is not supported: save it again with -v7") from error
    found: list[np.ndarray] = []
    for name, value in variables.items():
        if name.startswith("__"):
            continue
        for array in value.ravel() if value.dtype == object else [value]:
            if array.dtype.kind not in "biuf":
                continue  # texts that lie beside the kernels
            stack = array.ndim == 3 and array.shape[-1] != 3
            found.extend(np.moveaxis(array, -1, 0) if stack else [array])
    found = [array for array in found if array.size > 1] or found  # numbers that lie beside the kernels
    if not found:
        raise UsrnetError(f"{path}: there is no kernel in it")
    return found


def save(path: Path | str, kernel: np.ndarray) -> None:
    """Write a kernel; the file appears whole or not at all.

    ``.npy``, ``.mat`` (variable ``kernel``) and ``.txt`` keep it exactly. ``.png`` has 16 bits, the largest value
    being white; it cannot hold negative taps or one kernel per channel. Raises ``UsrnetError``.
    """
    path = Path(path)
    kernel = check(kernel)
    buffer = BytesIO()
    suffix = path.suffix.lower()
    if suffix in (".png", ".txt") and kernel.ndim == 3:
        raise UsrnetError(f"{path}: {suffix} holds one kernel, not one per channel: use .npy or .mat")
    if suffix == ".png":
        from PIL import Image

        if kernel.min() < 0:
            raise UsrnetError(f"{path}: a picture cannot hold the kernel's negative taps: use .npy, .mat or .txt")
        Image.fromarray((kernel / kernel.max() * 65535).round().astype(np.uint16)).save(buffer, "PNG")
    elif suffix == ".npy":
        np.save(buffer, kernel)
    elif suffix == ".mat":
        from scipy.io import savemat

        savemat(buffer, {"kernel": kernel})
    elif suffix == ".txt":
        np.savetxt(buffer, kernel, fmt="%.17g")
    else:
        raise UsrnetError(f"{path}: a kernel file is one of {', '.join(SUFFIXES)}")
    try:
        write_bytes(path, buffer.getvalue())
    except OSError as error:
        raise UsrnetError(f"{path}: cannot be written ({error.strerror or error})") from error
