"""The quantisation steps of a JPEG file, which say what its compression cost."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Jpeg:
    """``tables``: of luma and chroma, 8×8 each; ``subsampled``: whether chroma has less resolution."""

    tables: tuple[np.ndarray, ...]
    subsampled: bool


def jpeg_of(image: Any) -> Jpeg | None:
    """The tables of a PIL image that was opened from a JPEG file; None for any other."""
    tables = getattr(image, "quantization", None)
    if not isinstance(tables, dict) or not tables or any(len(table) != 64 for table in tables.values()):
        return None
    layers = getattr(image, "layer", None) or []
    subsampled = any(layer[1] > 1 or layer[2] > 1 for layer in layers[:1])
    ordered = [np.array(tables[key], np.float64).reshape(8, 8) for key in sorted(tables)]
    return Jpeg(tuple(ordered[:2]), subsampled)
