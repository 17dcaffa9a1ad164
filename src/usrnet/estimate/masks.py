"""What of a picture may be looked at: no frames, no clipped pixels, tiles with structure in them; traces of JPEG.

A frame, a caption or a clipped lamp has the spectrum of a drawing, not of the scene behind the lens.
"""

import math
from dataclasses import dataclass

import numpy as np

from usrnet.estimate.noise import BLOCK, block_spectra
from usrnet.estimate.spectrum import TILE, WINDOW

MOST_TILES = 48
ALTERNATING = 0.1  # photos and JPEGs stay below 0.06, enlarged ones begin at 0.15
PERIODIC = 20.0  # times as strong as a typical period: enlarged
CLIPPED_SHARE = 0.05  # of a tile's pixels may be clipped


def inside(grey: np.ndarray, visible: np.ndarray | None = None) -> tuple[slice, slice]:
    """The picture without its frame: constant rows and columns, and those nobody sees, at the border."""
    rows = [_inside(_flat(grey, axis), axis, visible) for axis in (1, 0)]
    return rows[0], rows[1]


def _flat(grey: np.ndarray, axis: int) -> np.ndarray:
    """Which rows (axis 1) or columns (axis 0) hold one value only, give or take what JPEG does to it."""
    return np.ptp(grey, axis=axis) <= 3


def _inside(flat: np.ndarray, axis: int, visible: np.ndarray | None) -> slice:
    if visible is not None:
        flat = flat | ~visible.any(axis=axis)
    kept = np.flatnonzero(~flat)
    return slice(int(kept[0]), int(kept[-1]) + 1) if len(kept) else slice(0, 0)


@dataclass(frozen=True)
class Tiles:
    """``corners``: N×2 (top, left) of windows ``height``×``width``, the richest in structure first."""

    corners: np.ndarray
    height: int
    width: int
    structured: int  # how many there were to choose from


def choose_tiles(grey: np.ndarray, *, noise_level: float, usable: np.ndarray | None = None) -> Tiles:
    """At most 48 tiles of a picture H×W whose structure stands out of the noise.

    ``usable``: H×W, False where a pixel is clipped or cannot be seen. Pictures with a side below 32 have none.
    """
    height, width = (min(TILE, length) for length in grey.shape)
    nothing = Tiles(np.zeros((0, 2), int), height, width, 0)
    if min(height, width) < WINDOW:
        return nothing
    step = TILE // 2 if grey.size < 2_000_000 else TILE
    corners = np.array(
        [(t, c) for t in _places(grey.shape[0], height, step) for c in _places(grey.shape[1], width, step)]
    )
    structure = _sums(_structure(grey), corners // 4, height // 4 - 1, width // 4 - 1)
    structure /= (height // 4 - 1) * (width // 4 - 1)
    noise = noise_level**2 / 8  # of the difference of two means of 16 pixels
    fine = structure > 1.5 * noise + 1
    if usable is not None:
        fine &= _sums(~usable, corners, height, width) <= CLIPPED_SHARE * height * width
    kept = np.flatnonzero(fine)
    order = kept[np.argsort(-structure[kept])][:MOST_TILES]
    return Tiles(corners[order], height, width, len(kept)) if len(kept) else nothing


def _places(length: int, side: int, step: int) -> list[int]:
    return sorted({*range(0, length - side + 1, step), length - side})


def _structure(grey: np.ndarray) -> np.ndarray:
    """The squared differences of neighbouring means of 4×4 pixels."""
    rows, columns = (length // 4 for length in grey.shape)
    means = grey[: rows * 4, : columns * 4].reshape(rows, 4, columns, 4).mean(axis=(1, 3))
    across = np.square(np.diff(means, axis=1))[:-1]
    return (across + np.square(np.diff(means, axis=0))[:, :-1]) / 2


def _sums(values: np.ndarray, corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """The sums over windows, by a table of cumulated ones."""
    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    table[1:, 1:] = values.astype(np.float64).cumsum(axis=0).cumsum(axis=1)
    top, left = corners.T
    bottom, right = np.minimum(top + height, values.shape[0]), np.minimum(left + width, values.shape[1])
    return table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]


def clipped(colour: np.ndarray) -> np.ndarray:
    """H×W: pixels with a channel at either end of the range."""
    return np.any((colour <= 0.5) | (colour >= 254.5), axis=-1)


def drawn(grey: np.ndarray) -> float:
    """The share of pixels that equal both the one to the right and the one below: drawings, text, screenshots."""
    same = (grey[:-1, :-1] == grey[:-1, 1:]) & (grey[:-1, :-1] == grey[1:, :-1])
    return float(same.mean()) if same.size else 1.0


def jpeg_grid(grey: np.ndarray) -> tuple[int, int] | None:
    """Where the 8×8 grid of an earlier JPEG begins, if its seams can be seen; None otherwise."""
    if min(grey.shape) < 5 * BLOCK:
        return None
    phases = []
    for plane in (grey, grey.T):
        d = np.diff(plane, axis=0)
        seam = np.abs(d[1:-1] - (d[:-2] + d[2:]) / 2).mean(axis=1)  # of the border above row i + 2
        profile = np.array([seam[(np.arange(len(seam)) + 2) % BLOCK == phase].mean() for phase in range(BLOCK)])
        phase = int(profile.argmax())
        if profile[phase] < 1.08 * np.delete(profile, phase).max() or profile[phase] < 1e-3:
            return None
        phases.append(phase)
    return phases[0], phases[1]


_LUMA_TABLE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)  # fmt: skip
"""ITU-T T.81, table K.1."""


def luma_table(quality: int) -> np.ndarray:
    """The luma steps of the Independent JPEG Group's encoder at a quality from 1 to 100."""
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    return np.clip((_LUMA_TABLE * percent + 50) // 100, 1, 255)


def quality_of(table: np.ndarray) -> int:
    """The quality whose luma steps come nearest, 1 to 100."""
    return min(range(1, 101), key=lambda quality: abs(luma_table(quality).mean() - table.mean()))


def former_jpeg(grey: np.ndarray) -> tuple[int, np.ndarray] | None:
    """The quality and luma table of the JPEG that a picture once was; None if it shows none.

    The DCT coefficients of such a picture lie near multiples of the steps: ``mean cos(2π c / q)`` is near one for
    the right table. Qualities above 93, with steps of one and two, leave no trace that rounding does not hide.
    """
    phase = jpeg_grid(grey)
    best: tuple[float, int, np.ndarray] | None = None
    i, j = np.mgrid[:BLOCK, :BLOCK]
    wanted = (i + j > 0) & (i + j < 7)
    for candidate in {phase or (0, 0), (0, 0)}:
        spectra = block_spectra(grey, candidate)
        if len(spectra) < 25:
            return None
        spectra = spectra[:: max(1, len(spectra) // 3000), wanted]
        for quality in range(30, 94):
            table = luma_table(quality)
            steps = table[wanted].astype(np.float32)
            wide = steps >= 3
            away = np.abs(spectra) > steps / 2  # zeros are multiples of every step
            counted = away & wide
            if counted.sum() < 200:
                continue
            fit = np.cos(2 * np.pi * spectra / steps)[counted].mean()
            if best is None or fit > best[0]:
                best = (float(fit), quality, table)
    return (best[1], best[2]) if best is not None and best[0] > 0.5 else None


def enlarged(grey: np.ndarray) -> str | None:
    """By what a picture was enlarged before, as it is said to people; None if there is no sign of it.

    Interpolated pixels are smoother than those they lie between, so the second difference goes up and down with the
    period of the enlargement (A. C. Gallagher, "Detection of linear and cubic interpolation in JPEG compressed
    images", CRV 2005). At a factor of exactly two all pixels are equally smooth, but steps between two pixels that
    come from the same one differ from those between two that do not: the third differences alternate.
    """
    if min(grey.shape) < 2 * TILE:
        return None
    repeats = [_repeats(plane) for plane in (grey, grey.T)]
    if repeats[0] > 1 and repeats[0] == repeats[1]:
        return str(repeats[0])
    first, second = (_periods(plane) for plane in (grey, grey.T))
    strength = {period: min(first[period], second[period]) for period in first}
    if strength[3] > PERIODIC:
        return "3 or 1.5"
    # The seams of a JPEG have the period 8, and with it 4.
    if strength[4] > max(PERIODIC, 3 * strength[8]):
        return "4"
    return "2" if min(_alternation(plane) for plane in (grey, grey.T)) > ALTERNATING else None


def _alternation(plane: np.ndarray) -> float:
    """How much the third differences down the rows depend on whether they begin at an even row: a logarithm."""
    profile = np.abs(np.diff(plane, n=3, axis=0)).mean(axis=1)
    return abs(math.log((profile[::2].mean() + 1e-3) / (profile[1::2].mean() + 1e-3)))


def _periods(plane: np.ndarray) -> dict[int, float]:
    """How far some periods of the second difference down the rows stand out of all others."""
    profile = np.abs(np.diff(plane, n=2, axis=0)).mean(axis=1)
    smooth = np.convolve(profile, np.ones(9) / 9, "same")
    signal = (profile / (smooth + 1e-3) - 1)[8:-8]
    spectrum = np.abs(np.fft.rfft(signal * np.hanning(len(signal)), 2048))
    typical = np.median(spectrum) + 1e-6
    places = {period: round(2048 / period) for period in (3, 4, 8)}
    return {period: float(spectrum[place - 3 : place + 4].max() / typical) for period, place in places.items()}


def _repeats(plane: np.ndarray) -> int:
    """How often every row is repeated; 1 if they are not."""
    new = np.flatnonzero((np.abs(np.diff(plane, axis=0)) > 0.1).mean(axis=1) > 0.02)
    steps = np.diff(new)
    if len(steps) < 8 or steps.min() < 2 or steps.min() > 8 or (steps % steps.min()).any():
        return 1
    return int(steps.min())
