"""An exported file in onnxruntime against the package itself in float32, in turns in one run.

    python benchmarks/runtimes.py [--architecture usrnet-tiny] [--side 256] [--pairs 7]

The problem of `usrnet bench`: a random picture of half the side at ×2, a Gaussian of width 1.6, noise 2.55. The ratio
is our time divided by that of onnxruntime, the median over the pairs, with the quartiles; both with all cores. On a
machine that does other things too, take one thread and ``--clock processor``.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version

import torch

from usrnet.bench import Problem, hardware
from usrnet.export import OnnxNetwork, to_onnx
from usrnet.model import CONFIGS, USRNet

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def timed(run: Callable[[], object], clock: Callable[[], float]) -> float:
    begin = clock()
    with torch.inference_mode():
        run()
    return clock() - begin


def measure(architecture: str, side: int, pairs: int, clock: Callable[[], float]) -> str:
    problem = Problem(architecture, side, torch.device("cpu"))
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = to_onnx(USRNet(CONFIGS[architecture]).eval(), f"{folder}/x2.onnx", scale=2)
        network = OnnxNetwork(path, threads=torch.get_num_threads())
    y, kernel, scale, sigma = problem.arguments()
    assert scale == network.scale
    arrays = y.numpy(), kernel.numpy(), sigma.numpy()
    ours = problem.runner("fp32")
    with torch.inference_mode():
        difference = float((ours() - torch.from_numpy(network(*arrays))).abs().max())  # the first round, not counted
    seconds: dict[str, list[float]] = {"ours": [], "onnxruntime": []}
    for _ in range(pairs):
        seconds["ours"].append(timed(ours, clock))
        seconds["onnxruntime"].append(timed(lambda: network(*arrays), clock))
    ratios = [one / other for one, other in zip(*seconds.values(), strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    times = [1000 * statistics.median(values) for values in seconds.values()]
    return (
        f"| {architecture} | {side}×{side} | {times[0]:.0f} | {times[1]:.0f} | {middle:.2f} "
        f"| {low:.2f} to {high:.2f} | {difference:.0e} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", action="append", choices=list(CONFIGS))
    parser.add_argument("--side", action="append", type=int)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    options = parser.parse_args()
    print(f"{hardware(torch.device('cpu'))}, torch {torch.__version__}, onnxruntime {version('onnxruntime')}")
    print(
        "| model | result | usrnet fp32, ms | onnxruntime, ms | its speed, of ours | quartiles | differ by at most |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for architecture in options.architecture or ["usrnet-tiny", "usrnet"]:
        for side in options.side or [256, 512]:
            print(measure(architecture, side, options.pairs, CLOCKS[options.clock]), flush=True)


if __name__ == "__main__":
    main()
