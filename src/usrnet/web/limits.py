"""What the page allows: every limit, in one place.

They are read when they are needed, as ``limits.NAME``, so that a test can start a page with others.
"""

from pathlib import Path

import numpy as np

from usrnet.errors import UsrnetError

MAX_PIXELS = 24_000_000  # of a picture
UPLOAD_BYTES = 200 * 2**20  # of an uploaded file
REQUEST_BYTES = 2**20  # of any other request
KERNEL_BYTES = 8 * 2**20  # of a kernel file
KERNEL_SIDE = 512  # of a kernel from a file, in pixels
WAITING = 40  # previews and pictures that may wait; more are told to come back later
AT_ONCE = 40  # other requests that are served while so many wait
FOLDER_BYTES = 8 * 2**30  # of all uploads and results together; then the oldest go
KEPT_SECONDS = 3600  # after a file was last used
SWEEP_SECONDS = 60  # between two looks at the folder
SCREEN_SIDE = 2000  # of the whole picture as it is shown


def check_kernel_file(path: Path) -> None:
    """Raise ``UsrnetError`` for a kernel file that is too large, before it is decoded."""
    if path.stat().st_size > KERNEL_BYTES:
        raise UsrnetError(
            f"{path}: {path.stat().st_size >> 20} MB are more than the {KERNEL_BYTES >> 20} MB of a kernel"
        )
    if path.suffix.lower() in (".png", ".tif", ".tiff"):
        _check_sides(path, _size_of_picture(path))


def check_kernel(path: Path, kernel: np.ndarray) -> None:
    """Raise ``UsrnetError`` for a kernel that is too large, where only decoding tells."""
    _check_sides(path, kernel.shape[:2])


def _check_sides(path: Path, sides: tuple[int, ...]) -> None:
    if max(sides) > KERNEL_SIDE:
        text = "×".join(map(str, sides))
        raise UsrnetError(
            f"{path}: a kernel of {text} pixels is too large: a side may have {KERNEL_SIDE}, cut it out"
        )


def _size_of_picture(path: Path) -> tuple[int, int]:
    """Width and height as the header has them."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size
    except Image.DecompressionBombError as error:
        raise UsrnetError(f"{path}: a kernel has at most {KERNEL_SIDE}×{KERNEL_SIDE} pixels") from error
    except OSError:
        return 0, 0  # the reader of kernels says what is wrong
