"""The whole Table 1 of a folder, by `usrnet evaluate` and by a plain implementation, as a ratio in one run.

    python benchmarks/table.py FOLDER --kernels kernels_12.mat --model usrnet_tiny.pth

Plain: `scipy.ndimage.convolve` of the whole picture, the published formulas in float32 in the default memory layout
(`usrnet.bench.published_form`), PSNR. Picture by picture in turns, on the same rows; the scores are compared too.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import convolve

from usrnet import kernels, metrics, weights
from usrnet.evaluate import published_rows
from usrnet.evaluate.run import Evaluation
from usrnet.io import join, read_rgb
from usrnet.model import USRNet
from usrnet.model.reference import published_form


def plain(cell, model: USRNet) -> float:
    """PSNR of one picture under one degradation, as the published code goes about it."""
    row = cell.row
    truth = read_rgb(cell.path)
    multiple = np.lcm(row.scale, 8)
    height, width = (length // multiple * multiple for length in truth.shape[:2])
    truth = truth[:height, :width]
    small = convolve(truth, row.kernel[0][..., None], mode="wrap")[:: row.scale, :: row.scale] / 255
    small = small + np.random.RandomState(0).normal(0, row.noise_level / 255, small.shape)
    y = torch.from_numpy(small.transpose(2, 0, 1)[None]).float()
    sigma = torch.full((1, 1, 1, 1), row.noise_level / 255)
    with torch.inference_mode():
        x = published_form(model, y, torch.from_numpy(row.kernel[None]).float(), row.scale, sigma)
    restored = join(x[0].permute(1, 2, 0).numpy(), None, like=truth)
    return metrics.psnr(restored, truth, border=row.scale**2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kernels", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--output", type=Path, default=Path("unused"))
    parser.add_argument("--every", type=int, default=1, help="only every N-th restoration")
    arguments = parser.parse_args()
    rows = published_rows("table1", kernels.load_all(arguments.kernels), [2, 3, 4], [0.0])
    evaluation = Evaluation(
        "table1", arguments.folder, rows, [arguments.model], precision=arguments.precision, examples=0
    )
    model = weights.load(arguments.model)
    assert isinstance(model, USRNet)
    taken = {"plain": 0.0, "ours": 0.0}
    worst = 0.0
    cells = evaluation.cells[:: arguments.every]
    cells[0].measure(arguments.output)  # what is loaded once is not counted
    for cell in cells:
        begin = time.perf_counter()
        theirs = plain(cell, model)
        taken["plain"] += time.perf_counter() - begin
        begin = time.perf_counter()
        [record] = cell.measure(arguments.output)
        taken["ours"] += time.perf_counter() - begin
        worst = max(worst, abs(record["psnr"] - theirs))
    share = taken["ours"] / taken["plain"]
    print(f"{len(cells)} restorations: {share:.2f} of the time of the plain implementation")
    print(f"largest difference of PSNR: {worst:.4f} dB")


if __name__ == "__main__":
    main()
