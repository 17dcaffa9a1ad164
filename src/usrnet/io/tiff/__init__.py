"""TIFF: one reader and one writer, whatever the size."""

from usrnet.io.tiff.reader import TiffFile, TiffRows, orient
from usrnet.io.tiff.tags import description_of_result, shape_of, structure_of
from usrnet.io.tiff.writer import Page, write, write_pages

__all__ = [
    "Page",
    "TiffFile",
    "TiffRows",
    "description_of_result",
    "orient",
    "shape_of",
    "structure_of",
    "write",
    "write_pages",
]
