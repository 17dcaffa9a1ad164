"""Memory against size of picture, and what tiles cost in quality.

    python benchmarks/tiles.py [--weights FILE] [--sizes 500,1000,2000] [--scale 4]

Memory: `usrnet restore` runs in a process of its own for every size; its largest resident memory is printed. Without
`--weights` the tiny network is used untrained, which costs the same. Quality: a photo of scikit-image is degraded and
restored at once and in tiles with several halos; printed are the loss in dB, and by how many grey levels of 255 the
two results differ along the seams and elsewhere.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

import usrnet
from usrnet import kernels, metrics, weights
from usrnet.model import USRNet
from usrnet.restoration import restorer

CASES = [("motion:5", 2, 2.55), ("gaussian:2.4", 3, 0.0), ("motion:9", 1, 2.55), ("motion:16", 1, 1.0)]


def memory(model: str, sizes: list[int], scale: int, folder: Path) -> None:
    print("| input | output | peak memory | seconds |\n| --- | --- | --- | --- |")
    photo = Image.fromarray(skimage.data.astronaut())
    for width in sizes:
        height = width * 3 // 4
        source = folder / f"{width}.png"
        photo.resize((width, height)).save(source)
        command = [sys.executable, "-m", "usrnet", "restore", source, "--scale", scale, "--model", model, "--json"]
        run = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        record = json.loads(run.stdout)
        enlarged = f"{width * scale}×{height * scale}"
        print(f"| {width}×{height} | {enlarged} | {record['peak_mb']:.0f} MB | {record['seconds']:.0f} |", flush=True)


def quality(model: str) -> None:
    print("\n| kernel | scale | halo | loss, dB | differs at the seams | elsewhere |")
    print("| --- " * 6 + "|")
    truth, side, border = skimage.data.astronaut()[:504, :504], 168, 24
    network = usrnet.load(model)
    chosen = restorer.HALO_OUTPUT
    for text, scale, noise_level in CASES:
        kernel = kernels.parse(text, scale)
        small = usrnet.degrade(truth, kernel, scale=scale, noise_level=noise_level)
        seams = np.zeros(truth.shape[:2], bool)
        for cut in (side, 2 * side):
            seams[cut - 4 * scale : cut + 4 * scale] = seams[:, cut - 4 * scale : cut + 4 * scale] = True
        inner = (slice(border, -border),) * 2

        run = partial(
            usrnet.restore, small, model=network, scale=scale, kernel=kernel, noise_level=noise_level,
            precision="fp32",
        )  # fmt: skip
        whole = run(tile="off")
        for halo in (0, 16, 56, 80):
            restorer.HALO_OUTPUT = halo
            tiled = run(tile=side // scale)
            loss = metrics.psnr(whole, truth, border=border) - metrics.psnr(tiled, truth, border=border)
            apart = np.abs(tiled.astype(float) - whole).mean(axis=-1)[inner]
            at, off = apart[seams[inner]].mean(), apart[~seams[inner]].mean()
            print(f"| {text} | {scale} | {halo} | {loss:+.4f} | {at:.3f} | {off:.3f} |", flush=True)
        restorer.HALO_OUTPUT = chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="name or file of a trained model; the quality part needs one")
    parser.add_argument("--sizes", default="500,1000,2000", help="widths of the pictures")
    parser.add_argument("--scale", type=int, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = arguments.weights or str(weights.save(USRNet(), folder / "untrained.safetensors"))
        memory(model, [int(size) for size in arguments.sizes.split(",")], arguments.scale, folder)
    if arguments.weights:
        quality(arguments.weights)


if __name__ == "__main__":
    main()
