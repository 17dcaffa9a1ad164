"""Where the observation is flat, so is the answer.

A network that was trained on photos draws faint texture into a plane of one value: up to three grey levels of 255 at
the border, two thirds of one inside. In a screenshot, a drawing or the dark frame of an instrument nothing else is
there. Where all that a pixel can depend on has one value, nothing was measured that a network could sharpen, and the
plain enlargement is exact.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

FLAT = 0.25 / 255  # a neighbourhood whose values differ by less is flat; from twice that on it is not
FAINT = FLAT / 4  # from here on there may be something in it all the same: 16 counts of 65535


@dataclass(frozen=True)
class Flatness:
    """``share``: how flat a window is around each pixel, h×w float32 from 0 to 1; ``faint``: how many of its pixels
    count as flat although their neighbourhood is not of one value.
    """

    share: np.ndarray
    faint: int


def flatness(stored: np.ndarray, reach: int) -> Flatness | None:
    """How flat a window h×w×C of values in [0, 1] is; None if it is so nowhere.

    ``reach``: how many pixels away a value still counts.
    """
    steps = [np.abs(np.diff(stored, axis=axis)).max(axis=-1) < 2 * FLAT for axis in (0, 1)]
    if not all(step.any() for step in steps):  # most photos end here
        return None
    from scipy.ndimage import maximum_filter1d, minimum_filter1d, uniform_filter

    spread = np.zeros(stored.shape[:2], np.float32)
    for channel in np.moveaxis(stored, -1, 0):
        highest = lowest = np.asarray(channel, np.float32)
        for axis in (0, 1):
            highest = maximum_filter1d(highest, 2 * reach + 1, axis, mode="nearest")
            lowest = minimum_filter1d(lowest, 2 * reach + 1, axis, mode="nearest")
        np.maximum(spread, highest - lowest, out=spread)
    share = np.clip(2 - spread / FLAT, 0, 1)
    if not share.any():
        return None
    faint = int(((share > 0.5) & (spread > FAINT)).sum())
    # Its rim fades out inward: outside, the enlargement would be blurred.
    return Flatness(np.minimum(share, uniform_filter(share, 5, mode="nearest")), faint)


def flatten(restored: Tensor, window: Tensor, share: np.ndarray, scale: int) -> Tensor:
    """``restored`` 3×sh×sw, with the enlarged ``window`` 3×h×w where ``share`` h×w says that it is flat."""
    weight = torch.from_numpy(share)[None, None].to(restored)
    plain = window[None].to(restored)
    if scale > 1:
        weight, plain = (
            F.interpolate(part, scale_factor=scale, mode="bilinear", align_corners=False) for part in (weight, plain)
        )
    return restored.lerp(plain[0], weight[0])
