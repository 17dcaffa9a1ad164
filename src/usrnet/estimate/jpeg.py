"""The quantisation steps of a JPEG file, which say what its compression cost."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image


@dataclass(frozen=True, eq=False)
class Jpeg:
    """``tables``: of luma and chroma, 8×8 each; ``subsampled``: whether chroma has less resolution."""

    tables: tuple[np.ndarray, ...]
    subsampled: bool

    @property
    def quality(self) -> int:
        """The quality on the scale of the Independent JPEG Group that comes nearest, 1 to 100."""
        from usrnet.estimate.masks import luma_table

        mean = float(self.tables[0].mean())
        return min(range(1, 101), key=lambda quality: abs(luma_table(quality).mean() - mean))


def jpeg_of(image: Any) -> Jpeg | None:
    """The tables of a PIL image that was opened from a JPEG file; None for anything else."""
    tables = getattr(image, "quantization", None)
    if not isinstance(image, Image.Image) or not isinstance(tables, dict) or not tables:
        return None
    if any(len(table) != 64 for table in tables.values()):
        return None
    layers = getattr(image, "layer", None) or []
    subsampled = any(layer[1] > 1 or layer[2] > 1 for layer in layers[:1])
    ordered = [np.array(tables[key], np.float64).reshape(8, 8) for key in sorted(tables)]
    return Jpeg(tuple(ordered[:2]), subsampled)


def jpeg_of_file(source: Path | BinaryIO) -> Jpeg | None:
    """The tables of a JPEG file, of which only the header is read; a stream is left where it was."""
    try:
        if isinstance(source, Path):
            with Image.open(source) as image:
                return jpeg_of(image)
        place = source.tell()
        data = source.read()
        source.seek(place)
        with Image.open(BytesIO(data)) as image:
            return jpeg_of(image)
    except Exception:  # whoever reads the picture says what is wrong with it
        return None
