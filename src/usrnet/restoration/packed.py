"""The prior prepared for inference on a CPU: the same function as ``ResUNet``, several times faster.

Weights are converted and laid out for oneDNN once for every size of picture instead of in every call, and ReLU and
the sum of a residual block are done inside the convolution that comes before. Wide float32 layers use Winograd's
convolution, which has a quarter of the multiplications. Which code runs follows from the processor, the number of
channels, the type and the size alone, so that on one machine equal pictures give equal bytes. The inner layers may
be bfloat16; head, tail and the outermost sum stay float32, where rounding costs most (measured in docs/speed.md).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from usrnet.device import computes
from usrnet.model.prior import ResBlock, ResUNet, replicate
from usrnet.model.usrnet import Unfolding
from usrnet.restoration.winograd import Winograd


def pack(model: nn.Module, dtype: torch.dtype) -> nn.Module | None:
    """The unfolding with its prior packed, or None where that is not possible: another prior, no oneDNN, or
    no bfloat16 in it.

    ``dtype``: of the inner layers, float32 or bfloat16. The weights are copied: later changes are not seen.
    """
    able = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    if not (able and isinstance(model, Unfolding)):
        return None
    priors = list(model.p) if isinstance(model.p, nn.ModuleList) else [model.p]
    if not all(isinstance(prior, ResUNet) for prior in priors):
        return None
    if next(model.parameters()).dtype != torch.float32 or next(model.parameters()).device.type != "cpu":
        return None
    if dtype == torch.bfloat16 and not computes("bf16", torch.device("cpu")):
        return None
    packed = [PackedResUNet(prior, dtype) for prior in priors if isinstance(prior, ResUNet)]
    return Unfolding(nn.ModuleList(packed) if isinstance(model.p, nn.ModuleList) else packed[0], model.h).eval()


BAND = 128  # rows
LAYOUTS = 6  # of the weights of one layer that are kept: the tiles of a picture, and their bands, are few sizes
BAND_BYTES = 4 * 2**20  # of a band of a residual block's inner map: it stays in the caches


class PackedResUNet(nn.Module):
    """``ResUNet`` without gradients, float32 in and out; called with the same arguments.

    What is carried from one iteration to the next has the type of the inner layers.
    """

    def __init__(self, prior: ResUNet, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.head = _Convolution(prior.m_head, torch.float32)
        down, up = (prior.m_down1, prior.m_down2, prior.m_down3), (prior.m_up3, prior.m_up2, prior.m_up1)
        self.down = nn.ModuleList(_stage(part, dtype) for part in down)
        self.body = _stage(prior.m_body, dtype)
        self.up = nn.ModuleList(_stage(part, dtype) for part in up)
        self.tail = _Convolution(prior.m_tail, torch.float32)
        self.carry = None if prior.m_carry is None else _Convolution(prior.m_carry, dtype)
        self.gives = prior.gives

    def forward(self, z: Tensor, beta: Tensor) -> Tensor:
        """``z``: N×3×H×W of any size; ``beta``: N×1×1×1 or a map N×1×H×W → N×3×H×W."""
        return self.remember(z, beta, None)[0]

    @torch.inference_mode()
    def remember(self, z: Tensor, beta: Tensor, carried: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """As ``ResUNet.remember``."""
        height, width = z.shape[-2:]
        inputs = replicate(torch.cat((z, beta.expand(-1, 1, height, width)), dim=1), -height % 8, -width % 8)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        if self.dtype == torch.float32 and (self.gives or self.carry):
            outer = self.head(inputs)
            if carried is not None and self.carry is not None:
                self.carry.add_to(outer, carried)
            outer.add_(self._inner(outer.clone()))
            picture, features = self.tail(outer), outer
        else:
            known = None if carried is None or self.carry is None else self.carry(carried)
            picture, features = self._picture(inputs, self._inner(self._features(inputs, known)), known)
        return picture[..., :height, :width], features if self.gives else None

    def _inner(self, x: Tensor) -> Tensor:
        """Everything between the head and the outermost sum; ``x`` is overwritten."""
        skips = []
        for stage in self.down:
            x = stage(x)
            skips.append(x.clone())  # stages overwrite what they get
        x = self.body(x)
        for stage in self.up:
            x = stage(x.add_(skips.pop()))
        return x

    # The widest maps in float32 would be most of the memory, and passes over them much of the time, so they only ever
    # exist in bands of rows; the outer sum takes the head once more, a hundredth of the arithmetic.

    def _features(self, inputs: Tensor, known: Tensor | None) -> Tensor:
        """The head, and what is ``known`` from the last iteration, in the type of the inner layers."""
        if self.dtype == torch.float32:
            return self.head(inputs)
        x = self._empty(inputs)
        for band in _bands(inputs.shape[-2]):
            x[..., band, :] = self._outer(inputs, known, band)
        return x

    def _picture(self, inputs: Tensor, x: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The tail of the outermost sum, and that sum if it is carried on."""
        picture = torch.empty_like(inputs[:, : self.tail.channels])
        features = self._empty(inputs) if self.gives else None
        for band in _bands(inputs.shape[-2]):
            wider = _wider(band, inputs.shape[-2])
            inside = slice(band.start - wider.start, band.stop - wider.start)
            outer = self._outer(inputs, known, wider).add_(x[..., wider, :])
            picture[..., band, :] = self.tail(outer)[..., inside, :]
            if features is not None:
                features[..., band, :] = outer[..., inside, :]
        return picture, features

    def _outer(self, inputs: Tensor, known: Tensor | None, band: slice) -> Tensor:
        """A band of what goes into the inner layers, float32."""
        rows = _rows(self.head, inputs, band)
        return rows if known is None else rows.add_(known[..., band, :])

    def _empty(self, inputs: Tensor) -> Tensor:
        shape = (inputs.shape[0], self.head.channels, *inputs.shape[-2:])
        return torch.empty(shape, dtype=self.dtype, memory_format=torch.channels_last)


def _bands(height: int, rows: int = BAND) -> list[slice]:
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def _wider(band: slice, height: int) -> slice:
    """One row more on both sides, as far as there are rows: what a 3×3 convolution looks at."""
    return slice(max(band.start - 1, 0), min(band.stop + 1, height))


def _rows(convolution: "_Convolution", x: Tensor, band: slice) -> Tensor:
    """A band of rows of what a 3×3 convolution gives."""
    wider = _wider(band, x.shape[-2])
    part = convolution(x[..., wider, :].contiguous(memory_format=torch.channels_last))
    return part[..., band.start - wider.start : band.stop - wider.start, :]


class _Convolution(nn.Module):
    """A convolution whose weights are laid out for oneDNN, once for every size of the input."""

    def __init__(self, convolution: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        convolution = _plain(convolution)
        self.weight = convolution.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        self.channels = convolution.out_channels
        self.stride, self.padding = list(convolution.stride), list(map(int, convolution.padding))
        self.layouts: dict[tuple[int, ...], Tensor] = {}

    def forward(self, x: Tensor, *, relu: bool = False, padding: list[int] | None = None) -> Tensor:
        unary = "relu" if relu else "none"
        return torch.ops.mkldnn._convolution_pointwise(x, *self._options(x, padding), unary, [], "")

    def add_to(self, target: Tensor, x: Tensor, *, padding: list[int] | None = None) -> Tensor:
        """``target += self(x)``."""
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            target, x, *self._options(x, padding), "add", 1.0, None, [], None
        )  # fmt: skip

    def _options(self, x: Tensor, padding: list[int] | None) -> tuple:
        padding = padding or self.padding
        return self._layout(x, padding), None, padding, self.stride, [1, 1], 1

    def _layout(self, x: Tensor, padding: list[int]) -> Tensor:
        """The weights as the kernel wants them that oneDNN takes for this size.

        In another layout they are laid out again in every call, slowly: 100 ms for 512 channels without AVX-512.
        """
        key = (*x.shape, *padding)
        layout = self.layouts.get(key)
        if layout is None:
            layout = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, padding, self.stride, [1, 1], 1, list(x.shape)
            )
            # Another thread may do the same at the same time: the result is the same, and a dict stays whole.
            self.layouts = dict([*self.layouts.items(), (key, layout)][-LAYOUTS:])
        return layout


class _Residual(nn.Module):
    """A residual block; its input is overwritten. The inner map of a large picture only ever exists in bands."""

    def __init__(self, block: ResBlock, dtype: torch.dtype) -> None:
        super().__init__()
        self.first, self.second = (_Convolution(block.res[index], dtype) for index in (0, 2))

    def forward(self, x: Tensor) -> Tensor:
        rows = max(16, BAND_BYTES // (x[0, :, 0].numel() * x.element_size()))
        if x.shape[-2] <= rows:
            return self.second.add_to(x, self.first(x, relu=True))
        for picture in x.split(1):  # a band of one picture is contiguous
            self._in_bands(picture, _bands(x.shape[-2], rows))
        return x

    def _in_bands(self, x: Tensor, bands: list[slice]) -> None:
        following = x[..., :0, :]
        for band in bands:
            first, last = band.start == 0, band.stop == x.shape[-2]
            above = slice(max(band.start - 2, 0), band.start)
            done = x[..., above, :].clone()
            x[..., above, :] = following  # as it was, for the convolution looks at it again
            following = x[..., band.stop - 2 : band.stop, :].clone()
            missing = max(0, band.stop + 2 - x.shape[-2])
            part = x[..., above.start : band.stop + 2, :]
            if first or missing:  # elsewhere a band is used where it lies
                part = F.pad(part, (0, 0, 2 * first, missing))
            inner = self.first(part, relu=True, padding=[0, 1])
            x[..., above, :] = done
            if first:
                inner[..., :1, :] = 0
            if last:
                inner[..., -1:, :] = 0
            self.second.add_to(x[..., band, :], inner, padding=[0, 1])


class _WinogradResidual(nn.Module):
    """A residual block of many channels; its input is overwritten."""

    def __init__(self, block: ResBlock) -> None:
        super().__init__()
        self.first, self.second = (Winograd(_plain(block.res[index]).weight.detach()) for index in (0, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.second.add_to(x, self.first.relu(x))


class _Transposed(nn.Module):
    def __init__(self, convolution: nn.ConvTranspose2d, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = convolution.weight.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.weight, stride=2)


def winograd_channels() -> int:
    """From how many channels on fewer multiplications are worth the transforms: where they are fast, from more on."""
    return 128 if "AVX512" in torch.backends.cpu.get_cpu_capability() else 64


def _plain(layer: nn.Module) -> nn.Conv2d:
    assert isinstance(layer, nn.Conv2d)
    return layer


def _stage(part: nn.Sequential, dtype: torch.dtype) -> nn.Sequential:
    layers: list[nn.Module] = []
    for layer in part:
        if isinstance(layer, nn.ConvTranspose2d):
            layers.append(_Transposed(layer, dtype))
        elif not isinstance(layer, ResBlock):
            layers.append(_Convolution(layer, dtype))
        elif dtype == torch.float32 and _plain(layer.res[0]).in_channels >= winograd_channels():
            layers.append(_WinogradResidual(layer))
        else:
            layers.append(_Residual(layer, dtype))
    return nn.Sequential(*layers)
