# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour
#
# From a sharp image to a blurred, small and noisy one and back, and inside the network. Everything runs
# on a processor in under a minute. The script `examples/tour.py` and the notebook `examples/tour.ipynb`
# are the same.

# %%
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import usrnet
from usrnet import kernels, metrics
from usrnet.degradation import Degradation
from usrnet.figures.drawing import draw_kernel
from usrnet.model import data_step


def side_by_side(*pictures: np.ndarray) -> Image.Image:
    """Pictures in a row, small ones enlarged by repeating their pixels."""
    height = max(len(picture) for picture in pictures)
    shown = []
    for picture in pictures:
        colour = np.broadcast_to(picture[..., None], (*picture.shape, 3)) if picture.ndim == 2 else picture
        factor = height // len(picture)
        large = colour.repeat(factor, axis=0).repeat(factor, axis=1)
        shown.append(np.pad(large, ((0, height - len(large)), (0, 6), (0, 0)), constant_values=255))
    return Image.fromarray(np.concatenate(shown, axis=1))


photo = np.asarray(Image.open(Path(usrnet.__file__).parent / "data" / "astronaut.png").convert("RGB"))
sharp = photo[20:212, 100:292]
side_by_side(sharp)

# %% [markdown]
# ## Degrade
#
# The model is $y = (x \otimes k){\downarrow}_s + n$: blur with the kernel $k$, keep every $s$-th pixel, add
# noise. Here a camera shake, $s = 2$, and noise of 2.55 grey levels. The kernel is drawn beside the
# result.

# %%
shake = kernels.parse("motion:3", scale=2)
small = usrnet.degrade(sharp, shake, scale=2, noise_level=2.55, seed=0)
side_by_side(sharp, small, draw_kernel(shake))

# %% [markdown]
# ## Restore
#
# With the kernel and the noise level that are true. PSNR is measured 16 pixels inside of the border,
# because what was beyond it is not known.

# %%
restorer = usrnet.Restorer("default", precision="fp32")
restored = restorer(small, scale=2, kernel=shake, noise_level=2.55)
enlarged = np.asarray(Image.fromarray(small).resize(sharp.shape[1::-1], Image.Resampling.BICUBIC))
for name, result in (("bicubic", enlarged), ("restored", restored)):
    print(f"{name}: {metrics.psnr(result, sharp, border=16):.2f} dB")
side_by_side(enlarged, restored, sharp)

# %% [markdown]
# ## With a wrong kernel
#
# With half of the width the result stays soft, with half as much again it rings.

# %%
blurred = usrnet.degrade(sharp, "gaussian:1.6", scale=1, noise_level=2.55, seed=0)
results = []
for width in (0.8, 1.6, 2.4):
    results.append(restorer(blurred, scale=1, kernel=f"gaussian:{width}", noise_level=2.55))
    print(f"width {width}: {metrics.psnr(results[-1], sharp, border=16):.2f} dB")
side_by_side(blurred, *results)

# %% [markdown]
# ## Inside
#
# Each iteration has a data step, which makes $z_k$ and knows the kernel, and a prior step, which makes
# $x_k$ and has the weights. How much either of them does is chosen by a third module from the noise level
# and the scale factor alone.

# %%
model = usrnet.load("default")
y = torch.from_numpy(small / 255).permute(2, 0, 1)[None].float()
k = torch.from_numpy(shake)[None, None].float()
sigma = torch.full((1, 1, 1, 1), 2.55 / 255)


def shown(tensor: torch.Tensor) -> np.ndarray:
    return (255 * tensor[0].permute(1, 2, 0).clamp(0, 1)).round().byte().numpy()


with torch.inference_mode():
    steps = [(shown(z), shown(x)) for z, x in model.iterate(y, k, 2, sigma)]
    alphas, betas = model.h(sigma, 2)
for index, (alpha, beta) in enumerate(zip(alphas.flatten(), betas.flatten(), strict=True), 1):
    print(f"k = {index}: α = {alpha:.1e}, β = {beta:.1e}")
middle = slice(48, 144)
rows = [side_by_side(*(step[row][middle, middle] for step in steps)) for row in (0, 1)]
Image.fromarray(np.concatenate([np.asarray(row) for row in rows]))

# %% [markdown]
# Above $z_1 .. z_6$, below $x_1 .. x_6$.
#
# ## The data step by hand
#
# It minimises $\|y - Az\|^2 + \alpha\|z - x\|^2$, so half of its gradient, $A^{\top}(Az - y) + \alpha(z -
# x)$, is zero. $A$ and its adjoint are `Degradation`. In float64:

# %%
y64, k64, alpha64 = y.double(), k.double(), torch.full((1, 1, 1, 1), 1e-5, dtype=torch.float64)
start = y64.repeat_interleave(2, -1).repeat_interleave(2, -2)
z = data_step(start, y64, k64, alpha64, 2)
A = Degradation(k64, 2, *start.shape[-2:])
gradient = A.adjoint(A(z) - y64) + alpha64 * (z - start)
print(f"largest gradient: {gradient.abs().max():.1e}")
