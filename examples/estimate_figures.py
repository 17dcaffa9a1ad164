"""Where blur and noise are found and where they are not: the figures of docs/estimate.md.

    python examples/estimate_figures.py OUT [--model default]

Photos of scikit-image are spoiled in ways that are known and restored twice: with what `usrnet.estimate` finds, and
with what is true. Others are enlarged as they are, with the blur that they came with.
"""

import argparse
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from gallery import save, sheet
from PIL import Image

import usrnet
from usrnet import io, kernels, metrics
from usrnet.estimate import noise_to_feed
from usrnet.restoration import Restorer

MARGIN = 12  # pixels of the input at the border, where the blur of `degrade` wraps around


def compressed(pixels: np.ndarray, quality: int) -> Image.Image:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def row(
    name: str, truth: np.ndarray, small: "np.ndarray | Image.Image", kernel: np.ndarray, scale: int, noise: float,
    restorer: Restorer,
) -> list[tuple[str, np.ndarray]]:  # fmt: skip
    """A spoiled picture, restored with what is found in it and with what is true."""
    found = usrnet.estimate(small, scale=scale)
    pixels = np.asarray(small)
    truth = truth[scale * MARGIN : -scale * MARGIN, scale * MARGIN : -scale * MARGIN]
    pictures = [(name, io.enlarge_nearest(pixels[MARGIN:-MARGIN, MARGIN:-MARGIN], scale))]
    fed = noise_to_feed(found.noise_level)
    for said, taps, level in (("found", found.kernel, fed), ("true", kernel, noise)):
        out = restorer(pixels, scale=scale, kernel=taps, noise_level=level, light="stored")
        out = out[scale * MARGIN : -scale * MARGIN, scale * MARGIN : -scale * MARGIN]
        pictures.append((f"{said}: {metrics.psnr(out, truth, y=True):.2f} dB", out))
    print(f"{name}: {found}; " + ", ".join(text for text, _ in pictures[1:]))
    return pictures


def shaken_row(name: str, truth: np.ndarray, kernel: str, restorer: Restorer) -> list[tuple[str, np.ndarray]]:
    """A shaken photo, and restored with the kernel that is found, of which nobody knows where it lies."""
    small = usrnet.degrade(truth, kernel, scale=1, noise_level=2.55)
    found = usrnet.estimate(small, scale=1, restorer=restorer)
    print(f"{name}: {found}")
    fed = noise_to_feed(found.noise_level)
    restored = restorer(small, scale=1, kernel=found.kernel, noise_level=fed, light="stored")
    inside = slice(2 * MARGIN, -2 * MARGIN)
    return [
        (text, picture[inside, inside])
        for text, picture in ((name, small), ("kernel found by the program", restored), ("truth", truth))
    ]


def real_row(name: str, photo: np.ndarray, restorer: Restorer) -> list[tuple[str, np.ndarray]]:
    """A part of a photo, enlarged by two: nobody knows its blur."""
    found = usrnet.estimate(photo, scale=2)
    print(f"{name}: {found}")
    image = Image.fromarray(photo)
    pictures = [(name, np.asarray(image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC)))]
    for said, options in (
        ("default width", {}),
        (f"found: {found.widths[0]:.2f}", {"kernel": found.kernel, "noise_level": noise_to_feed(found.noise_level)}),
    ):
        pictures.append((said, restorer(photo, scale=2, light="stored", **options)))
    return [(text, picture[80:344, 280:544]) for text, picture in pictures]


def two_depths(truth: np.ndarray, scale: int) -> np.ndarray:
    """The left half sharp, the right half out of focus."""
    near, far = (usrnet.degrade(truth, f"gaussian:{width}", scale=scale, noise_level=2) for width in (0.8, 3.0))
    half = near.shape[1] // 2
    return np.concatenate([near[:, :half], far[:, half:]], axis=1)


def rows(restorer: Restorer) -> Sequence[list[tuple[str, np.ndarray]]]:
    import skimage.data

    astronaut, chelsea = skimage.data.astronaut()[:264, 100:364], skimage.data.chelsea()[:264, 90:354]
    coffee, page = skimage.data.coffee()[60:324, 170:434], skimage.data.page()[:168, :264]
    page = np.repeat(page[..., None], 3, axis=2)
    wide, mild = kernels.gaussian(2.2, 1.2, 30, scale=2), kernels.gaussian(1.6, scale=2)

    def spoiled(truth: np.ndarray, kernel: np.ndarray, noise: float) -> np.ndarray:
        return usrnet.degrade(truth, kernel, scale=2, noise_level=noise)

    return [
        row("a photo, x2, noise 3", astronaut, spoiled(astronaut, wide, 3), wide, 2, 3, restorer),
        row("much noise: 25", astronaut, spoiled(astronaut, wide, 25), wide, 2, 25, restorer),
        row(
            "sharp left, soft right", chelsea, two_depths(chelsea, 2), kernels.gaussian(0.8, scale=2), 2, 2, restorer
        ),
        row("JPEG of quality 30", coffee, compressed(spoiled(coffee, mild, 2), 30), mild, 2, 6, restorer),
        row("printed text", page, spoiled(page, mild, 2), mild, 2, 2, restorer),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    import skimage.data

    restorer = Restorer(options.model)
    photos = {"motion:5": skimage.data.astronaut()[:312, 80:392], "motion:3": skimage.data.coffee()[40:352, 130:442]}
    shakes = [shaken_row("shaken, noise 2.55", photo, kernel, restorer) for kernel, photo in photos.items()]
    save(options.out / "estimate_shake.jpg", sheet(shakes))
    real = {
        "coins": skimage.data.coins(),
        "rocket launch": skimage.data.rocket()[:, 120:],
        "Hubble deep field": skimage.data.hubble_deep_field()[:400, 300:700],
        "stained tissue": skimage.data.immunohistochemistry(),
        "printed page": skimage.data.page(),
        "chalk and pen": skimage.data.text(),
    }
    pictures = [real_row(name, photo, restorer) for name, photo in real.items()]
    save(options.out / "estimate_real.jpg", sheet(pictures))
    save(options.out / "estimate_failures.jpg", sheet(rows(restorer)))


if __name__ == "__main__":
    main()
