"""Kernel files: read and written, taken as they are."""

from io import BytesIO
from pathlib import Path

import numpy as np

from usrnet.atomic import write_bytes
from usrnet.errors import UsrnetError
from usrnet.kernels.shape import check

SUFFIXES = (".png", ".npy", ".mat", ".txt")


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
