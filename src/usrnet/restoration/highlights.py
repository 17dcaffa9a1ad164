"""Clipped highlights: lamps, stars and glints are taken out of the observation, and put back into the result.

A clipped pixel says only "at least white". Taken for a measurement, it contradicts the blur of a lamp that is twenty
times white, and deconvolution spreads the contradiction as rings over the whole picture. So first the bright sources
are found by Richardson-Lucy, ``r ← r · Aᵀ(w v) / Aᵀw`` with A = ↓s ∘ (⊗k), in which a pixel that was measured votes
``v = y / A r`` with the weight 1; a clipped one votes only for more, ``v = max(1, y / A r)``, and what lies beyond
the border not at all, ``v = 1``, both with a small weight (it keeps ``r`` where nobody else votes). Its estimate is
noisy, but the noise is small beside a lamp. The sources S(r) are what is brighter than white in it: the network
restores ``y − A S``, where clipped pixels hold what is predicted, and S is added again. The network never sees values
above white.

White paper and flat skies are at the limit too, and nothing is behind them. So the search is made twice at first,
once with nothing above white allowed; unless that leaves much more of the neighbourhood unexplained, all stays as it
is.
"""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from usrnet.degradation import Degradation
from usrnet.errors import UsrnetWarning
from usrnet.restoration.borders import extend

AUTO_LEVEL = 253 / 255  # from here on a stored value may be a clipped one with noise, or after JPEG
FEWEST = 8  # clipped pixels; fewer are left alone
ITERATIONS = 60
LOOK = 13  # after so many of them it is decided whether there is anything brighter than white
LEAST_ERROR = 1.5 / 255  # what noise alone may leave unexplained
EXPLAINED = 0.6  # of the error that white leaves, bright sources must leave less than this share
NEAR = 0.02  # how much of its light a pixel must share with clipped ones to be asked
DOUBT = 0.05  # the weight of a vote that rests on nothing measured
WHOLE = 2.0  # times white: from here on all of a source is taken out, from white on a part of it
BRIGHTEST = 100.0
NOTED_FAINT = 0.1  # of a picture that is too faint to be restored


@dataclass(frozen=True)
class Highlights:
    """``rest``: the observation without the sources, N×C×h×w; ``sources``: their light, N×C×sh×sw."""

    rest: Tensor
    sources: Tensor


@dataclass
class Brightness:
    """What was found in the windows of a picture: pixels that are clipped, windows with sources, and the time; and
    how many pixels of those ``seen`` are too ``faint`` to be restored, see ``flat.py``.
    """

    pixels: int = 0
    windows: int = 0
    seconds: float = 0.0
    faint: int = 0
    seen: int = 0

    def add(self, found: Highlights | None, pixels: int, seconds: float) -> None:
        self.seconds += seconds
        if found is not None:
            self.pixels += pixels
            self.windows += 1

    def note(self, name: str) -> None:
        """Say what was done to the picture ``name``, if anything was."""
        if self.windows:
            text = (
                f"{name}: about {self.pixels} pixels are clipped: what is brighter than white was restored apart, in "
                f"{self.seconds:.1f} s (--saturation off leaves that out)"
            )
            warnings.warn(text, UsrnetWarning, stacklevel=3)
        if self.seen and self.faint > NOTED_FAINT * self.seen:
            text = (
                f"{name}: {self.faint / self.seen:.0%} of it varies by less than a quarter of a grey level of 255 "
                "and is enlarged only: --white VALUE says what full scale is"
            )
            warnings.warn(text, UsrnetWarning, stacklevel=3)


def take_out(y: Tensor, clipped: Tensor, kernel: Tensor, scale: int, *, height: int, width: int) -> Highlights | None:
    """Find the bright sources behind clipped pixels; None where white explains what was measured around them.

    ``y``: N×C×h×w light, white is 1; ``clipped``: N×C×h×w bool; ``kernel``: N×{1,C}×kh×kw. ``height`` and ``width``:
    the low-resolution grid on which the blur wraps, larger than the picture by the kernel's reach.
    """
    if int(clipped.any(dim=1).sum()) < FEWEST:
        return None
    h, w = y.shape[-2:]
    search = _Search(y, clipped, kernel, scale, height, width)
    bright = search.run(search.start, LOOK, brightest=BRIGHTEST)
    white = search.run(search.start.clamp_max(1), LOOK, brightest=1)
    error = search.error(white)
    if error < LEAST_ERROR or search.error(bright) > EXPLAINED * error:
        return None
    r = search.run(bright, ITERATIONS - LOOK, brightest=BRIGHTEST)
    # All colours of a lamp go together, or what remains of it is coloured; and step by step, not from one pixel to
    # the next, or the edge of a blown window frays.
    share = (r.amax(dim=1, keepdim=True) - 1) / (WHOLE - 1)
    sources = r * share.clamp(0, 1)
    predicted, taken = (search.blur(part)[..., :h, :w] for part in (r, sources))
    rest = torch.where(clipped, predicted.maximum(y), y) - taken
    return Highlights(rest, sources[..., : scale * h, : scale * w])


class _Search:
    """Richardson-Lucy in which every pixel votes by what it knows."""

    def __init__(self, y: Tensor, clipped: Tensor, kernel: Tensor, scale: int, height: int, width: int) -> None:
        h, w = y.shape[-2:]
        self.blur = Degradation(kernel, scale, scale * height, scale * width)
        self.observed = extend(y, height, width).clamp_min(1e-3)
        self.measured = torch.zeros_like(self.observed, dtype=torch.bool)
        self.measured[..., :h, :w] = ~clipped
        self.at_least = torch.zeros_like(self.measured)
        self.at_least[..., :h, :w] = clipped
        self.weight = torch.where(self.measured, 1.0, DOUBT)
        self.total = self.blur.adjoint(self.weight).clamp_min(1e-3 * DOUBT)
        self.start = self.observed.repeat_interleave(scale, dim=-2).repeat_interleave(scale, dim=-1)

    def run(self, r: Tensor, iterations: int, *, brightest: float) -> Tensor:
        for _ in range(iterations):
            vote = self.observed / self.blur(r).clamp_min(1e-4)
            vote = torch.where(self.measured, vote, torch.where(self.at_least, vote.clamp_min(1), 1.0))
            r = (r * self.blur.adjoint(self.weight * vote) / self.total).clamp(0, brightest)
        return r

    def error(self, r: Tensor) -> float:
        """How far the blur of ``r`` is from what was measured near clipped pixels, root mean square."""
        near = self.measured & (self.blur(self.blur.adjoint(self.at_least.to(r.dtype))) > NEAR)
        return float((self.blur(r) - self.observed)[near].square().mean().sqrt()) if bool(near.any()) else 0.0
