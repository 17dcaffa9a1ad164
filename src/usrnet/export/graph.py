"""The network as a graph without complex numbers, for runtimes whose Fourier transform is slow or missing.

The data step of :mod:`usrnet.model.data_step`, ``z = x + Aᵀ (A Aᵀ + α I)⁻¹ (y − A x)``, is computed on the s×s phases
``x_pq[i, j] = x[s i + p, s j + q]`` of the estimate, each as large as ``y``. Decimation after a blur is a sum over
them,

    A x = Σ_pq  x_pq ⊗ k_pq,    k_pq[i, j] = k[s i − p, s j − q],

so ``A Aᵀ`` has the eigenvalues ``Σ_pq |F(k_pq)|²`` and ``Aᵀ r`` the phases ``F⁻¹(F(k_pq)* F(r))``: the same operator
as there, with no aliases to fold. The transforms ``F`` are products with matrices of cosines and sines, whose angles
``2π a b / n`` are exact because ``a b`` is reduced modulo n in whole numbers. s is fixed, every size is free.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from onnx import ModelProto, helper
from torch import nn

from usrnet.export.builder import DOUBLE, FLOAT, INT, Builder, Term
from usrnet.model import USRNet
from usrnet.model.prior import ResBlock, ResUNet

INPUTS = {
    "picture": ("batch", 3, "height", "width"),
    "kernel": ("kernels", "kernel_channels", "kernel_height", "kernel_width"),
    "sigma": ("sigmas", 1, 1, 1),
}


def build(model: USRNet, scale: int, opset: int) -> ModelProto:
    """The whole network at one scale: ``picture``, ``kernel``, ``sigma`` → ``restored``, as the model takes them."""
    b = Builder()
    picture, kernel, sigma = (Term(b, name) for name in INPUTS)
    batch, s2 = picture.size(0), scale**2
    ones = b.whole(1, 1, 1)
    alphas, betas = _hyper(b, model, sigma.op("Expand", b.join(batch.unsqueeze(0), ones)), scale)
    transform = Transform.of_size(b, picture.size(2), picture.size(3))
    # As in the model, what is computed once is computed in float64: its rounding errors would be amplified.
    kernel = kernel.op("Expand", b.join(batch.unsqueeze(0), b.whole(3, 1, 1)))
    blur = _phases_of_kernel(b, kernel.cast(DOUBLE), scale, transform)
    eigenvalues = (blur.re * blur.re + blur.im * blur.im).sum(2).cast(FLOAT)
    observed = transform.forward(picture.cast(DOUBLE)).cast(FLOAT)
    blur, transform = blur.cast(FLOAT), transform.cast(FLOAT)
    conjugate = Pair(blur.re, -blur.im)
    prior = Prior(b, picture.size(2) * b.number(scale, INT), picture.size(3) * b.number(scale, INT))
    places = ["p"] * model.config.n_iter if model.config.shared else [f"p.{k}" for k in range(model.config.n_iter)]
    carried = None
    x = picture.unsqueeze(2)  # all phases of the nearest-neighbour enlargement are the picture
    z = picture
    for k in range(model.config.n_iter):
        predicted = transform.forward(x) * blur
        inverse = b.number(1.0) / (eigenvalues + alphas[k])
        residual = Pair(
            (observed.re - predicted.re.sum(2)) * inverse, (observed.im - predicted.im.sum(2)) * inverse
        )  # fmt: skip
        correction = Pair(residual.re.unsqueeze(2), residual.im.unsqueeze(2)) * conjugate
        z = _merge(b, x + transform.backward(correction), scale)
        z, carried = prior(model.get_submodule(places[k]), places[k], z, betas[k], carried)
        if k + 1 < model.config.n_iter:
            x = _split(b, z, s2, scale)
    described = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in INPUTS.items()]
    shape = ("batch", 3, "restored_height", "restored_width")
    return b.model(described, {"restored": z}, [helper.make_tensor_value_info("restored", FLOAT, shape)], opset)


@dataclass(frozen=True)
class Pair:
    """A complex tensor."""

    re: Term
    im: Term

    def __mul__(self, other: "Pair") -> "Pair":
        return Pair(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re)

    def cast(self, kind: int) -> "Pair":
        return Pair(self.re.cast(kind), self.im.cast(kind))


@dataclass(frozen=True)
class Transform:
    """The real Fourier transform of pictures h×w, half of the columns kept, as products with matrices."""

    rows: Term
    columns: Term  # the frequencies that are kept
    height: Term
    width: Term
    left: Pair  # h×h
    right: Pair  # w×(w // 2 + 1)
    back: Pair  # (w // 2 + 1)×w

    @classmethod
    def of_size(cls, b: Builder, height: Term, width: Term) -> "Transform":
        """In float64."""
        rows, across = b.integers(height), b.integers(width)
        columns = b.integers(width / b.number(2, INT) + b.number(1, INT))
        left, right = turns(b, rows, rows, height), turns(b, across, columns, width)
        # The columns that are their own mirror image count once, the others for those that are not kept too.
        zero, two = b.number(0, INT), b.number(2, INT)
        own = columns.op("Equal", zero).op("Or", (columns * two).op("Equal", width))
        weight = b.where(own, b.number(1.0, DOUBLE), b.number(2.0, DOUBLE)) / (height * width).cast(DOUBLE)
        weight = weight.unsqueeze(1)
        back = Pair(right.re.transpose(1, 0) * weight, right.im.transpose(1, 0) * weight)
        return cls(rows, columns, height, width, left, right, back)

    def cast(self, kind: int) -> "Transform":
        return replace(self, left=self.left.cast(kind), right=self.right.cast(kind), back=self.back.cast(kind))

    def forward(self, x: Term) -> Pair:
        """…×h×w, real → …×h×(w // 2 + 1)."""
        re, im = x @ self.right.re, x @ self.right.im
        c, s = self.left.re, self.left.im
        return Pair(c @ re - s @ im, c @ im + s @ re)

    def backward(self, spectrum: Pair) -> Term:
        """The inverse of ``forward``."""
        c, s = self.left.re, self.left.im
        re, im = c @ spectrum.re + s @ spectrum.im, c @ spectrum.im - s @ spectrum.re
        return re @ self.back.re + im @ self.back.im


def turns(b: Builder, a: Term, other: Term, n: Term) -> Pair:
    """``exp(−2πi a b / n)`` for whole numbers: len(a)×len(b), float64."""
    products = a.unsqueeze(1) * other.unsqueeze(0)
    products = products - products / n * n  # in whole numbers; a negative remainder is the same angle
    angles = products.cast(DOUBLE) * (b.number(2 * math.pi, DOUBLE) / n.cast(DOUBLE))
    return Pair(angles.op("Cos"), -angles.op("Sin"))


def _phases_of_kernel(b: Builder, kernel: Term, scale: int, transform: Transform) -> Pair:
    """``F(k_pq)``: N×3×kh×kw → N×3×s²×h×(w // 2 + 1)."""
    t = _phases_of_side(b, kernel.size(2), scale, transform.rows, transform.height)  # s×h×kh
    u = _phases_of_side(b, kernel.size(3), scale, transform.columns, transform.width)
    u = Pair(u.re.transpose(0, 2, 1), u.im.transpose(0, 2, 1))
    k = kernel.unsqueeze(2)
    re, im = (t.re @ k).unsqueeze(3), (t.im @ k).unsqueeze(3)  # N×3×s×1×h×kw
    shape = b.join(b.whole(0, 3, scale**2), transform.height.unsqueeze(0), b.whole(-1))

    def flat(term: Term) -> Term:
        return term.reshape(shape)

    return Pair(flat(re @ u.re - im @ u.im), flat(re @ u.im + im @ u.re))


def _phases_of_side(b: Builder, length: Term, scale: int, frequencies: Term, n: Term) -> Pair:
    """The transform along one side of every s-th tap, from phase p's first on: s×frequencies×length."""
    s, bias = b.number(scale, INT), b.number(2**20, INT)  # a multiple of s is added, so that quotients round down
    position = b.integers(length) - length / b.number(2, INT)
    index = (position + b.number(scale - 1, INT) + bias * s) / s - bias  # i of position = s i − p
    phase = index * s - position
    belongs = phase.unsqueeze(0).op("Equal", b.constant(np.arange(scale, dtype=np.int64)).unsqueeze(1)).unsqueeze(1)
    turn, zero = turns(b, frequencies, index, n), b.number(0.0, DOUBLE)
    return Pair(b.where(belongs, turn.re, zero), b.where(belongs, turn.im, zero))


def _split(b: Builder, x: Term, s2: int, scale: int) -> Term:
    """N×3×sh×sw → its phases, N×3×s²×h×w."""
    if scale == 1:
        return x.unsqueeze(2)
    height, width = (x.size(axis).unsqueeze(0) for axis in (2, 3))
    s = b.whole(scale)
    shape = b.join(b.whole(0, 3), height / s, s, width / s, s)
    parted = x.reshape(shape).transpose(0, 1, 3, 5, 2, 4)  # N×3×s×s×h×w
    return parted.reshape(b.join(b.whole(0, 3, s2), height / s, width / s))


def _merge(b: Builder, phases: Term, scale: int) -> Term:
    """The inverse of ``_split``."""
    height, width = (phases.size(axis).unsqueeze(0) for axis in (3, 4))
    flat = phases.reshape(b.join(b.whole(0, 3 * scale**2), height, width))
    return flat if scale == 1 else flat.op("DepthToSpace", blocksize=scale, mode="CRD")


def _hyper(b: Builder, model: USRNet, sigma: Term, scale: int) -> tuple[list[Term], list[Term]]:
    """α_k and β_k, each N×1×1×1."""
    x = b.join(sigma, sigma * b.number(0.0) + b.number(float(scale)), axis=1)
    mlp = model.h.mlp
    assert isinstance(mlp, nn.Sequential)
    for index, layer in enumerate(mlp):
        x = _weighted(b, layer, x, f"h.mlp.{index}") if isinstance(layer, nn.Conv2d) else x.op("Relu")
    x = x.op("Softplus") + b.number(1e-6)
    n = model.config.n_iter
    parts = [x.op("Gather", b.whole(index), axis=1) for index in range(2 * n)]
    return parts[:n], parts[n:]


class Prior:
    """``ResUNet`` of pictures height×width, called once for every iteration."""

    def __init__(self, b: Builder, height: Term, width: Term) -> None:
        self.b, self.height, self.width = b, height, width
        eight, seven = b.number(8, INT), b.number(7, INT)
        gaps = [((side + seven) / eight * eight - side).unsqueeze(0) for side in (height, width)]
        self.pads = b.join(b.whole(0, 0, 0, 0, 0, 0), *gaps)

    def __call__(self, p: nn.Module, place: str, z: Term, beta: Term, carried: Term | None) -> tuple[Term, Term]:
        """``z`` N×3×height×width, ``beta`` N×1×1×1 → N×3×height×width, and the features to carry on.

        ``p``: the prior of this iteration; ``place``: its name in the model, which its weights get in the graph.
        """
        assert isinstance(p, ResUNet)
        b = self.b
        padded = z.op("Pad", self.pads, mode="edge")
        sizes = b.join(z.size(0).unsqueeze(0), b.whole(1), *(padded.size(axis).unsqueeze(0) for axis in (2, 3)))
        x1 = self._layer(p.m_head, b.join(padded, beta.op("Expand", sizes), axis=1), f"{place}.m_head")
        if p.m_carry is not None and carried is not None:
            x1 = x1 + self._layer(p.m_carry, carried, f"{place}.m_carry")
        x2 = self._layer(p.m_down1, x1, f"{place}.m_down1")
        x3 = self._layer(p.m_down2, x2, f"{place}.m_down2")
        x4 = self._layer(p.m_down3, x3, f"{place}.m_down3")
        x = self._layer(p.m_body, x4, f"{place}.m_body") + x4
        x = self._layer(p.m_up3, x, f"{place}.m_up3") + x3
        x = self._layer(p.m_up2, x, f"{place}.m_up2") + x2
        features = self._layer(p.m_up1, x, f"{place}.m_up1") + x1
        x = self._layer(p.m_tail, features, f"{place}.m_tail")
        return x.part(0, self.height, 2).part(0, self.width, 3), features

    def _layer(self, layer: nn.Module, x: Term, name: str) -> Term:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            return _weighted(self.b, layer, x, name)
        if isinstance(layer, nn.ReLU):
            return x.op("Relu")
        if isinstance(layer, ResBlock):
            return x + self._layer(layer.res, x, f"{name}.res")
        assert isinstance(layer, nn.Sequential)
        for index, part in enumerate(layer):
            x = self._layer(part, x, f"{name}.{index}")
        return x


def _weighted(b: Builder, layer: nn.Conv2d | nn.ConvTranspose2d, x: Term, name: str) -> Term:
    """A convolution, or one that enlarges."""
    parameters = [
        (key, value) for key, value in (("weight", layer.weight), ("bias", layer.bias)) if value is not None
    ]
    terms = (b.constant(value.detach().cpu().float().numpy(), f"{name}.{key}") for key, value in parameters)
    padding = [int(side) for side in layer.padding]
    kind = "ConvTranspose" if isinstance(layer, nn.ConvTranspose2d) else "Conv"
    return x.op(kind, *terms, strides=list(layer.stride), pads=padding * 2, kernel_shape=list(layer.kernel_size))
