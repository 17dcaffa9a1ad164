"""Our model beside deepinv's own methods on its problems: python benchmarks/deepinv_problems.py [--model M]

Needs deepinv. Three problems as it makes them, all circular, with noise of 2.55 of 255: its Gaussian blur of width 2
(``BlurFFT``), and ×2 after its Gaussian and its bicubic filter (``Downsampling``). Four photos of scikit-image, the
128×128 from the middle. Prints the mean PSNR in dB over all pixels. Tikhonov and Wiener are given the strength that
is best for all photos, chosen by the truth. Methods whose weights are not at hand are not run: DPIR and plug-and-play
with DRUNet, RAM.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from comparison import photos
from torch import Tensor

warnings.simplefilter("ignore")  # of deepinv, about itself
import deepinv as dinv  # noqa: E402

from usrnet.interop.deepinv import USRNetDenoiser, USRNetReconstructor  # noqa: E402

SIGMA, SIDE = 2.55 / 255, 128
STRENGTHS = {"Tikhonov": np.logspace(-4, -1, 10), "Wiener": np.logspace(-4, -1, 10), "TV": (1e-3,)}
Method = Callable[[Tensor, dinv.physics.LinearPhysics], Tensor]


def problems() -> dict[str, dinv.physics.LinearPhysics]:
    noise = dinv.physics.GaussianNoise(SIGMA, rng=torch.Generator().manual_seed(0))
    size, gaussian = (3, SIDE, SIDE), dinv.physics.blur.gaussian_blur(sigma=(2, 2))
    return {
        "blur": dinv.physics.BlurFFT(img_size=size, filter=gaussian, noise_model=noise),
        **{
            f"×2 {name}": dinv.physics.Downsampling(img_size=size, filter=name, factor=2, noise_model=noise)
            for name in ("gaussian", "bicubic")
        },
    }


def tikhonov(strength: float) -> Method:
    """``argmin ‖Ax − y‖² / 2 + strength ‖x‖² / 2``, in closed form by deepinv."""
    return lambda y, physics: physics.prox_l2(torch.zeros_like(physics.A_adjoint(y)), y, 1 / strength)


def wiener(strength: float) -> Method:
    return dinv.models.WienerDeconvolution(lambda_reg=strength, prior="laplacian")


def tv(strength: float) -> Method:
    """Total variation by deepinv's own proximal gradient method, as in its examples."""
    return dinv.optim.FISTA(
        data_fidelity=dinv.optim.L2(), prior=dinv.optim.TVPrior(n_it_max=30), lambda_reg=strength, stepsize=1.0,
        max_iter=60,
    )  # fmt: skip


def psnr(x: Tensor, truth: Tensor) -> float:
    return float(-10 * (x.clamp(0, 1) - truth).square().mean().log10())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", default=["default"])
    options = parser.parse_args()
    methods: dict[str, list[Method]] = {
        f"usrnet, {Path(model).stem}": [USRNetReconstructor(model).eval()] for model in options.model
    }
    methods["usrnet, tv"] = [USRNetReconstructor("tv")]
    methods["deepinv, A†y"] = [lambda y, physics: physics.A_dagger(y)]
    for name, make in {"Tikhonov": tikhonov, "Wiener": wiener, "TV": tv}.items():
        methods[f"deepinv, {name}"] = [make(float(strength)) for strength in STRENGTHS[name]]
    denoiser = USRNetDenoiser("default")
    methods["deepinv, DPIR with our denoiser"] = [
        lambda y, physics: dinv.optim.DPIR(SIGMA, denoiser, device="cpu")(y, physics)
    ]
    corner = (len(photos()[0]) - SIDE) // 2
    inside = slice(corner, corner + SIDE)
    print("| method | " + " | ".join(problems()) + " | seconds an image |")
    print("| --- " * (len(problems()) + 2) + "|")
    for method, variants in methods.items():
        best: dict[str, float] = {}
        seconds = []
        for name in problems():
            if "Wiener" in method and name != "blur":
                continue
            means = []
            for run in variants:
                values = []
                for photo in photos():
                    truth = torch.from_numpy(photo[inside, inside].copy()).permute(2, 0, 1)[None].float() / 255
                    physics = problems()[name]  # anew, so that all methods get the same noise
                    y = physics(truth)
                    begin = time.perf_counter()
                    with torch.no_grad():
                        values.append(psnr(run(y, physics), truth))
                    seconds.append(time.perf_counter() - begin)
                means.append(float(np.mean(values)))
            best[name] = max(means)
        cells = [f"{best[name]:.2f}" if name in best else "" for name in problems()]
        print(f"| {method} | " + " | ".join(cells) + f" | {np.mean(seconds):.2f} |", flush=True)


if __name__ == "__main__":
    main()
