"""Kernel files: read and written, taken as they are.

A file may hold several kernels; which of an array's axes counts them follows from its shape where that is plain, and
is asked for where it is not.
"""

import math
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np

from usrnet.atomic import write_bytes
from usrnet.errors import UsrnetError, require
from usrnet.kernels.shape import check

SUFFIXES = (".png", ".npy", ".npz", ".mat", ".txt", ".csv", ".tif", ".tiff", ".fits", ".fit")
Index = int | Literal["rgb"] | None
LARGEST_SIDE = 2001  # no kernel needs more; what is larger is refused by its header, before it is decoded
LARGEST_FILE = 2**28  # bytes, and what a compressed file may become
_MANY = 4096  # kernels in a file


def load(path: Path | str, *, index: Index = None) -> np.ndarray:
    """One kernel from a file, normalised, not moved.

    Parameters
    ----------
    path : pathlib.Path or str
        A file .png, .npy, .npz, .mat, .txt, .csv, .tif or .fits.
    index : int or "rgb", optional
        Which of several, from 1; ``"rgb"`` says that the last axis of an array holds one kernel per colour channel.

    Returns
    -------
    ndarray, kh×kw or kh×kw×3
        Float64, every sum 1.

    Raises
    ------
    UsrnetError
        The file cannot be read, holds several and none is chosen, or the kernel is not one.

    Examples
    --------
    >>> import tempfile
    >>> from usrnet import kernels
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kernels.save(f"{folder}/psf.npy", kernels.disk(4))
    ...     kernels.load(f"{folder}/psf.npy").shape
    (25, 25)
    """
    return _checked(load_raw(path, index=index), Path(path))


def load_raw(path: Path | str, *, index: Index = None) -> np.ndarray:
    """The values of one kernel as the file has them, see ``load``."""
    arrays, doubt = _read(Path(path), index)
    if index == "rgb":
        if len(arrays) != 1:
            raise UsrnetError(f"{path}:rgb: there are {len(arrays)} kernels in the file, not one per colour channel")
        return arrays[0]
    if index is None and len(arrays) > 1:
        ways = f" ({doubt})" if doubt else ""
        raise UsrnetError(f"{path} holds {len(arrays)} kernels{ways}: choose one, {path}:1 to {path}:{len(arrays)}")
    if index is not None and not 1 <= index <= len(arrays):
        raise UsrnetError(f"{path}:{index}: there are {len(arrays)} kernels in the file, counted from 1")
    return arrays[(index or 1) - 1]


def load_all(path: Path | str) -> list[np.ndarray]:
    """All kernels of a file in their order.

    Parameters
    ----------
    path : pathlib.Path or str
        As for :func:`load`. Stacks are n×kh×kw in .npy and kh×kw×n in .mat files.

    Returns
    -------
    list of ndarray
        Each kh×kw or kh×kw×3, float64, every sum 1.

    Raises
    ------
    UsrnetError
        The file cannot be read, or one is no kernel.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from usrnet import kernels
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/psfs.npy", np.stack([kernels.gaussian(1), kernels.gaussian(2)]))
    ...     len(kernels.load_all(f"{folder}/psfs.npy"))
    2
    """
    arrays, _ = _read(Path(path), None)
    return [_checked(array, Path(path)) for array in arrays]


def split_index(text: str) -> tuple[Path, Index] | None:
    """The file and the index that a text such as ``psf.tif:3`` names; None for what names no kernel file."""
    if found := re.fullmatch(r"(.+):(\d{1,9}|rgb)", text, re.IGNORECASE | re.DOTALL):
        path = Path(found[1])
        if path.suffix.lower() in SUFFIXES:
            return path, "rgb" if found[2].lower() == "rgb" else int(found[2])
    return (Path(text), None) if Path(text).suffix.lower() in SUFFIXES else None


def _checked(array: np.ndarray, path: Path) -> np.ndarray:
    quiet = path.suffix.lower() in (".png", ".tif", ".tiff", ".fits", ".fit")  # grey levels and counts never sum to 1
    return check(array, name=str(path), quiet=quiet)


def _read(path: Path, index: Index) -> tuple[list[np.ndarray], str | None]:
    """The kernels of a file, and why there may be another number of them."""
    from usrnet.io.quiet import quiet

    suffix = path.suffix.lower()
    readers: dict[str, Callable[[Path, Index], tuple[list[np.ndarray], str | None]]] = {
        ".png": _read_picture, ".tif": _read_picture, ".tiff": _read_picture, ".fits": _read_fits, ".fit": _read_fits,
        ".npy": _read_npy, ".npz": _read_npz, ".mat": _read_mat, ".txt": _read_text, ".csv": _read_text,
    }  # fmt: skip
    if suffix not in readers:
        raise UsrnetError(f"{path}: a kernel file is one of {', '.join(SUFFIXES)}")
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UsrnetError(f"{path}: {path.stat().st_size >> 20} MB are too much for a kernel file")
        with quiet(), np.errstate(all="ignore"):  # what is not finite is found below
            arrays, doubt = readers[suffix](path, index)
        if not arrays:
            raise UsrnetError(f"{path}: there is no kernel in it")
        return [_real(array, path) for array in arrays], doubt
    except FileNotFoundError as error:
        raise UsrnetError(f"{path}: there is no such kernel file") from error
    except UsrnetError as error:
        raise (error if str(path) in str(error) else UsrnetError(f"{path}: {error}")) from error
    except Exception as error:  # the readers raise whatever a damaged file makes them stumble over
        text = " ".join(str(error).split())[:160] or type(error).__name__
        raise UsrnetError(f"{path}: the kernel cannot be read ({text})") from error


def _real(array: np.ndarray, path: Path) -> np.ndarray:
    """Complex numbers without an imaginary part, which inverse FFTs leave, as real ones."""
    if array.dtype.kind != "c":
        return array
    real, imaginary = np.real(array), np.imag(array)
    if np.abs(imaginary).max(initial=0) > 1e-6 * np.abs(real).max(initial=0):
        raise UsrnetError(f"{path} holds complex numbers: a kernel is made of real ones, the inverse FFT of these?")
    return np.ascontiguousarray(real)


def check_shape(shape: tuple[int, ...]) -> None:
    """Raise ``UsrnetError`` for a shape that is too large for kernels, before they are decoded."""
    if len(shape) < 2:
        return
    largest = sorted(shape)[-2:]
    if int(np.prod(shape, dtype=object)) > LARGEST_FILE // 8 or min(largest) > LARGEST_SIDE:
        sides = "×".join(map(str, shape))
        raise UsrnetError(f"{sides} numbers are too many for kernels: a side is at most {LARGEST_SIDE}")


def _stack(array: np.ndarray, index: Index, *, last: bool) -> tuple[list[np.ndarray], str | None]:
    """An array as kernels. ``last``: whether several lie along the last axis when the shape does not tell.

    Kernels are mostly square, so that n×k×k and k×k×n tell themselves apart.
    """
    if not array.size:
        return [], None
    if array.ndim < 3:
        return [array], None
    if max(array.shape) > _MANY:
        raise UsrnetError(f"{'×'.join(map(str, array.shape))} numbers are too many kernels")
    if array.ndim == 3 and index == "rgb":
        return [array if array.shape[-1] == 3 else np.moveaxis(array, 0, -1)], None
    if array.ndim == 4 and array.shape[-1] == 3:
        return list(array), None
    while array.ndim > 3 and 1 in array.shape:
        array = array.squeeze(array.shape.index(1))
    if array.ndim != 3:
        raise UsrnetError(f"{'×'.join(map(str, array.shape))} numbers are not kernels height×width")
    first, middle, end = array.shape
    if 1 in (first, end):  # one kernel with an axis too many
        return [array[..., 0] if end == 1 else array[0]], None
    if end == 3 and middle == 3 and not last:
        doubt = f"{first} of 3×3; if it is one of {first}×3 per colour channel write :rgb"
        return list(array), doubt
    if first == middle != end:
        if end == 3 and not last:
            return [array], None
        return list(np.moveaxis(array, -1, 0)), f"{end} of {first}×{middle}; if they are one per colour, write :rgb"
    if middle == end != first:
        return list(array), None
    if end == 3 and not last:
        return [array], None
    return (list(np.moveaxis(array, -1, 0)) if last else list(array)), None


def _read_picture(path: Path, index: Index) -> tuple[list[np.ndarray], str | None]:
    from usrnet.io.decode import read_whole
    from usrnet.io.tiff import TiffFile

    found: list[np.ndarray] = []
    if path.suffix.lower() == ".png":
        picture = read_whole(path, max_pixels=LARGEST_SIDE**2)
        if gamma := picture.metadata.gamma:
            _note_gamma(path, gamma)
        planes = [(picture.pixels, picture.extra)]
    else:
        with TiffFile(path) as file:
            if len(file) > _MANY:
                raise UsrnetError(f"{len(file)} pages are too many for kernels")
            rows = [file.rows(page) for page in range(len(file))]
            check_shape((len(rows), *max(part.shape for part in rows)))
            planes = [(part[:], part.extra) for part in rows]
    for pixels, extra in planes:
        values = pixels.astype(np.float64)
        if values.ndim == 3:
            check_shape(values.shape)
            if extra:
                found += list(np.moveaxis(values, -1, 0))
                continue
            values = values[..., :-1] if values.shape[-1] in (2, 4) else values
            if values.shape[-1] == 1 or (values == values[..., :1]).all():
                values = values[..., 0]
        found.append(values)
    return found, None


def _note_gamma(path: Path, gamma: float) -> None:
    import warnings

    from usrnet.errors import UsrnetWarning

    if abs(gamma - 1) > 0.05:
        warnings.warn(
            f"{path}: it says that its values are gamma-coded ({gamma:.4g}), a PSF is linear: "
            f"`usrnet kernel --gamma {1 / gamma:.3g}` undoes it",
            UsrnetWarning,
            stacklevel=5,
        )


def _read_fits(path: Path, index: Index) -> tuple[list[np.ndarray], str | None]:
    from usrnet.io import fits

    def small(width: int, height: int) -> None:
        check_shape((height, width))

    planes, _ = fits.read_planes(path.read_bytes(), str(path), small)
    if len(planes) == 3 and index == "rgb":
        return [np.moveaxis(planes, 0, -1)], None
    return [plane.astype(np.float64) for plane in planes], None


def _read_npy(path: Path, index: Index) -> tuple[list[np.ndarray], str | None]:
    with path.open("rb") as file:
        check_shape(_npy_shape(file))
    return _stack(np.load(path, allow_pickle=False), index, last=False)


def _npy_shape(file: Any) -> tuple[int, ...]:
    """The shape in the header of an array file. Raises ``ValueError``."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise UsrnetError("it holds Python objects, which are not opened: save an array of numbers")
    return shape


def _read_npz(path: Path, index: Index) -> tuple[list[np.ndarray], str | None]:
    with zipfile.ZipFile(path) as archive:
        total = 0
        for member in archive.infolist():
            total += member.file_size
            if total > LARGEST_FILE:
                raise UsrnetError(f"{total >> 20} MB unpacked are too much for a kernel file")
            with archive.open(member) as file:
                check_shape(_npy_shape(file))
    with np.load(path, allow_pickle=False) as arrays:
        return _collected((arrays[name] for name in arrays.files), index, last=False)


def _collected(arrays: Any, index: Index, *, last: bool) -> tuple[list[np.ndarray], str | None]:
    """The kernels among several arrays, from which texts and single numbers are left out."""
    found, doubts = [], []
    for array in arrays:
        array = np.asarray(array)
        if array.dtype.kind in "biufc":
            made, doubt = _stack(array, index, last=last)
            found += made
            doubts += [doubt] if doubt else []
    found = [array for array in found if array.size > 1] or found
    if not found:
        raise UsrnetError("there is no kernel in it")
    return found, doubts[0] if doubts else None


_NUMBER = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?|[-+]?\d+")


def _read_text(path: Path, index: Index) -> tuple[list[np.ndarray], str | None]:
    data = path.read_bytes()
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = data.decode("utf-16") if wide else data.decode("utf-8-sig", "replace")
    text = text.lstrip("\ufeff")
    lines = [re.split(r"[#%]", line, maxsplit=1)[0].strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    rows = _split_lines(lines)
    if not rows:
        raise UsrnetError("there are no numbers in it")
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        raise UsrnetError(f"its rows hold {min(lengths)} to {max(lengths)} numbers: they must be of one length")
    check_shape((len(rows), len(rows[0])))
    return [np.array(rows, dtype=np.float64)], None


def _split_lines(lines: list[str]) -> list[list[float]]:
    """Numbers in rows, separated by spaces, tabs, commas or semicolons; the comma may be the decimal one."""
    if any(";" in line for line in lines):
        cells = [[cell.strip() for cell in line.rstrip(";").split(";")] for line in lines]
        return [[float(cell.replace(",", ".")) for cell in row] for row in cells]
    spaced = [line.split() for line in lines]
    commas = any("," in line for line in lines)
    points = any("." in line for line in lines)
    decimal = commas and not points and all(_NUMBER.fullmatch(cell) for row in spaced for cell in row)
    if decimal and any(len(row) > 1 for row in spaced):
        return [[float(cell.replace(",", ".")) for cell in row] for row in spaced]
    return [[float(cell) for cell in line.rstrip(",").replace(",", " ").split()] for line in lines]


# MATLAB


def _read_mat(path: Path, index: Index) -> tuple[list[np.ndarray], str | None]:
    data = path.read_bytes()
    if data[:8] == b"\x89HDF\r\n\x1a\n" or data[512:520] == b"\x89HDF\r\n\x1a\n":
        return _collected_mat(_walk_hdf(path), index)
    from scipy.io import loadmat

    _check_elements(data)
    variables = loadmat(BytesIO(data))
    named = ((name, value) for name, value in variables.items() if not name.startswith("__"))
    return _collected_mat((pair for name, value in named for pair in _walk_mat(name, value)), index)


def _collected_mat(pairs: Iterator[tuple[str, Any]], index: Index) -> tuple[list[np.ndarray], str | None]:
    """The kernels of a .mat; one of ours says itself that its last axis is colour."""
    found = list(pairs)
    said = any(name == "channels" and _text_of(value) == "rgb" for name, value in found)
    return _collected((value for _, value in found), "rgb" if said else index, last=True)


def _text_of(value: Any) -> str:
    array = np.asarray(value)
    return "".join(str(part) for part in array.ravel()) if array.dtype.kind in "US" else ""


_MATRIX, _PACKED = 14, 15  # data types of the elements of a version-5 file
_DATA_TYPES = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, _MATRIX, _PACKED, 16, 17, 18}
_OF_MATRICES = (1, 2, 3, 16, 17)  # classes of arrays: cells, structs, objects, functions
_SPARSE = 5  # class
_DEEPEST = 32


def _check_elements(data: bytes) -> None:
    """Refuse a version-5 file that unpacks to more than a kernel file may hold, or whose elements are damaged.

    SciPy believes types, sizes and numbers of elements, and may crash.
    """
    if data[126:128] not in (b"IM", b"MI"):
        return  # version 4, which has no elements
    order: Literal["little", "big"] = "big" if data[126:128] == b"MI" else "little"
    total = 0
    for kind, content in _elements(memoryview(data)[128:], order):
        if kind == _PACKED:
            total += _unpacked_size(content, LARGEST_FILE - total)
            for inner, part in _elements(memoryview(zlib.decompress(content)), order):
                _check_element(inner, part, order, 0)
        else:
            _check_element(kind, content, order, 0)


def _unpacked_size(content: memoryview, most: int) -> int:
    """How many bytes something unpacks to, of which few are held at once. Raises ``UsrnetError`` beyond ``most``."""
    unpack, size = zlib.decompressobj(), 0
    while len(content) and size <= most:
        size += len(unpack.decompress(content, 2**20))
        content = memoryview(unpack.unconsumed_tail)
    if size > most:
        raise UsrnetError(f"more than {LARGEST_FILE >> 20} MB unpacked are too much for a kernel file")
    return size


def _check_element(kind: int, content: memoryview, order: Literal["little", "big"], depth: int) -> None:
    if depth > _DEEPEST:
        raise UsrnetError(f"its cells lie more than {_DEEPEST} deep in each other")
    if kind != _MATRIX or not len(content):
        return
    parts = list(_elements(content, order))
    if len(parts) < 2 or len(parts[0][1]) < 4:
        raise ValueError("an array without a size")
    flags, sizes = parts[0][1], parts[1][1]
    if len(sizes) < 8 or len(sizes) % 4:
        raise ValueError(f"{len(sizes)} bytes for the sides of an array")
    count = math.prod(int.from_bytes(sizes[at : at + 4], order) for at in range(0, len(sizes), 4))
    category = int.from_bytes(flags[:4], order) & 255
    holds_matrices = category in _OF_MATRICES
    if not holds_matrices and count and len(parts) < (6 if category == _SPARSE else 4):  # flags, sizes, name, values
        raise ValueError("an array without its values")
    if holds_matrices and count > len(content):
        raise ValueError(f"{count} cells in {len(content)} bytes")
    for inner, part in parts:
        if inner == _PACKED or (inner == _MATRIX and not holds_matrices):
            raise ValueError(f"an element of type {inner} in another")
        _check_element(inner, part, order, depth + 1)


def _elements(data: memoryview, order: Literal["little", "big"]) -> Iterator[tuple[int, memoryview]]:
    """The data type and the content of each element; small ones lie in the second half of their tag."""
    place = 0
    while place + 8 <= len(data):
        kind = int.from_bytes(data[place : place + 4], order)
        size = int.from_bytes(data[place + 4 : place + 8], order)
        start = place + 8
        if kind >> 16:
            kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
        if kind not in _DATA_TYPES or (start == place + 4 and size > 4) or start + size > len(data):
            raise ValueError(f"an element of type {kind} and {size} bytes")
        yield kind, data[start : start + size]
        small = start == place + 4
        place = place + 8 if small else start + size + (0 if kind == _PACKED else -size % 8)


def _walk_mat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The arrays inside a variable: cells and structs opened, sparse matrices made dense."""
    if hasattr(value, "toarray"):
        yield name, _dense(value)
        return
    array = np.asarray(value)
    if array.dtype.names:
        for field in array.dtype.names:
            for item in array[field].ravel():
                yield from _walk_mat(field, item)
    elif array.dtype == object:
        for item in array.ravel():
            yield from _walk_mat(name, item)
    else:
        check_shape(array.shape)
        yield name, array


def _dense(matrix: Any) -> np.ndarray:
    """A sparse matrix as an array; one whose indices point outside raises ``ValueError``."""
    check_shape(matrix.shape)
    if matrix.format == "csc":
        matrix.check_format(full_check=True)  # which looks at nothing where the last column ends at 0
        if (np.diff(matrix.indptr) < 0).any():
            raise ValueError("columns of a sparse matrix that end before they begin")
    return matrix.toarray()


def _walk_hdf(path: Path) -> Iterator[tuple[str, Any]]:
    """The arrays of a version-7.3 file, whose axes are stored in reverse."""
    h5py: Any = require("h5py", extra="science")
    with h5py.File(path, "r") as file:
        for name in file:
            if not name.startswith("#"):
                yield from _walk_node(h5py, file, name, file[name], depth=0)


def _walk_node(h5py: Any, file: Any, name: str, node: Any, *, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > 8:
        return
    if isinstance(node, h5py.Group):
        if "MATLAB_sparse" in node.attrs:
            yield name, _hdf_sparse(node)
            return
        for field in node:
            yield from _walk_node(h5py, file, field, node[field], depth=depth + 1)
        return
    kind = node.attrs.get("MATLAB_class", b"")
    if kind == b"char":
        yield name, np.array("".join(chr(code) for code in np.asarray(node).ravel()[:100]))
        return
    if node.dtype == h5py.ref_dtype:
        if node.size > _MANY:
            raise UsrnetError(f"{node.size} cells are too many for kernels")
        for reference in np.asarray(node).T.ravel():
            yield from _walk_node(h5py, file, name, file[reference], depth=depth + 1)
        return
    if node.attrs.get("MATLAB_empty", 0):
        return
    check_shape(node.shape)
    array = np.asarray(node)
    if array.dtype.names == ("real", "imag"):
        array = array["real"] + 1j * array["imag"]
    yield name, array.T


def _hdf_sparse(node: Any) -> np.ndarray:
    from scipy.sparse import csc_matrix

    rows, starts = int(node.attrs["MATLAB_sparse"]), np.asarray(node["jc"])
    shape = (rows, len(starts) - 1)
    check_shape(shape)
    if "data" not in node:
        return np.zeros(shape)
    return _dense(csc_matrix((np.asarray(node["data"]), np.asarray(node["ir"]), starts), shape=shape))


# Writing


def save(path: Path | str, kernel: np.ndarray) -> None:
    """Write a kernel; the file appears whole or not at all.

    Parameters
    ----------
    path : pathlib.Path or str
        ``.npy``, ``.npz``, ``.mat`` (variable ``kernel``), ``.txt``, ``.csv`` and ``.fits`` keep it exactly, ``.tif``
        as float32. ``.png`` has 16 bits, the largest value being white; it cannot hold negative taps or one kernel
        per channel.
    kernel : ndarray, kh×kw or kh×kw×3
        A kernel, see :func:`check`.

    Raises
    ------
    UsrnetError
        It is no kernel, the format cannot hold it, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from usrnet import kernels
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kernels.save(f"{folder}/shake.png", kernels.motion(7))
    """
    path = Path(path)
    kernel = check(kernel)
    suffix = path.suffix.lower()
    writers: dict[str, Callable[[np.ndarray, Path], bytes]] = {
        ".png": _png, ".npy": _npy, ".npz": _npz, ".mat": _mat, ".txt": _txt, ".csv": _csv, ".tif": _tif,
        ".tiff": _tif, ".fits": _fits, ".fit": _fits,
    }  # fmt: skip
    if suffix not in writers:
        raise UsrnetError(f"{path}: a kernel file is one of {', '.join(SUFFIXES)}")
    if suffix in (".png", ".txt", ".csv", ".fits", ".fit") and kernel.ndim == 3:
        raise UsrnetError(f"{path}: {suffix} holds one kernel, not one per channel: use .npy or .mat")
    content = writers[suffix](kernel, path)
    try:
        write_bytes(path, content)
    except OSError as error:
        raise UsrnetError(f"{path}: cannot be written ({error.strerror or error})") from error


def _png(kernel: np.ndarray, path: Path) -> bytes:
    from PIL import Image

    if kernel.min() < 0:
        raise UsrnetError(f"{path}: a picture cannot hold the kernel's negative taps: use .npy, .mat or .txt")
    buffer = BytesIO()
    Image.fromarray((kernel / kernel.max() * 65535).round().astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def _npy(kernel: np.ndarray, path: Path) -> bytes:
    buffer = BytesIO()
    np.save(buffer, kernel)
    return buffer.getvalue()


def _npz(kernel: np.ndarray, path: Path) -> bytes:
    buffer = BytesIO()
    np.savez(buffer, kernel=kernel)
    return buffer.getvalue()


def _mat(kernel: np.ndarray, path: Path) -> bytes:
    from scipy.io import savemat

    buffer = BytesIO()
    colour = {"channels": "rgb"} if kernel.ndim == 3 else {}  # else three in H×W×3 are three kernels
    savemat(buffer, {"kernel": kernel, **colour})
    return buffer.getvalue()


def _txt(kernel: np.ndarray, path: Path) -> bytes:
    return _numbers(kernel, " ")


def _csv(kernel: np.ndarray, path: Path) -> bytes:
    return _numbers(kernel, ",")


def _numbers(kernel: np.ndarray, delimiter: str) -> bytes:
    buffer = BytesIO()
    np.savetxt(buffer, kernel, fmt="%.17g", delimiter=delimiter)
    return buffer.getvalue()


def _tif(kernel: np.ndarray, path: Path) -> bytes:
    from usrnet.io import tiff

    buffer = BytesIO()
    values = kernel.astype(np.float32)
    tiff.write(buffer, [values], shape=values.shape, dtype=values.dtype)
    return buffer.getvalue()


def _fits(kernel: np.ndarray, path: Path) -> bytes:
    from usrnet.io import fits
    from usrnet.io.metadata import Metadata

    return fits.encode(kernel, Metadata(), str(path))
