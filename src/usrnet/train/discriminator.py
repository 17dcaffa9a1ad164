"""Discriminators D(x): a score for how much a picture, N×3×P×P in [0,1], looks like a photo.

``vgg`` gives one score per picture, ``unet`` one per pixel. Batch norm always takes the statistics of the pictures
that it is given and keeps none, and spectral norm turns its vectors when it is told to, so that scores do not depend
on how often a network was called.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

SLOPE = 0.2


class VGGDiscriminator(nn.Sequential):
    """Ten convolutions, every second one with stride 2, batch norm behind all but the first, then two linear layers.

    The one of SRGAN and ESRGAN for patches of 96×96 (``channels`` = 64), here for every ``patch`` that 32 divides.
    """

    def __init__(self, patch: int, channels: int = 64) -> None:
        layers: list[nn.Module] = []
        before = 3
        for width in (channels, 2 * channels, 4 * channels, 8 * channels, 8 * channels):
            for size, stride in ((3, 1), (4, 2)):
                first = before == 3
                layers.append(nn.Conv2d(before, width, size, stride, 1, bias=first))
                if not first:
                    layers.append(nn.BatchNorm2d(width, track_running_stats=False))
                layers.append(nn.LeakyReLU(SLOPE))
                before = width
        flat = before * (patch // 32) ** 2
        layers += [nn.Flatten(), nn.Linear(flat, 100), nn.LeakyReLU(SLOPE), nn.Linear(100, 1)]
        super().__init__(*layers)


class UNetDiscriminator(nn.Module):
    """A U-Net with spectral normalisation (Wang et al., Real-ESRGAN, ICCVW 2021): N×3×P×P → N×1×P×P, 8 divides P."""

    def __init__(self, channels: int = 64) -> None:
        super().__init__()

        def normed(before: int, after: int, size: int = 3, stride: int = 1) -> nn.Module:
            return parametrizations.spectral_norm(nn.Conv2d(before, after, size, stride, 1, bias=False))

        widths = [channels << i for i in range(4)]
        self.head = nn.Conv2d(3, channels, 3, 1, 1)
        self.down = nn.ModuleList(normed(a, b, 4, 2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(normed(a, b) for a, b in pairwise(reversed(widths)))
        self.body = nn.ModuleList(normed(channels, channels) for _ in range(2))
        self.tail = nn.Conv2d(channels, 1, 3, 1, 1)

    def forward(self, picture: Tensor) -> Tensor:
        x = F.leaky_relu(self.head(picture), SLOPE)
        beside = [x]
        for layer in self.down:
            x = F.leaky_relu(layer(x), SLOPE)
            beside.append(x)
        beside.pop()
        for layer in self.up:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = F.leaky_relu(layer(x), SLOPE) + beside.pop()
        for layer in self.body:
            x = F.leaky_relu(layer(x), SLOPE)
        return self.tail(x)


def make_discriminator(architecture: str, *, patch: int, channels: int, seed: int) -> nn.Module:
    """The discriminator ``vgg`` or ``unet``, the same for the same ``seed``, ready for :func:`turn`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = VGGDiscriminator(patch, channels) if architecture == "vgg" else UNetDiscriminator(channels)
    return made.eval()  # in which spectral norm keeps its vectors


@torch.no_grad()
def turn(discriminator: nn.Module) -> None:
    """One power iteration of every spectral norm, once in a step however many pictures the step has."""
    for module in discriminator.modules():
        if nn.utils.parametrize.is_parametrized(module, "weight"):
            module.train()
            _ = module.weight  # computing it is what turns the vectors
            module.eval()
