"""The public oracle: what the tests compare with where the data folder is missing.

    python tests/oracle/make.py

writes ``tests/oracle/public.npz`` (inputs and outputs) and needs nothing but this package, SciPy and scikit-image.
Inputs are synthetic, weights random by seed, so nothing in it belongs to others. The network and the data step are
the paper's formulas written plainly (``usrnet.model.reference``) in float64; the blur of Table 1 is that of
``scipy.ndimage``, the bicubic shrinking MATLAB's rule in matrices, PSNR and SSIM scikit-image's. The border is this
package's own, from a version that agrees with the published code to 1e-6.
"""

from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import convolve, gaussian_filter

from usrnet.model import CONFIGS, USRNet
from usrnet.model.reference import PublishedDataStep, published_form

FILE = Path(__file__).with_name("public.npz")


def random_model(seed: int = 0) -> USRNet:
    """The tiny network with weights that depend on the seed alone, on every system and with every version.

    ``RandomState`` because its stream is frozen for good. α grows from 1e-5 to 0.3 and β falls from 0.3 to 1e-3,
    about as in a trained network, so that the digits of the data step are tested where they get lost.
    """
    rng = np.random.RandomState(seed)
    model = USRNet(CONFIGS["usrnet-tiny"])
    state = {}
    for name, value in model.state_dict().items():
        fan_in = max(1, value[0].numel())
        numbers = rng.standard_normal(tuple(value.shape)) * (0.6 / np.sqrt(fan_in))
        state[name] = torch.from_numpy(numbers).to(value.dtype)
    last, count = "h.mlp.4.bias", model.config.n_iter
    wanted = np.concatenate([np.geomspace(1e-5, 0.3, count), np.geomspace(0.3, 1e-3, count)])
    state[last] = torch.from_numpy(np.log(np.expm1(wanted))).float()
    state[last.replace("bias", "weight")] *= 0.1
    model.load_state_dict(state)
    return model.eval()


def picture(rng: np.random.RandomState, height: int, width: int) -> np.ndarray:
    """Blobs with sharp edges, some texture: H×W×3 uint8."""
    blobs = gaussian_filter(rng.standard_normal((height, width, 3)), (4, 4, 0.7), mode="wrap")
    edges = (blobs > 0.02) * 0.5 + (blobs > -0.06) * 0.3
    fine = gaussian_filter(rng.standard_normal((height, width, 3)), (1, 1, 0.5), mode="wrap")
    return (255 * (edges + 0.1 + 0.15 * fine).clip(0, 1)).round().astype(np.uint8)


def matlab_shrink(image: np.ndarray, scale: int) -> np.ndarray:
    """MATLAB's ``imresize(image, 1/scale)``: the cubic (a = −1/2) stretched by s, one row of weights per pixel."""

    def weights(length: int) -> np.ndarray:
        count = length // scale
        centre = (np.arange(count)[:, None] + 0.5) * scale - 0.5
        taps = np.arange(-2 * scale - 2, length + 2 * scale + 2)
        t = np.abs(taps - centre) / scale
        cubic = np.where(
            t <= 1, 1.5 * t**3 - 2.5 * t**2 + 1, np.where(t < 2, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2, 0)
        )
        cubic /= cubic.sum(axis=1, keepdims=True)
        mirrored = np.where(taps < 0, -1 - taps, np.where(taps >= length, 2 * length - 1 - taps, taps))
        matrix = np.zeros((count, length))
        for row in range(count):
            np.add.at(matrix[row], mirrored, cubic[row])
        return matrix

    height, width = (length // scale * scale for length in image.shape[:2])
    return np.einsum("ih,hwc,jw->ijc", weights(height), image[:height, :width], weights(width))


def make() -> dict[str, np.ndarray]:
    """All arrays of the file by name."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    from usrnet.restoration.borders import extend

    rng = np.random.RandomState(1)
    arrays: dict[str, np.ndarray] = {}
    model = random_model().double()
    for scale, (height, width) in {1: (29, 34), 2: (17, 22), 3: (13, 14), 4: (11, 12)}.items():
        lr = np.stack([picture(rng, height, width) for _ in range(2)]).transpose(0, 3, 1, 2) / 255
        kernel = rng.random_sample((2, 1, 9, 8)) ** 4
        kernel /= kernel.sum((-2, -1), keepdims=True)
        sigma = np.array([0.0, 7.65 / 255]).reshape(2, 1, 1, 1)
        alpha = np.array([1e-5, 0.3]).reshape(2, 1, 1, 1)
        y, k = torch.from_numpy(lr), torch.from_numpy(kernel)
        with torch.inference_mode():
            out = published_form(model, y, k, scale, torch.from_numpy(sigma))
            start = torch.nn.functional.interpolate(y, scale_factor=scale, mode="nearest")
            z = PublishedDataStep(y, k, scale)(start, torch.from_numpy(alpha))
        name = f"s{scale}"
        arrays |= {f"{name}_lr": lr, f"{name}_kernel": kernel, f"{name}_sigma": sigma, f"{name}_alpha": alpha}
        arrays |= {f"{name}_out": out.numpy().astype(np.float32), f"{name}_z": z.numpy().astype(np.float32)}
    image = picture(rng, 48, 60)
    taps = rng.random_sample((15, 15)) ** 6
    taps /= taps.sum()
    blurred = np.stack([convolve(image[..., channel], taps, mode="wrap") for channel in range(3)], axis=-1)
    arrays |= {"image": image, "taps": taps}
    for scale in (2, 3, 4):
        arrays[f"table1_x{scale}"] = blurred[::scale, ::scale]
        arrays[f"bicubic_x{scale}"] = matlab_shrink(image / 255, scale)
    structure = structural_similarity(
        image.astype(float), blurred.astype(float), data_range=255, channel_axis=-1,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    arrays["psnr"] = np.array(peak_signal_noise_ratio(image, blurred))
    arrays["ssim"] = np.array(structure)
    planes = torch.from_numpy(image / 255).permute(2, 0, 1)
    arrays["extended"] = extend(planes, 60, 72).permute(1, 2, 0).numpy().astype(np.float32)
    return arrays


if __name__ == "__main__":
    np.savez_compressed(FILE, **make())  # pyright: ignore[reportArgumentType]
    print(f"{FILE}: {FILE.stat().st_size / 2**20:.2f} MB")  # noqa: T201
