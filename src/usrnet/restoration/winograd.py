"""Winograd's convolution ``y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A``: 3×3 taps on 4×4 pixels with 36 multiplications, not 144.

Lavin & Gray, "Fast algorithms for convolutional neural networks", arXiv 1509.09308. ``d`` is a 6×6 piece of the
input, ``g`` the taps; ⊙, summed over the input channels, is one matrix product for each of the 36 positions. The
polynomials behind it are evaluated at 0, ±1/√2, ±√2 and ∞: half of the rounding error of the usual 0, ±1, ±2 and ∞,
and twice that of a plain convolution in float32.
"""

import threading
from collections.abc import Iterator, Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

POINTS = (0.0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))
PIXELS, TAPS = 4, 3  # one piece, along one axis
SIDE = PIXELS + TAPS - 1
PIECES = 128  # of a band of rows: enough to read the weights seldom, few enough to stay in the caches


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
        height, width = x.shape[2:]
        across = -(-width // PIXELS)  # pieces
        rows = PIXELS * max(1, PIECES // across)
        for picture, output in zip(x.permute(0, 2, 3, 1), target.permute(0, 2, 3, 1), strict=True):
            for top in range(0, height, rows):
                band = output[top : top + rows]
                down = -(-len(band) // PIXELS)
                part = self._band(picture, top, down, across)
                if band.shape[:2] == (PIXELS * down, PIXELS * across):
                    yield band.view(down, PIXELS, across, PIXELS, -1), part
                else:
                    yield band, part.reshape(PIXELS * down, PIXELS * across, -1)[: len(band), :width]

    def _band(self, picture: Tensor, top: int, down: int, across: int) -> Tensor:
        """What belongs to ``down``×``across`` pieces from row ``top`` on, of a picture H×W×C: down×4×across×4×O."""
        height, width, channels = picture.shape
        pieces, line = down * across, (PIXELS * across + 2) * channels  # numbers in a row with a border of zeros
        padded, halfway, gathered, transformed, product, half_back, result = _scratch(
            (PIXELS * down + 2, PIXELS * across + 2, channels),
            (down, SIDE, line),
            (SIDE, SIDE, down, across, channels),
            (SIDE, SIDE, pieces * channels),
            (SIDE**2, pieces, self.outputs),
            (PIXELS, SIDE * pieces * self.outputs),
            (PIXELS, PIXELS, pieces * self.outputs),
        )
        first, last = max(top - 1, 0), min(top + PIXELS * down + 1, height)
        padded[: first - top + 1] = 0
        padded[last - top + 1 :] = 0
        inside = padded[first - top + 1 : last - top + 1]
        inside[:, 0] = 0
        inside[:, width + 1 :] = 0
        inside[:, 1 : width + 1] = picture[first:last]
        overlapping = padded.as_strided(halfway.shape, (PIXELS * line, line, 1), padded.storage_offset())
        torch.bmm(self.forth.expand(down, -1, -1), overlapping, out=halfway)
        strides = (line, channels, SIDE * line, PIXELS * channels, 1)
        gathered.copy_(halfway.as_strided(gathered.shape, strides, halfway.storage_offset()))
        torch.bmm(self.forth.expand(SIDE, -1, -1), gathered.view(transformed.shape), out=transformed)
        torch.bmm(transformed.view(SIDE**2, pieces, channels), self.weight, out=product)
        torch.mm(self.back, product.view(SIDE, -1), out=half_back)
        torch.bmm(self.back.expand(PIXELS, -1, -1), half_back.view(PIXELS, SIDE, -1), out=result)
        return result.view(PIXELS, PIXELS, down, across, self.outputs).permute(2, 0, 3, 1, 4)


_kept = threading.local()


def _scratch(*shapes: Sequence[int]) -> list[Tensor]:
    """Tensors whose content is left over. Their memory stays with the thread: new pages cost as much as a step."""
    sizes = [-(-prod(shape) // 16) * 16 for shape in shapes]  # a cache line
    kept: Tensor | None = getattr(_kept, "memory", None)
    if kept is None or kept.numel() < sum(sizes):
        with torch.inference_mode(mode=False):  # such a tensor may be written to everywhere
            kept = _kept.memory = torch.empty(sum(sizes), dtype=torch.float32, device="cpu")
    parts = kept[: sum(sizes)].split(sizes)
    return [part[: prod(shape)].view(*shape) for part, shape in zip(parts, shapes, strict=True)]
