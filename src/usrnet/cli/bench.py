"""``usrnet bench``: how fast restoring is on this machine."""

from pathlib import Path
from typing import Annotated

import typer


def bench(
    architecture: Annotated[list[str], typer.Option(help="usrnet-tiny or usrnet; may be repeated.")] = [  # noqa: B006
        "usrnet-tiny"
    ],
    side: Annotated[list[int], typer.Option(help="Side of the result in pixels; may be repeated.")] = [512],  # noqa: B006
    pairs: Annotated[int, typer.Option(min=2, help="How often every mode and the baseline are run in turns.")] = 7,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads on a CPU. [all cores]")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the table to this .md file too.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw it to this .png file. [needs usrnet[viz]]")] = None,
) -> None:
    """Measure speed and memory as ratios to a plain implementation of the published formulas, in the same run."""
    import torch

    from usrnet import bench as library
    from usrnet.atomic import ensure_writable, write_bytes
    from usrnet.cli.usage import check_output
    from usrnet.device import choose_device
    from usrnet.errors import UsrnetError, require
    from usrnet.model import CONFIGS

    if plot:
        require("matplotlib", extra="viz")
    for path in (output, plot):
        if path is not None:
            check_output(path)
            ensure_writable(path.parent)
    for name in architecture:
        if name not in CONFIGS:
            raise UsrnetError(f"architecture {name!r} is not known: choose one of {', '.join(CONFIGS)}")
    for length in side:
        if length < 32 or length % 8:
            raise UsrnetError(f"--side {length}: use a multiple of 8 from 32")
    if threads:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    lines = [f"{library.hardware(chosen)}, torch {torch.__version__}", "", library.HEADER]
    print("\n".join(lines), flush=True)
    measured = []
    for name in architecture:
        for length in side:
            problem = library.Problem(name, length, chosen)
            for measurement in library.measure(problem, library.modes(chosen), pairs=pairs):
                measured.append(measurement)
                lines.append(library.as_markdown(measurement))
                print(lines[-1], flush=True)
    if output:
        write_bytes(output, ("\n".join(lines) + "\n").encode())
    if plot:
        from usrnet.figures.drawing import render, save_png
        from usrnet.figures.speed import speed_figure

        save_png(plot, render(speed_figure(measured, lines[0]), dpi=150))
