"""Blur and noise of a picture that comes without them.

masks → noise → tiles → spectra → network → a kernel that is placed for the scale.

What is not known is not invented: where a picture shows too little, the answer fades into the mild default that
suits clean photos, and says so. A blur that is taken too wide costs several times what one costs that is taken too
narrow (docs/estimate.md); the network answers with the mean of what is likely, which of wide blurs is narrower.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from usrnet import io as pictures
from usrnet import kernels
from usrnet.degradation import check_scale
from usrnet.errors import PictureError
from usrnet.estimate import covariance, masks
from usrnet.estimate.network import FAMILIES, Answer, predict
from usrnet.estimate.noise import BLOCK, LUMA, ROUNDING, Noise, measure, noise_of
from usrnet.estimate.spectrum import spectra_of
from usrnet.io import tiff
from usrnet.io.jpeg import Jpeg
from usrnet.restoration.light import Curve, Light, choose_curve
from usrnet.restoration.observation import DEFAULT_NOISE_LEVEL, DEFAULT_WIDTHS

if TYPE_CHECKING:
    from PIL.Image import Image

    from usrnet.restoration import Restorer

Shake = Literal["auto", "off", "try"]
"""Whether the kernel of camera shake is looked for: at ×1 where a picture looks shaken, never, or always."""

PART, PARTS = 512, 3  # of pictures above PARTS² parts, so many squares of this side in both directions are looked at
UNSURE = 0.4  # spread of the logarithm of the width at which the default counts as much as the picture
SHARP = 0.45  # pixels: at ×1 a blur below this is none
SAYS_LITTLE = "the picture says little about its blur: the widths are drawn towards the default ones"
ALREADY_SHARP = "already sharp: there is no blur to undo"
LOOKS_SHAKEN = "looks shaken: a Gaussian describes it badly"
MAY_BE_SHAKEN = "may be shaken, which a Gaussian describes badly: `--shake` looks for its kernel"
OF_A_GAUSSIAN = SAYS_LITTLE, ALREADY_SHARP, LOOKS_SHAKEN, MAY_BE_SHAKEN  # notes that a shake makes void
LEAST_NOISE = 1.0  # fed to the restoration: a wrong kernel does less harm, the right one loses 0.1 dB


@dataclass(frozen=True, eq=False)
class Estimate:
    """What an image says of its blur and noise.

    Attributes
    ----------
    scale : int
        The factor by which it is to be enlarged.
    kernel : ndarray, kh×kw
        Placed for ``scale``: what :func:`usrnet.restore` takes.
    text : str or None
        The same as ``--kernel`` takes it, if there is a text for it.
    noise_level : float
        On the 0–255 scale.
    widths : tuple of float
        Standard deviations along the longer and the shorter axis, in high-resolution pixels.
    degrees : float
        Angle of the longer axis to the horizontal, clockwise as seen on the screen.
    confidence : float
        0 (nothing could be seen, these are the defaults) to 1.
    notes : list of str
        Sentences.
    regions : ndarray, N×3
        For every tile top, left and width (the geometric mean of the two).
    noise : Noise or None
        How the noise was measured.
    noise_notes : list of str
        Those of the notes that concern the noise.

    Examples
    --------
    >>> import numpy as np
    >>> import usrnet
    >>> guess = usrnet.estimate(np.zeros((64, 64, 3), np.uint8), scale=2)
    >>> guess.confidence, guess.kernel.shape
    (0.0, (25, 25))
    """

    scale: int
    kernel: np.ndarray
    text: str | None
    noise_level: float
    widths: tuple[float, float]
    degrees: float
    confidence: float
    notes: list[str] = field(default_factory=list)
    regions: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    noise: Noise | None = None
    noise_notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        major, minor = self.widths
        kind = "shake" if self.text is None else "blur"
        blur = "no blur" if self.text == "delta" else f"{kind} {major:.2f}"
        if self.text != "delta" and major > 1.05 * minor:
            blur += f"×{minor:.2f} pixels at {self.degrees:.0f}°"
        elif self.text != "delta":
            blur += " pixels"
        sentences = [f"{blur}, noise {self.noise_level:.1f}, confidence {self.confidence:.2f}", *self.notes]
        return "; ".join(sentences)

    def of_noise(self) -> str:
        """The noise alone, where the kernel was known."""
        return "; ".join([f"noise {self.noise_level:.1f}", *self.noise_notes])

    def record(self) -> dict[str, Any]:
        """What ``usrnet estimate --json`` says, without the input."""
        return {
            "scale": self.scale,
            "kernel": self.text,
            "noise_level": round(self.noise_level, 2),
            "widths": [round(width, 3) for width in self.widths],
            "degrees": round(self.degrees, 1),
            "confidence": round(self.confidence, 2),
            "notes": self.notes,
        }


def estimate(
    image: "np.ndarray | Image",
    *,
    scale: int = 2,
    jpeg: Jpeg | None = None,
    light: Light = "auto",
    shake: Shake = "auto",
    restorer: "Restorer | None" = None,
) -> Estimate:
    """The blur kernel and the noise level of an image.

    Never fails for what the image shows: a black one gets the defaults, confidence 0 and a sentence.

    Parameters
    ----------
    image : PIL.Image.Image or ndarray, H×W, H×W×3 or H×W×4
        Uint8, uint16 or float in [0,1].
    scale : int
        The factor by which it is to be enlarged; the kernel is in pixels of the result.
    jpeg : Jpeg, optional
        The steps of the JPEG file that the image comes from; a PIL image that was opened from one has them.
    light : {"auto", "linear", "stored"}
        In what the blur is looked for, as ``restore`` takes it: the light of images that a camera took, the stored
        values of others.
    shake : {"auto", "off", "try"}
        Whether the kernel of camera shake is looked for, which takes some seconds: at ×1 where the image looks
        shaken, never, or always.
    restorer : Restorer, optional
        What ``shake`` restores with; ``default`` if None.

    Returns
    -------
    Estimate
        The kernel, placed for the scale, the noise level, and how sure that is.

    Raises
    ------
    UsrnetError
        It is no image, or the scale is another.

    Examples
    --------
    >>> import numpy as np
    >>> import usrnet
    >>> guess = usrnet.estimate(np.zeros((64, 64, 3), np.uint8), scale=2)
    >>> len(guess.notes) > 0
    True
    """
    scale = check_scale(scale)
    source = pictures.from_any(image)
    pixels, curve = source.plain(), choose_curve(light, **source.metadata.storage)
    jpeg = jpeg or source.metadata.jpeg
    return estimate_parts(parts_of(pixels), scale=scale, jpeg=jpeg, curve=curve, shake=shake, restorer=restorer)


def estimate_file(path: Path, *, scale: int = 2, light: Light = "auto", shake: Shake = "auto") -> Estimate:
    """The blur kernel and the noise level of a picture file; of a large TIFF only parts are read.

    ``light`` and ``shake`` as for :func:`estimate`. Raises ``PictureError`` when the file cannot be read.
    """
    scale = check_scale(scale)
    if path.suffix.lower() in (".tif", ".tiff"):
        try:
            with tiff.TiffFile(path) as file:
                rows = file.rows()
                usual = rows.dtype in (np.uint8, np.uint16) and rows.declared is None and not rows.extra
                if rows.by_rows and usual and rows.missing is None:
                    curve = choose_curve(light, **rows.metadata().storage)
                    return estimate_parts(parts_of(rows), scale=scale, curve=curve, shake=shake)
        except PictureError:
            pass  # the other reader knows more kinds, and says what is wrong
    picture = pictures.read(path)
    curve = choose_curve(light, **picture.metadata.storage)
    return estimate_parts(parts_of(picture.pixels), scale=scale, jpeg=picture.metadata.jpeg, curve=curve, shake=shake)


def parts_of(pixels: Any) -> list[np.ndarray]:
    """What is looked at: the picture, or of a large one nine squares, evenly spread.

    ``pixels``: an array, or anything with a ``shape`` of which rows can be read.
    """
    height, width = pixels.shape[:2]
    if height * width <= (PARTS * PART) ** 2:
        return [pixels[:height]]
    tops, lefts = ([round((i + 0.5) * n / PARTS - PART / 2) for i in range(PARTS)] for n in (height, width))
    parts = []
    for top in sorted({max(0, top) // BLOCK * BLOCK for top in tops}):
        band = pixels[top : min(top + PART, height)]
        parts += [band[:, left : left + PART].copy() for left in sorted({max(0, n) // BLOCK * BLOCK for n in lefts})]
    return parts


def estimate_parts(
    parts: Sequence[np.ndarray],
    *,
    scale: int,
    jpeg: Jpeg | None = None,
    curve: Curve | None = None,
    shake: Shake = "off",
    restorer: "Restorer | None" = None,
    watch: Callable[[], object] | None = None,
) -> Estimate:
    """The estimate from parts of one picture, arrays of one kind.

    ``curve``: how light is stored, where the blur wanted is that of light. The noise is that of the stored values.
    ``shake`` and ``restorer`` as for :func:`estimate`. ``watch`` is called before every restoration of the search for
    a shake; what it raises ends the search.
    """
    found = _gaussian(parts, scale=scale, jpeg=jpeg, curve=curve)
    if shake == "try" or (shake == "auto" and scale == 1 and LOOKS_SHAKEN in found.notes):
        return shaken(found, parts, restorer, curve=curve, watch=watch)
    return found


def _gaussian(parts: Sequence[np.ndarray], *, scale: int, jpeg: Jpeg | None, curve: Curve | None) -> Estimate:
    """Noise, and a blur like a Gaussian."""
    views, gain = _views(parts)
    if not views:
        notes = ["nothing to be seen: the picture is of one colour, or smaller than 8×8 pixels"]
        return replace(defaults(scale, notes), noise_notes=notes)
    notes = [] if gain == 1 else [f"only the darkest {100 / gain:.2g} % of the range are used"]
    noise, traces = _noise(views, jpeg, _rounding(parts[0].dtype, gain))
    notes += traces
    if not noise.certain:
        notes.append("hardly a place without clipped pixels: the noise is a guess")
    drawn = float(np.mean([masks.drawn(view.grey) for view in views]))
    if drawn > 0.25:
        notes.append("drawn rather than photographed (large areas of one colour): blur and noise are a guess")
    noise_notes = list(notes)
    factor = masks.enlarged(max(views, key=lambda view: view.grey.size).grey)
    if factor:
        notes.append(f"looks enlarged by {factor}: shrink it by that first, there is nothing between its pixels")

    peculiar = drawn > 0.25 or factor is not None  # with spectra like those of nothing else
    step = 0.0 if jpeg is None else float(np.mean(jpeg.tables[0]))
    spectra, told, places = _tiles(views, curve)
    level = noise.level / gain
    if not len(spectra):
        notes.append("too little structure to see a blur: the default widths are used")
        return replace(defaults(scale, notes), noise_level=level, noise=noise, noise_notes=noise_notes)
    fused = fuse(predict(spectra, scale=scale, noise_level=told, step=step), scale)
    single = predict(spectra, scale=scale, noise_level=told, step=step, each=True)
    width_of_tiles = scale * np.sqrt(np.exp(single.mean[:, 0].numpy()))
    notes += _varying(single, width_of_tiles)
    certain = 0.5 if peculiar else 0.8 if noise.jpeg else 1.0
    confidence = fused.confidence * certain * (1.0 if noise.certain else 0.7)
    if confidence < 0.5:
        notes.append(SAYS_LITTLE)
    regions = np.column_stack([places, width_of_tiles])
    answer = _answer(fused, scale, level, confidence, notes, regions, noise)
    answer = replace(answer, noise_notes=noise_notes)
    if fused.family == "motion" and answer.text != "delta" and not peculiar:
        return replace(answer, notes=[*answer.notes, LOOKS_SHAKEN], confidence=0.5 * answer.confidence)
    if scale > 1 and not peculiar:  # a shake is more easily seen as it lies on the grid of the picture
        as_it_is = fuse(predict(spectra, scale=1, noise_level=told, step=step), 1)
        if as_it_is.family == "motion":
            return replace(answer, notes=[*answer.notes, MAY_BE_SHAKEN])
    return answer


@dataclass(frozen=True)
class View:
    """A part without its frame: ``colour`` H×W×{1,3} and ``grey`` H×W on the 0–255 scale, and what may be used.

    With a gain, 255 is what became white by it.
    """

    colour: np.ndarray
    grey: np.ndarray
    usable: np.ndarray
    corner: tuple[int, int]

    @classmethod
    def of(cls, part: np.ndarray, gain: float = 1.0) -> "View | None":
        """None where nothing is left of it."""
        planes = pictures.split(part)
        colour = planes.colour.clip(0, 1) * np.float32(255 * gain)
        if colour.shape[-1] == 3 and (colour[..., :1] == colour).all():
            colour = colour[..., :1]
        grey = colour[..., 0] if colour.shape[-1] == 1 else colour @ LUMA.astype(np.float32)
        if part.dtype == np.uint8 and colour.shape[-1] == 1:
            grey = grey.round()
        # By half of what is most: a picture that lets its ground shine through everywhere shows all it has.
        visible = None if planes.alpha is None else planes.alpha > planes.alpha.max() / 2
        rows, columns = masks.inside(grey, visible)
        if min(rows.stop - rows.start, columns.stop - columns.start) < BLOCK:
            return None
        colour, grey = colour[rows, columns], grey[rows, columns]
        usable = ~masks.clipped(colour)
        if visible is not None:
            usable &= visible[rows, columns]
        return cls(colour, np.ascontiguousarray(grey), usable, (rows.start, columns.start))


def _views(parts: Sequence[np.ndarray]) -> tuple[list[View], float]:
    """What can be seen of parts of one picture, and the gain by which dark ones were made bright.

    A sensor with 12 bits in a file of 16: spectra know no zero, but they know what is small, and so do the masks.
    """

    def seen(gain: float) -> list[View]:
        return [view for part in parts if (view := View.of(part, gain)) is not None]

    if parts[0].dtype == np.uint8:
        return seen(1.0), 1.0
    gain = _gain([pictures.split(part).colour * np.float32(255) for part in parts])
    views = seen(gain)
    more = _gain([view.colour for view in views])  # a frame may be brighter than the picture
    return (views, gain) if more == 1 else (seen(gain * more), gain * more)


def _gain(colours: Sequence[np.ndarray]) -> float:
    """What makes the brightest pixels white, or 1 where they are bright enough; arrays H×W×C."""
    brightest = max((float(np.percentile(colour.max(axis=-1), 99.9)) for colour in colours), default=0.0)
    return 255 / brightest if 1e-15 < brightest < 100 else 1.0  # float32 has no room for more than two such gains


def _rounding(dtype: np.dtype[Any], gain: float) -> float:
    """The variance that whole numbers add to what a view holds."""
    return ROUNDING * (255 * gain / np.iinfo(dtype).max) ** 2 if dtype.kind == "u" else 0.0


def _noise(views: Sequence[View], jpeg: Jpeg | None, rounding: float) -> tuple[Noise, list[str]]:
    """The noise of the part in the middle of all, and what is to be said of compression."""
    notes: list[str] = []
    if jpeg is None:
        former = masks.former_jpeg(max(views, key=lambda view: view.grey.size).grey)
        if former is not None:
            quality, table = former
            jpeg = Jpeg((table,), subsampled=True)
            notes.append(f"it was a JPEG of about quality {quality} before: the noise is a guess")
    elif masks.quality_of(jpeg.tables[0]) < 92:
        notes.append("JPEG compression hides the noise: its errors are counted in")
    tables = () if jpeg is None else jpeg.tables
    if len(tables) == 1 and views[0].colour.shape[-1] == 3:  # chroma is coarser, and its table is not known
        tables = (tables[0], np.minimum(tables[0] * 1.5, 255))
    found = [
        measure(view.colour, rounding=rounding, tables=tables, subsampled=jpeg is not None and jpeg.subsampled)
        for view in views
    ]
    return sorted(found, key=lambda noise: noise.level)[len(found) // 2], notes


def _tiles(views: Sequence[View], curve: Curve | None) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """The best tiles of all parts: power spectra N×31×16, their noise N, and where they lie, N×2 in their part."""
    spectra, told, places = [torch.zeros(0, 31, 16)], [torch.zeros(0)], [np.zeros((0, 2), int)]
    for view in views:
        level = noise_of(view.grey)
        tiles = masks.choose_tiles(view.grey, noise_level=level, usable=view.usable)
        corners = tiles.corners[: -(-masks.MOST_TILES // len(views))]
        if len(corners):
            seen = spectra_of(view.grey, replace(tiles, corners=corners), level, curve)
            spectra.append(seen[0])
            told.append(seen[1])
            places.append(corners + np.array(view.corner))
    return torch.cat(spectra), torch.cat(told), np.concatenate(places)


@dataclass(frozen=True)
class Fused:
    """One blur: ``mean`` of log Σ in low-resolution pixels, 3 numbers, its family, and how sure that is, 0 to 1."""

    mean: np.ndarray
    family: str
    confidence: float


def fuse(found: Answer, scale: int) -> Fused:
    """What a picture says, fading into the default width where it says little.

    The network has seen how wide blurs are and is drawn to the usual ones by itself; only where the width is unsure
    by nearly a half is the mild default better. The share is smooth and falls fast: ``1 / (1 + (spread / UNSURE)⁴)``.
    """
    mean, variance = found.mean[0].double().numpy(), found.variance[0].double().numpy()
    default = math.log((DEFAULT_WIDTHS[scale] / scale) ** 2 + covariance.FLOOR)
    spread = math.sqrt(variance[0]) / 2  # of the logarithm of the width
    share = 1 / (1 + (spread / UNSURE) ** 4)
    certain = math.exp(-0.5 * (spread / 0.2) ** 2)
    return Fused(
        share * mean + (1 - share) * np.array([default, 0, 0]),
        FAMILIES[int(found.family[0].argmax())],
        certain,
    )


def _varying(found: Answer, widths: np.ndarray) -> list[str]:
    """A sentence where tiles differ by more than their spreads."""
    if len(widths) < 8:
        return []
    u, spread = found.mean[:, 0].numpy(), found.variance[:, 0].sqrt().numpy()
    off = np.abs(u - np.median(u)) > 2 * spread
    low, high = np.quantile(widths, (0.1, 0.9))
    if off.mean() < 0.4 or high < 1.6 * low:
        return []
    return [f"the blur varies over the picture, widths from {low:.1f} to {high:.1f} pixels: the middle is used"]


def _answer(
    fused: Fused, scale: int, level: float, confidence: float, notes: list[str], regions: np.ndarray, noise: Noise
) -> Estimate:
    found = covariance.exponential(torch.from_numpy(fused.mean)[None])[0].numpy() * scale**2
    major, minor, degrees = covariance.axes(found)
    if scale == 1 and math.sqrt(major * minor) < SHARP:
        notes = [*notes, ALREADY_SHARP]
        return Estimate(
            scale, kernels.delta(), "delta", level, (major, minor), 0.0, confidence, notes, regions, noise
        )
    text = covariance.text_of(found, scale=scale)
    if scale > 1 and fused.family == "shrunk" and abs(math.log(major * minor / _width_of_bicubic(scale) ** 2)) < 0.6:
        text = "bicubic"
        notes = [*notes, "shrunk by a program, it seems (bicubic)"]
    return Estimate(
        scale, kernels.parse(text, scale), text, level, (major, minor), degrees, confidence, notes, regions, noise
    )


def shaken(
    gaussian: Estimate,
    parts: Sequence[np.ndarray],
    restorer: "Restorer | None" = None,
    *,
    curve: Curve | None = None,
    watch: Callable[[], object] | None = None,
) -> Estimate:
    """With the kernel of camera shake in place of a Gaussian, if one is found; else the same with a sentence.

    It is looked for in the part with the most structure, at ×1; for other scales it is enlarged, and placed.
    ``curve``: how the picture stores light, if the blur is that of light.
    """
    from usrnet.estimate import shake
    from usrnet.restoration import Restorer

    views, gain = _views(parts)
    view = max(views, key=lambda view: np.abs(np.diff(view.grey, axis=0)).sum(), default=None)
    if view is None:  # nothing to be seen, as was said
        return gaussian
    if min(view.grey.shape) < shake.SMALLEST:
        note = f"too small to look for shake: it takes {shake.SMALLEST}×{shake.SMALLEST} pixels"
        return replace(gaussian, notes=[*gaussian.notes, note])
    restore = shake.restoring(restorer or Restorer("default", tile="off"), watch)
    seen, level = (view.colour / 255.0).clip(0, 1), gaussian.noise_level * gain
    if curve is not None:
        level *= float(np.sqrt(np.square(curve.slope(seen)).mean()))
        seen = curve.decode(seen)
    found = shake.find(seen, noise_level=level, restore=restore)
    if not found.accepted:
        return replace(gaussian, notes=[*gaussian.notes, f"no shake that is sure: {found.reason}"])
    scale, taps = gaussian.scale, found.kernel
    if scale > 1:
        taps = kernels.align(shake.enlarged(taps, scale, scale * len(taps) | 1), scale)
    major, minor, degrees = covariance.axes(covariance.moments(taps))
    return replace(
        gaussian,
        kernel=taps,
        text=None,
        widths=(major, minor),
        degrees=degrees,
        confidence=max(0.0, min(1.0, found.agreement)),
        notes=[
            *(note for note in gaussian.notes if note not in OF_A_GAUSSIAN),
            "camera shake: the kernel has no formula",
        ],
    )


def _width_of_bicubic(scale: int) -> float:
    return math.sqrt(covariance.matching_variance(kernels.bicubic(scale)))


def defaults(scale: int, notes: list[str]) -> Estimate:
    """What is assumed of a picture that says nothing."""
    width = DEFAULT_WIDTHS[scale]
    text = f"gaussian:{width:g}"
    return Estimate(scale, kernels.parse(text, scale), text, DEFAULT_NOISE_LEVEL, (width, width), 0.0, 0.0, notes)


def noise_to_feed(level: float) -> float:
    """The noise level to restore with: an estimated kernel is never quite right, and a little more forgives it."""
    return max(level, LEAST_NOISE)
