"""The warnings of the libraries that read files, held back: what matters is said in our own words."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_MODULES = r"(PIL|astropy|tifffile|pillow_heif|scipy\.io|h5py)\b|<unknown>"  # the last: NumPy parses a header
_lock = threading.Lock()
_inside = 0
_filter: tuple | None = None


@contextmanager
def quiet() -> Iterator[None]:
    """While the body runs; unlike ``warnings.catch_warnings``, several threads may be inside at once."""
    global _inside, _filter
    with _lock:
        _inside += 1
        if _inside == 1:
            warnings.filterwarnings("ignore", module=_MODULES)
            _filter = warnings.filters[0]  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _filter in warnings.filters:
                warnings.filters.remove(_filter)  # pyright: ignore[reportAttributeAccessIssue]
