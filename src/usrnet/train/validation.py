"""Validation during training: a small fixed set of degraded photos."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from usrnet import io, kernels, metrics
from usrnet.degradation import degrade
from usrnet.restoration import Restorer
from usrnet.train.config import Validation
from usrnet.train.perceptual import PerceptualLoss
from usrnet.train.photos import Listing


@dataclass(frozen=True)
class Case:
    """One degraded photo and what it should become."""

    name: str
    truth: np.ndarray
    small: np.ndarray
    kernel: np.ndarray
    scale: int
    noise_level: float


def make_cases(options: Validation, photos: Listing) -> list[Case]:
    """Every combination of kernel, scale and noise level, each with the next of the photos in turn."""
    crops = [_middle(io.read_rgb(path), options.crop) for path in photos.files]
    combinations = [
        (text, scale, noise_level)
        for text in options.kernels
        for scale in options.scales
        for noise_level in options.noise
    ]
    cases = []
    for index, (text, scale, noise_level) in enumerate(combinations):
        truth = crops[index % len(crops)]
        truth = truth[: truth.shape[0] // 24 * 24, : truth.shape[1] // 24 * 24]
        kernel = kernels.parse(text, scale)
        small = degrade(truth, kernel, scale=scale, noise_level=noise_level, seed=index)
        name = f"{text.replace(':', '-')}_x{scale}_noise{noise_level:g}"
        cases.append(Case(name, truth, small, kernel, scale, noise_level))
    return cases


def _middle(photo: np.ndarray, side: int) -> np.ndarray:
    top, left = ((length - min(length, side)) // 2 for length in photo.shape[:2])
    return photo[top : top + side, left : left + side]


def validate(
    model: nn.Module, cases: list[Case], perceptual: PerceptualLoss | None = None, samples: int = 4
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """The means of ``psnr`` over RGB and, with ``perceptual``, of that distance of ``features``, and the first
    ``samples`` pictures as small | restored | truth.
    """
    scores, distances, pictures = [], [], {}
    was_training = model.training
    model.eval()
    restorer = Restorer(model)
    for index, case in enumerate(cases):
        restored = restorer(case.small, scale=case.scale, kernel=case.kernel, noise_level=case.noise_level)
        scores.append(metrics.psnr(restored, case.truth, border=case.scale**2))
        if perceptual is not None:
            distances.append(_distance(perceptual, restored, case.truth))
        if index % max(1, len(cases) // samples) == 0:
            nearest = io.enlarge_nearest(case.small, case.scale)
            pictures[case.name] = np.concatenate([nearest, restored, case.truth], axis=1)
    model.train(was_training)
    means = {"psnr": float(np.mean(scores))}
    return means | ({"features": float(np.mean(distances))} if perceptual is not None else {}), pictures


@torch.inference_mode()
def _distance(perceptual: PerceptualLoss, restored: np.ndarray, truth: np.ndarray) -> float:
    device = next(perceptual.parameters()).device
    pair = (torch.from_numpy(x).permute(2, 0, 1)[None].to(device) / 255 for x in (restored, truth))
    return float(perceptual(*pair))


def photos_of(options: Validation, training: Listing) -> tuple[Listing, Listing]:
    """The photos to validate on and the photos to train on."""
    if options.folder is not None:
        from usrnet.train.photos import list_photos

        chosen, _ = list_photos([options.folder], 48).split(options.photos)
        return chosen, training
    if len(training.files) <= options.photos:
        return training, training  # too few to hold any out
    return training.split(options.photos)


def save_pictures(pictures: dict[str, np.ndarray], folder: Path) -> None:
    """The sample pictures as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in pictures.items():
        io.write(folder / f"{name}.png", io.Picture(pixels))


def all_finite(model: nn.Module) -> bool:
    """Whether no parameter is NaN or infinite."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())
