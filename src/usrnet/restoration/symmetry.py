"""The eight flips and turns of a picture, under which blurring and decimating keeps its form.

If ``y = (x ⊗ k)↓s``, a turned ``y`` is the turned ``x`` blurred by the turned ``k`` and decimated. Where a side is
reversed, the pixel that is kept of each s×s patch is the last one instead of the first: the kernel moves by −(s−1).
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from torch import Tensor

from usrnet.restoration.observation import Observation


@dataclass(frozen=True)
class Symmetry:
    """A transposition of rows and columns if ``flipped``, then ``turns`` quarter turns; acts on the last two axes."""

    turns: int
    flipped: bool

    def array(self, values: np.ndarray) -> np.ndarray:
        turned = np.rot90(values.swapaxes(-2, -1) if self.flipped else values, self.turns, axes=(-2, -1))
        return np.ascontiguousarray(turned)

    def tensor(self, values: Tensor) -> Tensor:
        return torch.rot90(values.mT if self.flipped else values, self.turns, dims=(-2, -1)).contiguous()

    def back(self, values: Tensor) -> Tensor:
        turned = torch.rot90(values, -self.turns, dims=(-2, -1))
        return turned.mT if self.flipped else turned

    def observation(self, observation: Observation) -> Observation:
        """The observation of the turned picture: its kernel."""
        reach = observation.scale - 1
        # Odd sides, so that the middle stays the middle, and room for the move.
        odd = [(reach, reach + 1 - length % 2) for length in observation.taps.shape[-2:]]
        taps = self.array(np.pad(observation.taps, [(0, 0), *odd]))
        # Which axes of the result run backwards: seen by what becomes of a growing number along each.
        reversed_axes = [axis for axis, row in ((-2, 0), (-1, 1)) if self._runs_backwards(row)]
        return replace(observation, taps=np.roll(taps, -reach, axis=reversed_axes) if reversed_axes else taps)

    def _runs_backwards(self, axis: int) -> bool:
        grid = self.array(np.add(*np.meshgrid([0.0, 1.0], [0.0, 2.0])))
        return bool(grid[1, 0] < grid[0, 0]) if axis == 0 else bool(grid[0, 1] < grid[0, 0])


SYMMETRIES = [Symmetry(turns, flipped) for turns, flipped in product(range(4), (False, True))]
