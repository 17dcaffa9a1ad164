"""Camera shake: a kernel without a formula, by restoring and explaining in turns.

    x ← restored(y, k, σ_i),   k ← argmin_k Σ ‖∇x ⊗ k − ∇y‖² + γ ‖∇k‖²,  k ≥ 0, Σ k = 1,

with σ_i falling from 20 grey levels to the noise: at first only strong edges survive, which is what lets a kernel
be seen. From the true kernel these turns stay where they are; a wrong start stays wrong, and explains the picture it
comes from as well as the right one does. So there are several starts, of three kinds:

* the same turns from coarse to fine, beginning with a short line across and with one down;
* a pyramid that keeps the gradients of x sparse (L. Xu, S. Zheng, J. Jia, "Unnatural L0 sparse representation for
  natural image deblurring", CVPR 2013; weights as in J. Anger, G. Facciolo, M. Delbracio, "Blind image deblurring
  using the l0 gradient prior", IPOL 9, 2019), with two weights;
* the power spectrum: that of a scene is nearly that of all scenes, what is left is |OTF|² (A. Goldstein, R. Fattal,
  "Blur-kernel estimation from spectral irregularities", ECCV 2012), whose phase is found by its being a kernel (J. R.
  Fienup, "Phase retrieval algorithms: a comparison", Applied Optics 21, 1982).

Which one is right is told by ``‖∇x‖₁ / ‖∇x‖₂`` of what is restored, smaller for a sharp picture (D. Krishnan, T. Tay,
R. Fergus, "Blind deconvolution using a normalized sparsity measure", CVPR 2011): of 24 shaken photos it was smaller
with the true kernel than with what the turns had found in 23; what was left unexplained was smaller in 7.

The shake was one for all of the picture: from the start that is chosen the two halves go on by themselves, and an
answer is accepted only if they still say the same (the more so where it is spread thin, or the restored picture is
hardly sharper or rings a bit), if what it cannot explain is no more than the noise, if it is a blur at all, and if
the restored picture does not swing beyond black and white.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, ndimage

if TYPE_CHECKING:
    from usrnet.restoration import Restorer

SIDE = 31  # of the kernel
CROP = 192  # side of what is looked at of either half …
SMALLEST = 128  # … and of the smallest picture with which it is tried
START = 256  # side of the square that the starts come from: a half shows too little for them
WEIGHTS = (0.04, 0.1)  # of the sparsity of the pyramid
COARSER = 1.6  # from one scale to the next …
COARSE = (20.0, 14.0)  # … and σ fed to the restoration in turns at each
TRIAL = (20.0, 14.0, 10.0)  # σ fed to the restoration in turns: from every start …
KEPT = 3  # … of which so many go on after the first,
FINISH = (10.0, 10.0, 7.0)  # and from the best ones: nearer to the noise they fit it
FINISHED = 2
STRIDE = 2.0  # how far a turn follows what it finds: the way is long and nearly straight
SWINGS = 0.1  # what a grey level beyond black and white counts beside ‖∇x‖₁ / ‖∇x‖₂
MEET = 0.6  # correlation of the kernels of the two halves …
MEET_CLOSER = 0.95  # … and where the kernel is doubtful: spread thin, or the result hardly sharper or ringing a bit
SHARP = 0.25  # sum of the squares of a kernel that hardly blurs
UNEXPLAINED = 1.25  # standard deviations of the noise
THIN = 0.012  # sum of the squares of a kernel that is spread thin
SHARPER = 0.96  # ‖∇x‖₁ / ‖∇x‖₂ after and before
SWING = 0.35  # grey levels beyond black and white, in the mean: it rings …
FAINT_SWING = 0.15  # … or rings a bit

NO_BLUR = np.ones((1, 1))

Restore = Callable[[np.ndarray, np.ndarray, float], np.ndarray]
"""Picture H×W×C in [0,1], kernel, noise level on the 0–255 scale → restored picture, not clipped."""


def restoring(restorer: "Restorer", watch: Callable[[], object] | None = None) -> Restore:
    """The restoration that the turns are taken with; ``watch`` is called before each."""
    from usrnet.restoration import observe

    def restore(picture: np.ndarray, kernel: np.ndarray, noise_level: float) -> np.ndarray:
        if watch:
            watch()
        observation = observe(scale=1, kernel=kernel, noise_level=noise_level, saturation="off")
        *_, (_, restored) = restorer.iterations(picture.astype(np.float32), observation)
        return restored[..., : picture.shape[2]].astype(np.float64)

    return restore


@dataclass(frozen=True, eq=False)
class Shake:
    """``kernel``: 31×31, centred on its centre of mass; whether it is ``accepted``, and a sentence why not."""

    kernel: np.ndarray
    accepted: bool
    reason: str
    residual: float
    swing: float
    agreement: float


def find(colour: np.ndarray, *, noise_level: float, restore: Restore) -> Shake:
    """The kernel of a shaken picture H×W×C in [0,1], at least ``SMALLEST`` pixels high and wide."""
    sigma = max(noise_level, 1.0)
    whole = _busiest(colour, START)
    tried = [(0.0, kernel) for kernel in starts(colour, whole, sigma=sigma, restore=restore)]
    for turn, level in enumerate(TRIAL):
        turned = [_turned([whole], kernel, max(level, sigma), restore) for _, kernel in tried]
        tried = [(_doubt(restored), kernel) for kernel, restored in turned]
        if turn == 0:
            tried = sorted(tried, key=itemgetter(0))[:KEPT]
    parts = halves(colour)
    found = []
    for _, start in sorted(tried, key=itemgetter(0))[:FINISHED]:
        kernel = start
        for level in FINISH:
            kernel, _ = _turned(parts, kernel, max(level, sigma), restore)
        restored = [restore(part, kernel, sigma) for part in parts]
        found.append((_doubt(restored), start, kernel, restored))
    _, start, kernel, restored = min(found, key=itemgetter(0))
    alone = [_turned([part], start, max(TRIAL[-1], sigma), restore)[0] for part in parts]
    agreement = correlation(alone[0], alone[-1])
    residual = float(np.mean([_unexplained(y, x, kernel) for y, x in zip(parts, restored, strict=True)]))
    swing = float(np.mean([_beyond(x) for x in restored]))
    reason = ""

    def doubtful() -> bool:
        if swing > FAINT_SWING or _square_sum(kernel) < THIN:
            return True
        as_it_was = [restore(part, NO_BLUR, sigma) for part in parts]
        return _mean_sparsity(restored) > SHARPER * _mean_sparsity(as_it_was)

    if agreement < MEET or (agreement < MEET_CLOSER and doubtful()):
        reason = "its two halves say different things"
    elif _square_sum(kernel) > SHARP:
        reason = "what was found is hardly a blur"
    elif residual > UNEXPLAINED * sigma + 0.5:
        reason = "no kernel explains it"
    elif swing > SWING:
        reason = "what comes out rings"
    return Shake(kernel, not reason, reason, residual, swing, agreement)


def _turned(
    parts: Sequence[np.ndarray], kernel: np.ndarray, level: float, restore: Restore
) -> tuple[np.ndarray, list[np.ndarray]]:
    """One turn: parts of the picture restored, and the kernel that explains all of them by that."""
    restored = [restore(part, kernel, level) for part in parts]
    found = kernel_step(restored, parts, side=len(kernel))
    return _made_a_kernel(kernel + STRIDE * (found - kernel), least=0.02, speck=0.05), restored


def _made_a_kernel(taps: np.ndarray, *, least: float, speck: float) -> np.ndarray:
    """Without what is negative or less than a share of the largest tap, without specks, centred, of sum one."""
    kernel = np.maximum(taps, 0)
    kernel[kernel < least * kernel.max()] = 0
    if kernel.sum() <= 0:
        kernel[len(kernel) // 2, len(kernel) // 2] = 1
    return _tidy(kernel / kernel.sum(), speck)


def _doubt(restored: Sequence[np.ndarray]) -> float:
    """What speaks against the kernel that parts of a picture were restored with."""
    return float(np.mean([sparsity(x) + SWINGS * _beyond(x) for x in restored]))


def _square_sum(kernel: np.ndarray) -> float:
    return float(np.square(kernel).sum())


def _mean_sparsity(pictures: Sequence[np.ndarray]) -> float:
    return float(np.mean([sparsity(picture) for picture in pictures]))


def sparsity(picture: np.ndarray) -> float:
    """``‖∇x‖₁ / ‖∇x‖₂`` of the grey picture inside the border, in the mean: 1 for one slope, near 0 for few edges."""
    grey = picture.mean(axis=2)[8:-8, 8:-8]
    steps = np.concatenate([np.diff(grey, axis=axis).ravel() for axis in (0, 1)])
    return float(np.abs(steps).mean() / max(np.sqrt(np.square(steps).mean()), 1e-9))


def starts(colour: np.ndarray, whole: np.ndarray, *, sigma: float, restore: Restore) -> list[np.ndarray]:
    """First kernels of a picture H×W×C, of which ``whole`` is a part; σ on the 0–255 scale."""
    return [
        *(coarse_to_fine(whole, restore=restore, down=down) for down in (False, True)),
        *(pyramid(whole.mean(axis=2), sigma / 255, weight=weight) for weight in WEIGHTS),
        *of_spectrum(colour.mean(axis=2), sigma / 255),
    ]


def coarse_to_fine(whole: np.ndarray, *, restore: Restore, down: bool, side: int = SIDE) -> np.ndarray:
    """A first kernel side×side, by turns at all coarser scales; they begin with a line of three pixels."""
    pictures, sides = [whole], [side]
    while sides[-1] > 5:
        smooth = ndimage.gaussian_filter(pictures[-1], (0.7, 0.7, 0), mode="nearest")
        coarser = np.asarray(
            ndimage.zoom(smooth, (1 / COARSER, 1 / COARSER, 1), order=1, grid_mode=True, mode="nearest")
        )
        pictures.append(coarser)
        sides.append(max(3, int(sides[-1] / COARSER) | 1))
    kernel = np.zeros((sides[-1],) * 2)
    kernel[sides[-1] // 2, sides[-1] // 2 - 1 : sides[-1] // 2 + 2] = 1 / 3
    if down:
        kernel = kernel.T
    for picture, wider in zip(pictures[:0:-1], sides[-2::-1], strict=True):
        height, width = (length // 8 * 8 for length in picture.shape[:2])
        for level in COARSE:
            kernel, _ = _turned([picture[:height, :width]], kernel, level, restore)
        kernel = enlarged(kernel, COARSER, wider)
    return kernel


def enlarged(kernel: np.ndarray, factor: float, side: int) -> np.ndarray:
    """A kernel stretched about its centre into a window side×side."""
    offset = len(kernel) // 2 - (side // 2) / factor
    made = ndimage.affine_transform(kernel, np.eye(2) / factor, offset=offset, output_shape=(side, side), order=1)
    return _tidy(made / made.sum(), 0)


def of_spectrum(
    grey: np.ndarray, sigma: float, *, side: int = SIDE, tile: int = 128, count: int = 2
) -> list[np.ndarray]:
    """``count`` first kernels side×side of a picture H×W in [0,1] whose noise is σ, and each turned by half a turn.

    The spectrum does not tell a kernel from its mirror image through the centre.
    """
    tile = min(tile, *(length // 2 * 2 for length in grey.shape))
    window = np.outer(*(np.hanning(tile + 2)[1:-1],) * 2)
    window /= np.sqrt(np.square(window).sum())
    places = [range(0, length - tile + 1, tile // 2) for length in grey.shape]
    parts = [grey[y : y + tile, x : x + tile] for y, x in product(*places)]
    power = np.mean([np.abs(np.fft.fft2((part - part.mean()) * window)) ** 2 for part in parts], axis=0)
    f = 2 * np.cos(2 * np.pi * np.fft.fftfreq(tile))
    whiten = 4 - f[:, None] - f  # scenes fall with 1/f²
    seen = np.maximum(power - sigma**2, 0)
    seen = seen**2 / (seen + 2 * sigma**2 + 1e-12) * whiten
    middle, reach = tile // 2, min(side, tile // 2) - 1
    inside = slice(middle - reach, middle + reach + 1)
    correlated = np.fft.fftshift(np.fft.ifft2(seen).real)[inside, inside]
    correlated = np.maximum(correlated - np.percentile(correlated, 10), 0)
    correlated *= np.outer(*(np.hanning(2 * reach + 3)[1:-1] ** 0.25,) * 2)
    padded = np.zeros((2 * side + 2,) * 2)
    padded[: 2 * reach + 1, : 2 * reach + 1] = correlated
    size = np.sqrt(np.maximum(np.fft.fft2(np.roll(padded, (-reach, -reach), (0, 1))).real, 0))
    size /= max(size[0, 0], 1e-12)
    made = sorted((_with_phase(size, side, seed) for seed in range(6)), key=lambda one: one[0])
    found: list[np.ndarray] = []
    for _, kernel in made:
        turned = (kernel, kernel[::-1, ::-1])
        if len(found) < count and all(correlation(one, other) < 0.93 for one in turned for other in found):
            found.append(kernel)
    return [one for kernel in found for one in (kernel, _tidy(kernel[::-1, ::-1], 0))]


def _with_phase(size: np.ndarray, side: int, seed: int) -> tuple[float, np.ndarray]:
    """How far off, and the kernel side×side whose OTF has the absolute values ``size``, from a random phase.

    Fienup's hybrid input and output with a feedback of 0.75, 240 times, then 60 times the plain projections.
    """
    inside = np.zeros(size.shape, bool)
    inside[:side, :side] = True
    kernel = np.random.default_rng(seed).random(size.shape)
    for turn in range(300):
        spectrum = np.fft.rfft2(kernel)
        phase = spectrum / np.maximum(np.abs(spectrum), 1e-12)
        projected = np.fft.irfft2(size[:, : phase.shape[1]] * phase, size.shape)
        rejected = kernel - 0.75 * projected if turn < 240 else 0
        kernel = np.where(inside & (projected >= 0), projected, rejected)
    kernel = _made_a_kernel(kernel[:side, :side], least=0.05, speck=0.05)
    return float(np.linalg.norm(np.abs(np.fft.fft2(kernel, size.shape)) - size)), kernel


def halves(colour: np.ndarray) -> list[np.ndarray]:
    """The square with the most gradient of either half of the picture."""
    axis = int(colour.shape[1] > colour.shape[0])
    return [_busiest(half, CROP) for half in np.array_split(colour, 2, axis=axis)]


def _unexplained(part: np.ndarray, restored: np.ndarray, kernel: np.ndarray) -> float:
    """The standard deviation of ``y − x ⊗ k`` on the 0–255 scale, inside the border that x knows nothing beyond."""
    reach = len(kernel) // 2
    blurred = np.stack([_blur(restored[..., c], kernel) for c in range(part.shape[2])], -1)
    inside = (slice(reach, -reach), slice(reach, -reach))
    return float((blurred - part)[inside].std() * 255)


def _beyond(restored: np.ndarray) -> float:
    return float((np.maximum(-restored, 0) + np.maximum(restored - 1, 0)).mean() * 255)


def _blur(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return _irfft2(_rfft2(plane) * _spectrum(kernel, plane.shape), s=plane.shape)


def _spectrum(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    padded = np.zeros(shape)
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel
    return _rfft2(np.roll(padded, (-(kernel.shape[0] // 2), -(kernel.shape[1] // 2)), (0, 1)))


def kernel_step(
    restored: Sequence[np.ndarray], parts: Sequence[np.ndarray], *, smooth: float = 0.01, side: int = SIDE
) -> np.ndarray:
    """The kernel that leads from restored pictures to observed ones, all H×W×C: side×side.

    The normal equations of the gradients, summed over pictures and colours, are solved per frequency, in turns with
    the projection onto what a kernel is: not negative, inside its window, of sum one.
    """
    shape = (min(part.shape[0] for part in parts), min(part.shape[1] for part in parts))
    taper = _taper(shape, side // 2)
    cross: np.ndarray = np.zeros(())
    power: np.ndarray = np.zeros(())
    for sharp, blurred in zip(restored, parts, strict=True):
        for c, axis in product(range(blurred.shape[2]), (0, 1)):
            planes = (whole[: shape[0], : shape[1], c] for whole in (sharp, blurred))
            x, y = (_rfft2(taper * (np.roll(plane, -1, axis) - plane)) for plane in planes)
            cross = cross + x.conj() * y
            power = power + np.abs(x) ** 2
    gradient = _gradient_power(shape)
    norm = 1 / max(float(power.mean()), 1e-30)  # of one colour there is none
    cross, power = cross * norm, power * norm
    kernel = np.zeros((side, side))
    kernel[side // 2, side // 2] = 1
    rho = 0.02
    for _ in range(12):
        solved = (cross + rho * _spectrum(kernel, shape)) / (power + rho + smooth * gradient)
        window = np.roll(_irfft2(solved, s=shape), (side // 2, side // 2), (0, 1))[:side, :side]
        kernel = np.maximum(window, 0)
        kernel[kernel < 0.02 * kernel.max()] = 0
        if kernel.sum() <= 0:
            kernel[side // 2, side // 2] = 1
        kernel /= kernel.sum()
        rho *= 1.6
    return _tidy(kernel, 0.05)


def _rfft2(x: np.ndarray) -> np.ndarray:
    """In the precision of ``x``, which NumPy's does not keep in every version."""
    return np.asarray(fft.rfft2(x))


def _irfft2(spectrum: np.ndarray, *, s: tuple[int, ...]) -> np.ndarray:
    return np.asarray(fft.irfft2(spectrum, s=s))


def _gradient_power(shape: tuple[int, int]) -> np.ndarray:
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    return 4 - 2 * np.cos(2 * np.pi * fy) - 2 * np.cos(2 * np.pi * fx)


def _taper(shape: tuple[int, int], reach: int) -> np.ndarray:
    """One inside, falling to zero at the border: real pictures do not wrap around."""
    lines = [np.minimum(1, (np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5) / reach) for n in shape]
    return np.outer(*(np.sin(np.pi / 2 * line) ** 2 for line in lines))


def _tidy(kernel: np.ndarray, share: float) -> np.ndarray:
    """Without specks that hold less than ``share`` of the mass, and centred by whole pixels."""
    labels, count = ndimage.label(kernel > 0, np.ones((3, 3)))  # pyright: ignore[reportGeneralTypeIssues]
    mass = ndimage.sum(kernel, labels, range(1, count + 1))
    kept = np.isin(labels, 1 + np.flatnonzero(mass >= min(share * kernel.sum(), np.max(mass))))
    kernel = np.where(kept, kernel, 0)
    centre = ndimage.center_of_mass(kernel)
    offset = [round(len(kernel) // 2 - c) for c in np.ravel(centre).tolist()]
    moved = np.roll(kernel, offset, (0, 1))
    return moved / moved.sum()


def pyramid(grey: np.ndarray, sigma: float, *, weight: float, side: int = SIDE, turns: int = 3) -> np.ndarray:
    """A first kernel side×side of a picture H×W in [0,1], from coarse to fine with sparse gradients."""
    pictures, sides = [grey.astype(np.float32)], [side]
    while sides[-1] > 3 and min(pictures[-1].shape) >= 48:
        smooth = ndimage.gaussian_filter(pictures[-1], 0.96, mode="nearest")
        pictures.append(np.asarray(ndimage.zoom(smooth, 0.5, order=1, grid_mode=True, mode="nearest")))
        sides.append(max(3, int(sides[-1] * 0.5) | 1))
    least, smoothness = 0.5 * sigma, 200 * sigma
    weight = max(weight, least)
    latent = pictures[-1]
    kernel = np.ones((1, 1))
    for picture, length in zip(pictures[::-1], sides[::-1], strict=True):
        level = _Level(picture)
        if latent.shape != picture.shape:
            factors = [a / b for a, b in zip(picture.shape, latent.shape, strict=True)]
            latent = np.asarray(ndimage.zoom(latent, factors, order=3, mode="nearest", grid_mode=True))
        kernel = level.kernel(latent, length, smoothness)
        for turn in range(turns):
            first = turn == 0
            latent = level.latent(
                kernel, weight, level.picture if first else latent, 2 * weight if first else 0.05, 2 if first else 5
            )
            kernel = level.kernel(latent, length, smoothness)
            weight = max(weight / 1.1, least)
    return kernel


class _Level:
    """One level of the pyramid, circular; what wraps around is tapered away."""

    def __init__(self, picture: np.ndarray) -> None:
        reach = max(4, min(picture.shape) // 10)
        taper = _taper((picture.shape[0], picture.shape[1]), reach)
        smooth = ndimage.gaussian_filter(picture, reach / 2, mode="wrap")
        self.picture = (taper * picture + (1 - taper) * smooth).astype(np.float32)
        self.spectrum = _rfft2(self.picture)
        self.gradient = _gradient_power((picture.shape[0], picture.shape[1])).astype(np.float32)

    def latent(self, kernel: np.ndarray, weight: float, latent: np.ndarray, beta: float, rate: float) -> np.ndarray:
        """The picture with few gradients that the kernel blurs into the observed one (half-quadratic splitting)."""
        transfer = _spectrum(kernel, self.picture.shape).astype(np.complex64)
        numerator, denominator = transfer.conj() * self.spectrum, np.abs(transfer) ** 2
        while beta < 1e5:
            across, down = np.roll(latent, -1, 1) - latent, np.roll(latent, -1, 0) - latent
            small = across**2 + down**2 < weight / beta
            across[small] = down[small] = 0
            divergence = (np.roll(across, 1, 1) - across) + (np.roll(down, 1, 0) - down)
            solved = (numerator + beta * _rfft2(divergence)) / (denominator + beta * self.gradient)
            latent = _irfft2(solved, s=latent.shape).astype(np.float32)
            beta *= rate
        return latent

    def kernel(self, latent: np.ndarray, side: int, smoothness: float) -> np.ndarray:
        x = _rfft2(latent)
        cross, power = x.conj() * self.spectrum, np.abs(x) ** 2
        kernel = np.full((side, side), 1 / side**2, np.float32)
        gamma = 1.0
        while gamma < 1e3:
            solved = (cross + gamma * _spectrum(kernel, latent.shape)) / (power + gamma + self.gradient * smoothness)
            window = np.roll(_irfft2(solved, s=latent.shape), (side // 2, side // 2), (0, 1))[:side, :side]
            kernel = np.maximum(0, window - 0.5 / gamma).astype(np.float32)
            gamma *= 2
        return _made_a_kernel(kernel.astype(np.float64), least=0.03, speck=0.1)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """The largest correlation of two kernels over all shifts: where a kernel lies cannot be seen."""
    side = a.shape[0] + b.shape[0]
    spectra = [np.fft.rfft2(kernel, (side, side)) for kernel in (a, b)]
    best = np.fft.irfft2(spectra[0] * spectra[1].conj(), (side, side)).max()
    return float(best / np.linalg.norm(a) / np.linalg.norm(b))


def _busiest(colour: np.ndarray, side: int) -> np.ndarray:
    """The square with the most gradient, of at most ``side`` and a multiple of 8."""
    height, width = (min(side, length) // 8 * 8 for length in colour.shape[:2])
    grey = colour.mean(axis=2)
    activity = ndimage.uniform_filter(np.abs(np.gradient(grey)).sum(axis=0), (height, width), mode="constant")  # pyright: ignore[reportArgumentType]
    top, left = height // 2, width // 2
    inside = activity[top : grey.shape[0] - (height - top) + 1, left : grey.shape[1] - (width - left) + 1]
    y, x = np.unravel_index(int(inside.argmax()), inside.shape)
    return colour[y : y + height, x : x + width]
