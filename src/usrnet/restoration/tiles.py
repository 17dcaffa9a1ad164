"""Tiles: which windows of a picture are restored one after the other, and how they are put together.

All positions are in low-resolution pixels. A tile is restored with a halo around it that is thrown away; what
remains overlaps its neighbours by a narrow seam, over which one tile fades into the next. The fading weights
of all tiles sum to one everywhere.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

SEAM = 4  # half the width over which two tiles fade into each other


@dataclass(frozen=True)
class Span:
    """One tile along one axis: it answers for ``start:stop`` and is computed from ``first:last``."""

    first: int
    start: int
    stop: int
    last: int
    fade_in: bool
    fade_out: bool
    half_seam: int = SEAM

    @property
    def computed(self) -> slice:
        return slice(self.first, self.last)

    @property
    def middle(self) -> float:
        """The middle of what it answers for."""
        return (self.start + self.stop) / 2

    def weights(self, scale: int) -> np.ndarray:
        """The weight of each of the enlarged pixels of ``start:stop``, float32."""
        weights = np.ones((self.stop - self.start) * scale, np.float32)
        seam = 2 * self.half_seam * scale
        ramp = (np.arange(seam, dtype=np.float32) + 0.5) / seam
        if self.fade_in:
            weights[:seam] = ramp
        if self.fade_out:
            weights[-seam:] = ramp[::-1]
        return weights


def spans(length: int, tile: int, halo: int, grid: int = 1, *, half_seam: int = SEAM) -> list[Span]:
    """Cut ``length`` pixels into equal parts of at most ``tile`` pixels, plus halo and seam.

    What is computed starts at a multiple of ``grid``: a prior that halves the picture a few times gives the same
    answer only where its blocks lie the same.

    Parts are kept no shorter than a seam and as equal as they can be, so that one FFT size serves them all.
    """
    count = max(1, min(-(-length // tile), length // (4 * half_seam)))
    cuts = [round(i * length / count) for i in range(count + 1)]
    result = []
    for a, b in pairwise(cuts):
        start, stop = max(0, a - half_seam) if a else 0, min(length, b + half_seam) if b < length else length
        result.append(
            Span(
                max(0, start - halo) // grid * grid,
                start,
                stop,
                min(length, stop + halo),
                fade_in=a > 0,
                fade_out=b < length,
                half_seam=half_seam,
            )
        )
    return result
