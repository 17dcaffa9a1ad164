"""The prior step ``x = P(z, β)``: a denoiser that is told the noise level β."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResBlock(nn.Module):
    """``x + conv(relu(conv(x)))`` with 3×3 convolutions and no bias.

    Parameters
    ----------
    channels : int
        Of input and output.

    Examples
    --------
    >>> import torch
    >>> from usrnet.model.prior import ResBlock
    >>> ResBlock(8)(torch.zeros(1, 8, 5, 5)).shape
    torch.Size([1, 8, 5, 5])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.res = nn.Sequential(_conv3(channels, channels), nn.ReLU(), _conv3(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.res(x)


class ResUNet(nn.Module):
    """The learned prior: a U-Net of residual blocks on three 2× levels.

    The noise level enters as a fourth, constant channel. Module names are those of the published weight files.

    Parameters
    ----------
    channels : tuple of int
        Widths of the four resolutions.
    blocks : int
        Residual blocks on each.
    takes : bool
        Whether it takes the widest features of the iteration before: a 3×3 convolution of them is added to what the
        head gives. The published network has no such thing, and with weights of zero there it is the published one.
    gives : bool
        Whether it gives its own to the next.

    References
    ----------
    Zhang, Van Gool, Timofte, arXiv 2003.10428, section 4.2.

    Examples
    --------
    >>> import torch
    >>> from usrnet.model import ResUNet
    >>> ResUNet((8, 8, 16, 16), 1)(torch.rand(1, 3, 13, 21), torch.full((1, 1, 1, 1), 0.1)).shape
    torch.Size([1, 3, 13, 21])
    """

    def __init__(
        self, channels: tuple[int, int, int, int], blocks: int, *, takes: bool = False, gives: bool = False
    ) -> None:
        super().__init__()
        c1, c2, c3, c4 = channels
        self.m_head = _conv3(4, c1)
        self.m_down1 = _down(c1, c2, blocks)
        self.m_down2 = _down(c2, c3, blocks)
        self.m_down3 = _down(c3, c4, blocks)
        self.m_body = nn.Sequential(*(ResBlock(c4) for _ in range(blocks)))
        self.m_up3 = _up(c4, c3, blocks)
        self.m_up2 = _up(c3, c2, blocks)
        self.m_up1 = _up(c2, c1, blocks)
        self.m_tail = _conv3(c1, 3)
        self.m_carry = _conv3(c1, c1) if takes else None
        self.gives = gives

    def forward(self, z: Tensor, beta: Tensor) -> Tensor:
        """Denoise a batch of images.

        Parameters
        ----------
        z : Tensor, N×3×H×W
            Images of any size.
        beta : Tensor, N×1×1×1 or N×1×H×W
            Noise level to remove, on the scale of ``z``.

        Returns
        -------
        Tensor, N×3×H×W
            Not clipped.

        Examples
        --------
        >>> import torch
        >>> from usrnet.model import ResUNet
        >>> ResUNet((8, 8, 8, 8), 1)(torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 3, 8, 8])
        """
        return self.remember(z, beta, None)[0]

    def remember(self, z: Tensor, beta: Tensor, carried: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """One iteration of several: as ``forward``, with what the last one carried; returns what to carry on.

        ``carried`` is None in the first iteration, and what is returned where the prior gives nothing.
        """
        height, width = z.shape[-2:]
        x = torch.cat((z, beta.expand(-1, 1, height, width)), dim=1)
        x = replicate(x, -height % 8, -width % 8)
        x1 = _exactly(self.m_head, x)
        if self.m_carry is not None and carried is not None:
            x1 = x1 + self.m_carry(carried)
        x2 = self.m_down1(x1)
        x3 = self.m_down2(x2)
        x4 = self.m_down3(x3)
        x = self.m_up3(self.m_body(x4) + x4)
        x = self.m_up2(x + x3)
        x = self.m_up1(x + x2)
        features = x + x1
        picture = _exactly(self.m_tail, features)[..., :height, :width]
        return picture, features if self.gives else None


class TotalVariation(nn.Module):
    """The classical prior ``P(z, β) = argmin_x ½‖x − z‖² + β² TV(x)`` with no weights.

    TV is the isotropic total variation, coupled over the channels, of an image in [0,1]. Solved by fast gradient
    projection on the dual, with the step 1/8.

    Parameters
    ----------
    iterations : int
        Of the solver.

    References
    ----------
    Beck and Teboulle, IEEE TIP 18(11), 2009.

    Examples
    --------
    >>> import torch
    >>> from usrnet.model import TotalVariation
    >>> noisy = torch.rand(1, 3, 16, 16)
    >>> bool(TotalVariation()(noisy, torch.full((1, 1, 1, 1), 0.5)).std() < noisy.std())
    True
    """

    def __init__(self, iterations: int = 20) -> None:
        super().__init__()
        self.iterations = iterations

    def forward(self, z: Tensor, beta: Tensor) -> Tensor:
        """Smooth a batch of images.

        Parameters
        ----------
        z : Tensor, N×C×H×W
            Images in [0,1].
        beta : Tensor, N×1×1×1
            Its square is the weight of TV.

        Returns
        -------
        Tensor, N×C×H×W
            The minimiser, nearly.

        Examples
        --------
        >>> import torch
        >>> from usrnet.model import TotalVariation
        >>> flat = torch.full((1, 1, 4, 4), 0.5)
        >>> bool(torch.equal(TotalVariation()(flat, torch.ones(1, 1, 1, 1)), flat))
        True
        """
        weight = beta.square().clamp_min(torch.finfo(z.dtype).tiny)
        scaled = z / weight
        dual = momentum = z.new_zeros(2, *z.shape)
        t = 1.0
        for _ in range(self.iterations):
            step = _add_gradient(momentum, (scaled + _divergence(momentum)) / 8)
            norm = step.square().sum(dim=(0, 2), keepdim=True).sqrt()
            previous, dual = dual, step / norm.clamp_min(1)
            t, t_previous = (1 + (1 + 4 * t * t) ** 0.5) / 2, t
            momentum = torch.add(dual, dual - previous, alpha=(t_previous - 1) / t)
        return z + weight * _divergence(dual)


def _exactly(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer without autocast: at the outer ends of the prior bfloat16 costs most of what it costs."""
    with torch.autocast(x.device.type, enabled=False):
        return layer(x)


def _conv3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


def _down(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    down = nn.Conv2d(inputs, outputs, 2, stride=2, bias=False)
    return nn.Sequential(*(ResBlock(inputs) for _ in range(blocks)), down)


def _up(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    up = nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False)
    return nn.Sequential(up, *(ResBlock(outputs) for _ in range(blocks)))


def replicate(x: Tensor, bottom: int, right: int) -> Tensor:
    """Repeat the last row and column, because the U-Net halves the picture three times."""
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


def _add_gradient(field: Tensor, x: Tensor) -> Tensor:
    """``field`` (2×…) plus the forward differences of ``x`` (…): down and right, zero at the last row and column."""
    total = field.clone()
    total[0, ..., :-1, :] += x[..., 1:, :] - x[..., :-1, :]
    total[1, ..., :-1] += x[..., 1:] - x[..., :-1]
    return total


def _divergence(field: Tensor) -> Tensor:
    """The negative adjoint of the forward differences; the field's last row (down) and column (right) are zero."""
    down, right = field
    total = down + right
    total[..., 1:, :] -= down[..., :-1, :]
    total[..., 1:] -= right[..., :-1]
    return total
