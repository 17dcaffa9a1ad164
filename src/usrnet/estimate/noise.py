"""The noise of a picture: ``σ² = median over high frequencies of the mean square of calm blocks' DCT``.

The blocks with the least energy at low frequencies show no structure; what they hold at high frequencies is noise
(N. N. Ponomarenko et al., "An automatic approach to lossy compression of AVIRIS images", IGARSS 2007; parameters as
in M. Colom and A. Buades, "Analysis and extension of the Ponomarenko et al. method", IPOL 3, 2013: blocks of 8×8, of
which the calmest 0.5 % count).

JPEG rounds DCT coefficients, so it removes noise from calm blocks and adds errors elsewhere: there the error is
computed from the table of steps, with the coefficients taken as Laplacian.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BLOCK = 8
CALM = 0.005  # share of the blocks that are looked at …
FEWEST = 60  # … but no fewer than these
ENOUGH = 200  # blocks without clipped pixels
LOW = 9  # i + j below this is structure …
READ = 11  # … and from this on noise, also where fine texture reaches beyond the structure
ROUNDING = 1 / 12  # variance of rounding to whole numbers
UNSEEN = 0.1  # coefficients that differ from zero, beyond those that were seen
LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Noise:
    """Noise levels on the 0–255 scale.

    ``level``: what the error of a pixel is, over all channels. ``channels``: measured in each. ``jpeg``: the part
    that compression added, 0 without it. ``blocks``: how many blocks without clipped pixels there were.
    """

    level: float
    channels: tuple[float, ...]
    jpeg: float
    blocks: int

    @property
    def certain(self) -> bool:
        return self.blocks >= ENOUGH


def measure(
    colour: np.ndarray, *, rounding: float = ROUNDING, tables: Sequence[np.ndarray] = (), subsampled: bool = False
) -> Noise:
    """The noise of a picture H×W×C on the 0–255 scale; the sides are at least 8.

    ``rounding``: the variance that storing it added, 0 for floats. ``tables``: the quantisation tables 8×8 of a JPEG
    file, luma first; ``subsampled``: whether its chroma has half the resolution.
    """
    levels, counts = zip(*(_channel(colour[..., c], rounding) for c in range(colour.shape[-1])), strict=True)
    measured = float(np.mean(np.square(levels)))
    total = _jpeg_variance(colour, tables, subsampled, measured) if len(tables) else measured
    added = math.sqrt(max(total - measured, 0))
    return Noise(math.sqrt(max(total, measured)), tuple(map(float, levels)), added, min(counts))


def _channel(plane: np.ndarray, rounding: float) -> tuple[float, int]:
    """The noise level of one channel, and the number of blocks to choose from."""
    height, width = plane.shape
    stride = 1 if height * width < 150_000 else 2 if height * width < 1_000_000 else 4
    windows = np.lib.stride_tricks.sliding_window_view(plane, (BLOCK, BLOCK))[::stride, ::stride]
    basis = _dct_matrix()
    least, most = (_over_windows(plane, choose)[::stride, ::stride] for choose in (np.minimum, np.maximum))
    shown = (least > 0.5) & (most < 254.5) & (most > least)
    basis = np.kron(basis, basis)  # of both directions at once: one large product instead of many small ones
    low, squares, usable = [], [], []
    band = (_low_band() / _low_band().sum()).astype(np.float32).ravel()
    rows = max(1, 40_000 // windows.shape[1])
    chosen: list[np.ndarray] = []
    for top in range(0, len(windows), rows):  # in parts: all blocks at once would be 64 times the picture
        blocks = windows[top : top + rows].reshape(-1, BLOCK * BLOCK).astype(np.float32)
        fine = shown[top : top + rows].ravel()
        usable.append(fine)
        spectra = np.square(blocks @ basis.T)
        low.append(spectra @ band)
        # Only the calmest of every part can be among the calmest of all.
        order = low[-1] + np.where(fine, 0, 1e9).astype(np.float32)
        keep = np.argsort(order)[: max(FEWEST, int(CALM * len(blocks)) * 4)]
        squares.append(spectra[keep])
        chosen.append(keep)
    count = int(sum(part.sum() for part in usable))
    calmness = np.concatenate([part[keep] for part, keep in zip(low, chosen, strict=True)])
    spectra = np.concatenate(squares)
    fine = np.concatenate([part[keep] for part, keep in zip(usable, chosen, strict=True)])
    if count >= ENOUGH:
        calmness, spectra = calmness[fine], spectra[fine]
    wanted = max(FEWEST, int(CALM * (count if count >= ENOUGH else sum(map(len, usable)))))
    calm = spectra[np.argsort(calmness)[:wanted]].reshape(-1, BLOCK, BLOCK)
    i, j = np.mgrid[:BLOCK, :BLOCK]
    variance = float(np.median(calm[:, i + j >= READ].mean(axis=0)))
    return float(np.sqrt(max(variance - rounding, 0))), count


def _over_windows(plane: np.ndarray, choose: np.ufunc) -> np.ndarray:
    """The least or the most of every block 8×8, by doubling."""
    for step in (1, 2, 4):
        plane = choose(plane[:-step], plane[step:])
        plane = choose(plane[:, :-step], plane[:, step:])
    return plane


def noise_of(grey: np.ndarray) -> float:
    """The noise level of one channel H×W on the 0–255 scale: what its calm blocks show, compressed or not."""
    return float(_channel(grey, ROUNDING)[0])


def _low_band() -> np.ndarray:
    i, j = np.mgrid[:BLOCK, :BLOCK]
    return (i + j > 0) & (i + j < LOW)


def _dct_matrix() -> np.ndarray:
    """The orthonormal DCT-II of length 8."""
    k, n = np.mgrid[:BLOCK, :BLOCK]
    basis = np.cos(np.pi * (2 * n + 1) * k / (2 * BLOCK)) * np.sqrt(2 / BLOCK)
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)


def block_spectra(plane: np.ndarray, phase: tuple[int, int] = (0, 0)) -> np.ndarray:
    """The DCT of the 8×8 blocks of a grid that starts at ``phase``: N×8×8."""
    part = plane[phase[0] :, phase[1] :]
    rows, columns = part.shape[0] // BLOCK, part.shape[1] // BLOCK
    blocks = part[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2)
    basis = _dct_matrix()
    return basis @ (blocks.reshape(-1, BLOCK, BLOCK).astype(np.float32) - 128) @ basis.T


def _jpeg_variance(colour: np.ndarray, tables: Sequence[np.ndarray], subsampled: bool, measured: float) -> float:
    """The variance of the errors, as a mean over the channels of RGB; ``measured``: what calm blocks show of it."""
    if min(colour.shape[:2]) < 2 * BLOCK:
        return measured
    if colour.shape[-1] == 1:
        return quantisation_variance(block_spectra(colour[..., 0]), tables[0], measured)
    y = colour @ LUMA
    red, blue = (colour[..., 0] - y) * 0.713 + 128, (colour[..., 2] - y) * 0.564 + 128
    luma = float(np.square(LUMA).sum()) * measured  # of noise that is the same in red, green and blue
    total = quantisation_variance(block_spectra(y), tables[0], luma)
    chroma = tables[min(1, len(tables) - 1)]
    # From YCbCr to RGB: R = Y + 1.402 Cr, G = Y − 0.344 Cb − 0.714 Cr, B = Y + 1.772 Cb.
    for plane, weight in ((red, (1.402**2 + 0.714**2) / 3), (blue, (0.344**2 + 1.772**2) / 3)):
        if subsampled:
            even = plane[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2]
            plane = even.reshape(even.shape[0] // 2, 2, -1, 2).mean(axis=(1, 3))
        if min(plane.shape) >= BLOCK:
            total += weight * quantisation_variance(block_spectra(plane), chroma, 0.3 * measured)
    return total


def quantisation_variance(spectra: np.ndarray, table: np.ndarray, measured: float = 0.0) -> float:
    """The mean square of what is wrong with DCT coefficients N×8×8 that were rounded to multiples of a table 8×8.

    ``measured``: the variance of the noise that calm blocks still show. Where steps are narrow it is all there is;
    where they are wide it is gone, and so is part of the picture.

    The steps of most coefficients are wider than their values, which are then zero: how much was lost must be
    guessed from the few that are not. Every coefficient is taken as Laplacian over the blocks, with the scale of
    the greatest likelihood; where hardly any differs from zero, the scales of the others are continued.
    """
    steps = table.astype(np.float64).reshape(64)
    numbers = np.abs(np.round(spectra.reshape(-1, 64) / steps))
    count = len(numbers)
    seen = (numbers > 0).sum(axis=0)
    others = seen + UNSEEN
    sums = numbers.sum(axis=0) + UNSEEN
    # θ = exp(−q / b): P(0) = 1 − √θ, P(±n) = (1 − θ) θ^(n − ½).
    logs = -np.geomspace(1e-3, 60, 300)[:, None]
    likelihood = (
        np.maximum(count - others, 0) * np.log1p(-np.exp(logs / 2))
        + others * np.log1p(-np.exp(logs))
        + (sums - others / 2) * logs
    )
    scale = steps / -logs[likelihood.argmax(axis=0), 0]
    scale = np.minimum(scale, _continued(scale, seen))
    return float(np.maximum(steps**2 * _lost(-steps / scale), measured).mean())


def _continued(scale: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Scales of 64 coefficients where they are known, elsewhere continued: a power of the frequency and a blur."""
    i, j = np.mgrid[:BLOCK, :BLOCK]
    squared = np.maximum((i * i + j * j).reshape(64), 0.5)
    known = seen >= 20
    known[0] = False
    if known.sum() < 6:
        return np.where(known, scale, 0.3 * np.minimum(scale, 1 / np.sqrt(squared)))
    design = np.stack([np.ones(64), np.log(squared), squared], 1)
    weight = np.sqrt(np.minimum(seen[known], 500))
    answer = np.linalg.lstsq(design[known] * weight[:, None], np.log(scale[known]) * weight, rcond=None)[0]
    if answer[2] > 0:  # more at high frequencies: only the power counts
        answer = np.append(np.linalg.lstsq(design[known, :2], np.log(scale[known]), rcond=None)[0], 0)
    return np.where(known, scale, np.exp(np.minimum(design @ answer, np.log(scale[known]).max())))


def _lost(theta_log: np.ndarray) -> np.ndarray:
    """The mean square error of rounding a Laplacian value with scale b to whole numbers; ``theta_log`` = −1/b."""
    rate = np.clip(-theta_log, 1e-3, 500)[:, None]
    t = (np.arange(400) + 0.5) / 400
    inner = (np.exp(-rate * t / 2) * rate / 2 * (t / 2) ** 2).mean(axis=1)  # of values below a half, which are t/2
    # What lies in the other bins, all of one shape.
    outer = (np.exp(-rate * t) * rate * (t - 0.5) ** 2).mean(axis=1) / -np.expm1(-rate[:, 0])
    return np.minimum(inner + np.exp(-rate[:, 0] / 2) * outer, 2 / rate[:, 0] ** 2)
