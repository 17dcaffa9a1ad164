"""The gallery: what one model does to different scales, blurs, large kernels and real pictures.

    python examples/gallery.py OUT [--model default] [--data ../shared/data]

Without `--data` the pictures are made from photos of scikit-image and go to the docs. With the folder of the
published test pictures, the figures of the published README are made from those, in its order.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import usrnet
from usrnet import io, kernels, metrics
from usrnet.figures.drawing import sheet, with_kernel
from usrnet.restoration import Boundary, Restorer


def save(path: Path, picture: np.ndarray) -> None:
    """Write a sheet as a JPEG of high quality: photos as PNG would be too large for the docs."""
    Image.fromarray(picture).save(path, quality=92, subsampling=0)


def observed(small: np.ndarray, kernel: np.ndarray, scale: int) -> np.ndarray:
    """The small picture pixel by pixel in the size of the result, its kernel in the corner."""
    return with_kernel(io.enlarge_nearest(small, scale), kernel)


def spoil_and_restore(
    truth: np.ndarray, kernel: np.ndarray, scale: int, noise_level: float, model: str
) -> list[tuple[str, np.ndarray]]:
    """Input with its kernel, result, truth: one row of a sheet. The border, where the blur wraps, is cut off."""
    small = usrnet.degrade(truth, kernel, scale=scale, noise_level=noise_level)
    margin = -(-max(kernel.shape) // scale)
    small, truth = small[margin:-margin, margin:-margin], truth[scale * margin : -scale * margin,
                                                                scale * margin : -scale * margin]  # fmt: skip
    out = usrnet.restore(small, model=model, scale=scale, kernel=kernel, noise_level=noise_level)
    psnr = metrics.psnr(out, truth, border=scale**2)
    return [
        (f"x{scale}, noise {noise_level:g}", observed(small, kernel, scale)),
        (f"restored, {psnr:.2f} dB", out),
        ("truth", truth),
    ]


def right_and_wrong_kernel(truth: np.ndarray, model: str) -> list[tuple[str, np.ndarray]]:
    """Deblurring works with the kernel that blurred the picture, and with no other."""
    kernel, other = kernels.motion(16), kernels.motion(5)
    small = usrnet.degrade(truth, kernel, scale=1, noise_level=2.55)[25:-25, 25:-25]
    truth = truth[25:-25, 25:-25]
    row = [("blurred by the kernel in the corner", observed(small, kernel, 1))]
    for name, used in (("restored with this kernel", kernel), ("with another one", other)):
        out = usrnet.restore(small, model=model, scale=1, kernel=used, noise_level=2.55)
        row.append((f"{name}, {metrics.psnr(out, truth, border=1):.2f} dB", out))
    return row


def up_to_the_border(truth: np.ndarray, model: str) -> list[tuple[str, np.ndarray]]:
    """A detail of a photo, whose blur brought light from beyond the border: Liu and Jia's border, and ours."""
    kernel = kernels.motion(16)
    cut = max(kernel.shape)
    small = usrnet.degrade(truth, kernel, scale=1, noise_level=1)[cut:-cut, cut:-cut]
    truth = truth[cut:-cut, cut:-cut]
    row = [("blurred, cut out", observed(small, kernel, 1))]
    choices: dict[str, Boundary] = {"smooth border": "liu-jia", "border from the blur": "extrapolate"}
    for name, boundary in choices.items():
        out = Restorer(model, boundary=boundary)(small, scale=1, kernel=kernel, noise_level=1)
        row.append((f"{name}, {metrics.psnr(out, truth):.2f} dB", out))
    return row


def chip(scale: int = 4) -> np.ndarray:
    """A small noisy picture of a chip, drawn: what it is after a lens and a sensor of few pixels, h×w×3 uint8."""
    fine = 4  # drawn so much finer, for smooth edges
    width, height = 128 * scale * fine, 60 * scale * fine
    unit = width / 128
    board = Image.new("RGB", (width, height), (72, 58, 46))
    draw = ImageDraw.Draw(board)
    for pin in range(14):
        left = (6 + 8.6 * pin) * unit
        draw.rectangle((left, 44 * unit, left + 3.4 * unit, 60 * unit), (168, 166, 160))
        draw.rectangle((left, 44 * unit, left + 1.1 * unit, 60 * unit), (228, 226, 220))
    draw.rounded_rectangle((-10 * unit, -10 * unit, 140 * unit, 45 * unit), 2 * unit, (46, 46, 52))
    draw.rectangle((-10 * unit, 43 * unit, 140 * unit, 45 * unit), (26, 26, 30))
    draw.ellipse((5 * unit, 33 * unit, 11 * unit, 39 * unit), (34, 34, 38), (70, 70, 78), round(0.6 * unit))
    for text, x, y, size in (("UNFOLD", 16, 2, 15), ("USR2003-104", 16, 17, 13), ("28 · 1..4", 18, 31, 11)):
        draw.text((x * unit, y * unit), text, (206, 204, 196), ImageFont.load_default(size * unit))
    turned = board.rotate(5, Image.Resampling.BICUBIC, fillcolor=(60, 52, 46))
    sharp = np.asarray(turned.resize((128 * scale, 60 * scale), Image.Resampling.BOX))
    small = usrnet.degrade(sharp, "gaussian:2.4", scale=scale, noise_level=9, seed=3)
    return small[4:-4, 6:-6]


def one_picture_four_scales(out: Path, model: str) -> None:
    """The published README's chip, as one that anybody may copy: widths 0.6, 0.9, 1.7 and 2.2, noise 15."""
    small = chip()
    results = [
        (f"x{scale}, width {width:g}",
         usrnet.restore(small, model=model, scale=scale, kernel=f"gaussian:{width}", noise_level=15))
        for scale, width in ((1, 0.6), (2, 0.9), (3, 1.7), (4, 2.2))
    ]  # fmt: skip
    height, width = (4 * length for length in small.shape[:2])
    plain = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    first = [("input, pixel by pixel", io.enlarge_nearest(small, 4)), ("bicubic, x4", plain)]
    picture = sheet([first, [results[2], results[3]], results[:2]])
    Image.fromarray(picture).quantize(256).save(out / "gallery_chip.png", optimize=True)


def collages(out: Path, side: int = 96, count: int = 6) -> None:
    """Patches of photos, and collages of them as training makes them, pixels twice as large."""
    import skimage.data
    import torch

    from usrnet.train import collage

    rng = np.random.default_rng(5)
    photos = [skimage.data.chelsea(), skimage.data.coffee(), skimage.data.rocket(), skimage.data.astronaut()]
    patches = []
    for photo in (photos * count)[:count]:
        top, left = (int(rng.integers(length - side)) for length in photo.shape[:2])
        patches.append(photo[top : top + side, left : left + side])
    sharp = torch.from_numpy(np.stack(patches).astype(np.float32) / 255).permute(0, 3, 1, 2)
    rows = [sharp, *(collage.collages(sharp, np.ones(count, bool), rng) for _ in range(2))]
    picture = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1).permute(1, 2, 0).numpy()
    save(out / "collages.jpg", io.enlarge_nearest((picture * 255).round().astype(np.uint8), 2))


def from_free_photos(out: Path, model: str) -> None:
    """The figures of the docs, from photos of scikit-image."""
    import skimage.data

    chelsea, astronaut = skimage.data.chelsea()[:288, 90:378], skimage.data.astronaut()[:312, 100:412]
    choices = [
        (2, kernels.motion(3), 0.0),
        (3, kernels.gaussian(2.4, 1.0, 30), 2.55),
        (4, kernels.gaussian(1.8), 0.0),
    ]
    rows = [spoil_and_restore(chelsea, kernel, scale, noise, model) for scale, kernel, noise in choices]
    save(out / "gallery_scales.jpg", sheet(rows))
    save(out / "gallery_deblurring.jpg", sheet([right_and_wrong_kernel(astronaut, model)]))
    save(out / "gallery_border.jpg", sheet([up_to_the_border(skimage.data.coffee()[60:370, 170:480], model)]))
    rocket, coffee = skimage.data.rocket()[60:348, 170:458], skimage.data.coffee()[60:348, 180:468]
    blurs = [
        (astronaut[:288, :288], "disk:6", 1.0),
        (rocket, "line:15,30", 2.55),
        (coffee, "gaussian:4,1.2,60", 2.55),
    ]
    rows = [spoil_and_restore(photo, kernels.parse(text), 1, noise, model) for photo, text, noise in blurs]
    save(out / "gallery_blurs.jpg", sheet(rows))
    large = [
        (skimage.data.coffee()[40:400, 120:520], kernels.motion(18, size=67)),
        (skimage.data.astronaut()[:380, 30:450], kernels.motion(12, size=71)),
    ]
    rows = [spoil_and_restore(photo, kernel, 1, 2.55, model) for photo, kernel in large]
    save(out / "gallery_large_kernel.jpg", sheet(rows))
    one_picture_four_scales(out, model)
    collages(out)


def from_published_pictures(out: Path, model: str, data: Path) -> None:
    """The figures of the published README, in its order."""
    twelve = kernels.load_all(data / "kernels" / "kernels_12.mat")
    butterfly = io.read(data / "set5" / "butterfly.bmp").pixels[:240, :240]
    rows = [
        spoil_and_restore(butterfly, twelve[index], scale, 0.0, model) for scale, index in ((2, 8), (3, 5), (4, 2))
    ]  # fmt: skip
    save(out / "1_scales.jpg", sheet(rows))
    save(out / "2_deblurring.jpg", sheet([right_and_wrong_kernel(butterfly, model)]))
    files = sorted(path for path in (data / "kernels").iterdir() if "12" not in path.name and "bic" not in path.name)
    photo = io.read(data / "set14" / "img_012.png").pixels
    for number, path in enumerate(files):
        row = spoil_and_restore(photo, kernels.load(path), 1, 2.55, model)
        save(out / f"3_large_kernel_{number + 1}.jpg", sheet([row]))
    chip = io.read(data / "real" / "chip.png").pixels
    for scale, width in ((1, 0.6), (2, 0.9), (3, 1.7), (4, 2.2)):
        restored = usrnet.restore(
            chip, model=model, scale=scale, kernel=kernels.gaussian(width, scale=scale), noise_level=15
        )  # fmt: skip
        io.write(out / f"4_chip_x{scale}.png", io.Picture(restored))
    comic = io.read(data / "real" / "comic.png").pixels
    restored = usrnet.restore(comic, model=model, scale=2, kernel=kernels.gaussian(0.7, scale=2), noise_level=2)
    io.write(out / "5_comic_x2.png", io.Picture(restored))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--data", type=Path, help="folder of the published test pictures")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.data:
        from_published_pictures(arguments.out, arguments.model, arguments.data)
    else:
        from_free_photos(arguments.out, arguments.model)
    print("\n".join(map(str, sorted(arguments.out.iterdir()))))


if __name__ == "__main__":
    main()
