"""The prior prepared for inference on a CPU: the same function as ``ResUNet``, several times faster.

Weights are converted and laid out for oneDNN once instead of in every call, and ReLU and the sum of a residual block
are done inside the convolution that comes before. The inner layers may be bfloat16; head, tail and the outermost sum
stay float32, where rounding costs most (measured in docs/speed.md).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from usrnet.model.prior import ResBlock, ResUNet, replicate
from usrnet.model.usrnet import Unfolding


def pack(model: nn.Module, dtype: torch.dtype) -> nn.Module | None:
    """The unfolding with its prior packed, or None where that is not possible: another prior, or no oneDNN.

    ``dtype``: of the inner layers, float32 or bfloat16. The weights are copied: later changes are not seen.
    """
    able = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    if not (able and isinstance(model, Unfolding) and isinstance(model.p, ResUNet)):
        return None
    if next(model.parameters()).dtype != torch.float32 or next(model.parameters()).device.type != "cpu":
        return None
    return Unfolding(PackedResUNet(model.p, dtype), model.h).eval()


BAND = 128  # rows


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

    def forward(self, z: Tensor, beta: Tensor) -> Tensor:
        """``z``: N×3×H×W of any size; ``beta``: N×1×1×1 or a map N×1×H×W → N×3×H×W."""
        return self.remember(z, beta, None)[0]

    @torch.inference_mode()
    def remember(self, z: Tensor, beta: Tensor, carried: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """As ``ResUNet.remember``; what is carried is overwritten."""
        height, width = z.shape[-2:]
        inputs = replicate(torch.cat((z, beta.expand(-1, 1, height, width)), dim=1), -height % 8, -width % 8)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        if self.carry is None:
            picture = self._picture(inputs, self._inner(self._features(inputs)))
        else:
            outer = self._remembered(inputs, carried, self.carry)
            outer.add_(self._inner(outer.to(self.dtype, copy=True)))
            picture, carried = self.tail(outer), outer.to(self.dtype)
        return picture[..., :height, :width], carried

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

    def _remembered(self, inputs: Tensor, carried: Tensor | None, carry: "_Convolution") -> Tensor:
        """The head, and what the last iteration carried."""
        outer = self.head(inputs)
        if carried is None:
            return outer
        return carry.add_to(outer, carried) if carried.dtype == outer.dtype else outer.add_(carry(carried))

    # Where nothing is carried, the widest maps in float32 would be most of the memory, so they only ever exist in
    # bands of rows; the outer sum takes the head once more, a hundredth of the arithmetic.

    def _features(self, inputs: Tensor) -> Tensor:
        """The head in the type of the inner layers."""
        shape = (inputs.shape[0], self.head.channels, *inputs.shape[-2:])
        x = torch.empty(shape, dtype=self.dtype, memory_format=torch.channels_last)
        for band in _bands(inputs.shape[-2]):
            x[..., band, :] = _rows(self.head, inputs, band)
        return x

    def _picture(self, inputs: Tensor, x: Tensor) -> Tensor:
        """The tail of the outermost sum."""
        picture = torch.empty_like(inputs[:, : self.tail.channels])
        for band in _bands(inputs.shape[-2]):
            wider = _wider(band, inputs.shape[-2])
            outer = _rows(self.head, inputs, wider).add_(x[..., wider, :])
            top = band.start - wider.start
            picture[..., band, :] = self.tail(outer)[..., top : top + band.stop - band.start, :]
        return picture


def _bands(height: int) -> list[slice]:
    return [slice(top, min(top + BAND, height)) for top in range(0, height, BAND)]


def _wider(band: slice, height: int) -> slice:
    """One row more on both sides, as far as there are rows: what a 3×3 convolution looks at."""
    return slice(max(band.start - 1, 0), min(band.stop + 1, height))


def _rows(convolution: "_Convolution", x: Tensor, band: slice) -> Tensor:
    """A band of rows of what a 3×3 convolution gives."""
    wider = _wider(band, x.shape[-2])
    part = convolution(x[..., wider, :].contiguous(memory_format=torch.channels_last))
    return part[..., band.start - wider.start : band.stop - wider.start, :]


class _Convolution(nn.Module):
    """A convolution whose weights are laid out for oneDNN."""

    def __init__(self, convolution: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        assert isinstance(convolution, nn.Conv2d)
        weight = convolution.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        self.channels = convolution.out_channels
        stride, padding = list(convolution.stride), list(map(int, convolution.padding))
        self.options = (None, padding, stride, [1, 1], 1)
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(weight, padding, stride, [1, 1], 1, [])

    def forward(self, x: Tensor, *, relu: bool = False) -> Tensor:
        unary = "relu" if relu else "none"
        return torch.ops.mkldnn._convolution_pointwise(x, self.weight, *self.options, unary, [], "")

    def add_to(self, target: Tensor, x: Tensor) -> Tensor:
        """``target += self(x)``."""
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            target, x, self.weight, *self.options, "add", 1.0, None, [], None
        )  # fmt: skip


class _ResBlock(nn.Module):
    """A residual block; its input is overwritten."""

    def __init__(self, block: ResBlock, dtype: torch.dtype) -> None:
        super().__init__()
        self.first, self.second = (_Convolution(block.res[index], dtype) for index in (0, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.second.add_to(x, self.first(x, relu=True))


class _Transposed(nn.Module):
    def __init__(self, convolution: nn.ConvTranspose2d, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = convolution.weight.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.weight, stride=2)


def _stage(part: nn.Sequential, dtype: torch.dtype) -> nn.Sequential:
    layers: list[nn.Module] = []
    for layer in part:
        if isinstance(layer, ResBlock):
            layers.append(_ResBlock(layer, dtype))
        elif isinstance(layer, nn.ConvTranspose2d):
            layers.append(_Transposed(layer, dtype))
        else:
            layers.append(_Convolution(layer, dtype))
    return nn.Sequential(*layers)
