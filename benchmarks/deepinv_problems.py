"""Our model beside deepinv's own methods on its problems: python benchmarks/deepinv_problems.py FOLDER [--model M]

Needs deepinv. Two problems, both circular, noise 2.55: a Gaussian blur of width 1.6 (``BlurFFT``), and ×2 with the
same blur, placed for the scale (``Downsampling``). Prints the mean PSNR in dB of 128×128 from the middle. Methods
whose weights are not at hand are not run: DPIR and plug-and-play with DRUNet, RAM.
"""

import argparse
import time
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import usrnet

warnings.simplefilter("ignore")  # of deepinv, about itself
import deepinv as dinv  # noqa: E402

from usrnet.interop.deepinv import USRNetDenoiser, USRNetReconstructor  # noqa: E402

SIGMA, SIDE = 2.55 / 255, 128
STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2)  # of the regularisers, the best one counts


def problems() -> dict[str, dinv.physics.LinearPhysics]:
    noise = dinv.physics.GaussianNoise(SIGMA, rng=torch.Generator().manual_seed(0))
    kernels = {s: torch.from_numpy(usrnet.kernels.gaussian(1.6, scale=s)).float()[None, None] for s in (1, 2)}
    size = (3, SIDE, SIDE)
    return {
        "blur": dinv.physics.BlurFFT(img_size=size, filter=kernels[1], noise_model=noise),
        "×2": dinv.physics.Downsampling(img_size=size, filter=kernels[2], factor=2, noise_model=noise),
    }


def tv(y: Tensor, physics: dinv.physics.LinearPhysics, strength: float) -> Tensor:
    """Total variation by deepinv's own proximal gradient method, as in its examples."""
    method = dinv.optim.FISTA(
        data_fidelity=dinv.optim.L2(), prior=dinv.optim.TVPrior(n_it_max=30), lambda_reg=strength, stepsize=1.0,
        max_iter=60,
    )  # fmt: skip
    return method(y, physics)


def psnr(x: Tensor, truth: Tensor) -> float:
    return float(-10 * (x.clamp(0, 1) - truth).square().mean().log10())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", action="append", default=["default"])
    options = parser.parse_args()
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    for path in sorted(options.folder.glob("*.png")):
        pixels = usrnet.io.read(path).pixels
        top, left = (pixels.shape[0] - SIDE) // 2, (pixels.shape[1] - SIDE) // 2
        part = np.broadcast_to(
            pixels[top : top + SIDE, left : left + SIDE].reshape(SIDE, SIDE, -1)[..., :3], (SIDE, SIDE, 3)
        )
        truth = torch.from_numpy(part.copy()).permute(2, 0, 1)[None].float() / 255
        for name, physics in problems().items():
            y = physics(truth)
            methods = {"A†y": lambda y=y, p=physics: p.A_dagger(y)}
            for model in options.model:
                methods[f"usrnet {Path(model).stem}"] = lambda y=y, p=physics, m=model: USRNetReconstructor(m)(y, p)
            methods["usrnet tv"] = lambda y=y, p=physics: USRNetReconstructor("tv")(y, p)
            methods["DPIR, our denoiser"] = lambda y=y, p=physics: dinv.optim.DPIR(SIGMA, USRNetDenoiser("default"))(
                y, p
            )
            for strength in STRENGTHS:
                methods[f"deepinv TV {strength:g}"] = lambda y=y, p=physics, s=strength: tv(y, p, s)
                if name == "blur":
                    wiener = dinv.models.WienerDeconvolution(lambda_reg=strength, prior="laplacian")
                    methods[f"deepinv Wiener {strength:g}"] = lambda y=y, p=physics, w=wiener: w(y, p)
            for method, run in methods.items():
                begin = time.perf_counter()
                with torch.no_grad():
                    found[method, name].append(psnr(run(), truth))
                seconds[method] += time.perf_counter() - begin
    for method in dict.fromkeys(method for method, _ in found):
        values = "  ".join(f"{name} {np.mean(found[method, name]):.2f}" for name in problems() if found[method, name])
        print(f"{method:24} {values}  ({seconds[method]:.1f} s)")


if __name__ == "__main__":
    main()
