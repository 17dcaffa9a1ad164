"""Winograd's convolution ``y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A``: 3×3 taps on 4×4 pixels with 36 multiplications, not 144.

Lavin & Gray, "Fast algorithms for convolutional neural networks", arXiv 1509.09308. ``d`` is a 6×6 piece of the
input, ``g`` the taps; ⊙, summed over the input channels, is one matrix product for each of the 36 positions. The
polynomials behind it are evaluated at 0, ±1/√2, ±√2 and ∞: half of the rounding error of the usual 0, ±1, ±2 and ∞,
and twice that of a plain convolution in float32.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

POINTS = (0.0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))
PIXELS, TAPS = 4, 3  # one piece, along one axis
SIDE = PIXELS + TAPS - 1
BAND_BYTES = 2 * 2**20  # of one transformed band of rows: what stays in the caches between the steps


def matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``Aᵀ`` (4×6), ``G`` (6×3) and ``Bᵀ`` (6×6) in float64."""

    def evaluate(terms: int) -> np.ndarray:
        """The values of a polynomial of so many coefficients at the points, and its last coefficient, "at ∞"."""
        return np.vstack([np.vander(POINTS, terms, increasing=True), np.eye(1, terms, terms - 1)])

    back, taps, forth = evaluate(PIXELS).T, evaluate(TAPS), np.linalg.inv(evaluate(SIDE)).T
    size = np.abs(forth).max(axis=1, keepdims=True)  # shared out so that no row is large where another is small
    return back, taps * size, forth / size


class Winograd:
    """A 3×3 convolution with zeros beyond the border; ``weight``: O×C×3×3 float32. Best for many channels."""

    def __init__(self, weight: Tensor) -> None:
        back, taps, forth = (torch.from_numpy(matrix) for matrix in matrices())
        self.back, self.forth = back.to(weight.dtype), forth.to(weight.dtype)
        exact = torch.einsum("ia,ocab,jb->ijco", taps, weight.double(), taps)
        self.outputs, self.inputs = weight.shape[:2]
        self.weight = exact.to(weight.dtype).reshape(SIDE**2, self.inputs, self.outputs).contiguous()

    def relu(self, x: Tensor) -> Tensor:
        """``max(0, x ⊗ g)``: N×C×H×W → N×O×H×W, both channels-last."""
        shape = (x.shape[0], self.outputs, *x.shape[-2:])
        result = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
        for rows, part in self._bands(x, result):
            torch.clamp_min(part, 0, out=rows)
        return result

    def add_to(self, target: Tensor, x: Tensor) -> Tensor:
        """``target += x ⊗ g``, both channels-last."""
        for rows, part in self._bands(x, target):
            rows.add_(part)
        return target

    def _bands(self, x: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Bands of rows of the target, H×W×O, each with what belongs there."""
        height, width, channels = x.shape[2], x.shape[3], self.inputs
        down, across = -(-height // PIXELS), -(-width // PIXELS)  # pieces
        band = max(1, min(down, BAND_BYTES // (SIDE**2 * across * channels * x.element_size())))
        line = (PIXELS * across + 2) * channels  # numbers in a row with a border of zeros
        padded = x.new_zeros(PIXELS * band + 2, PIXELS * across + 2, channels)
        pieces = padded.as_strided((band, SIDE, line), (PIXELS * line, line, 1))
        halfway = x.new_empty(band, SIDE, line)
        columns = halfway.as_strided(
            (SIDE, SIDE, band, across, channels), (line, channels, SIDE * line, PIXELS * channels, 1)
        )
        gathered = x.new_empty(SIDE, SIDE, band * across * channels)
        transformed = x.new_empty(SIDE, SIDE, band * across * channels)
        product = x.new_empty(SIDE**2, band * across, self.outputs)
        half_back = x.new_empty(PIXELS, SIDE * band * across * self.outputs)
        result = x.new_empty(PIXELS, PIXELS, band * across * self.outputs)
        for picture, output in zip(x.permute(0, 2, 3, 1), target.permute(0, 2, 3, 1), strict=True):
            for top in range(0, height, PIXELS * band):
                bottom = min(top + PIXELS * band, height)
                first, last = max(top - 1, 0), min(bottom + 1, height)
                padded[: first - top + 1] = 0
                padded[first - top + 1 : last - top + 1, 1 : width + 1] = picture[first:last]
                padded[last - top + 1 :] = 0
                torch.bmm(self.forth.expand(band, -1, -1), pieces, out=halfway)
                gathered.view(columns.shape).copy_(columns)
                torch.bmm(self.forth.expand(SIDE, -1, -1), gathered, out=transformed)
                torch.bmm(transformed.view(SIDE**2, band * across, channels), self.weight, out=product)
                torch.mm(self.back, product.view(SIDE, -1), out=half_back)
                torch.bmm(self.back.expand(PIXELS, -1, -1), half_back.view(PIXELS, SIDE, -1), out=result)
                part = result.view(PIXELS, PIXELS, band, across, self.outputs).permute(2, 0, 3, 1, 4)
                if bottom - top < PIXELS * band or width < PIXELS * across:
                    part = part.reshape(PIXELS * band, PIXELS * across, -1)[: bottom - top, :width]
                    yield output[top:bottom], part
                else:
                    yield output[top:bottom].view(band, PIXELS, across, PIXELS, -1), part
