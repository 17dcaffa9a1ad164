"""The warnings of the libraries that read files, held back: what matters is said in our own words."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_MODULES = r"(PIL|astropy|tifffile|pillow_heif|scipy\.io|h5py)\b|<unknown>"  # the last: NumPy parses a header
_NUMPY = r"Reading `\.npy`"  # of a file that Python 2 wrote; said to whoever calls
_lock = threading.Lock()
_inside = 0
_filters: list[tuple] = []


@contextmanager
def quiet() -> Iterator[None]:
    """While the body runs; unlike ``warnings.catch_warnings``, several threads may be inside at once."""
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            for message, module in (("", _MODULES), (_NUMPY, "")):
                warnings.filterwarnings("ignore", message, module=module)
                _filters.append(warnings.filters[0])  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            while _inside == 0 and _filters:
                if (ours := _filters.pop()) in warnings.filters:
                    warnings.filters.remove(ours)  # pyright: ignore[reportAttributeAccessIssue]
