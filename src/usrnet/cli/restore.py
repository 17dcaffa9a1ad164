"""``usrnet restore``: deblur and enlarge pictures."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer


def restore(
    inputs: Annotated[
        list[str], typer.Argument(metavar="IN...", help="Pictures, globs, folders, or - for standard input.")
    ],
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="File or folder; - is standard output. [beside IN]")
    ] = None,
    scale: Annotated[int, typer.Option(help="Scale factor, 1 to 4; 1 deblurs.")] = 2,
    model: Annotated[str, typer.Option(help="Name or file of the model (see `usrnet models list`).")] = "default",
    kernel: Annotated[
        str | None,
        typer.Option(
            help="The blur: delta, gaussian:WIDTH, gaussian:WIDTH1,WIDTH2,DEGREES, motion:SEED, bicubic, or a "
            "file (.png .npy .mat .txt, FILE.mat:INDEX). [a mild Gaussian that suits clean photos]"
        ),
    ] = None,
    noise: Annotated[float, typer.Option(help="Noise level, on the 0-255 scale.")] = 2.0,
    tile: Annotated[str, typer.Option(help="auto, off, or the side of a tile in pixels of IN.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads on a CPU. [all cores]")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="Look into the folders of folders.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Restore again what is already there.")] = False,
    max_pixels: Annotated[
        int | None, typer.Option(help="Refuse pictures with more pixels than this. [about 179 million]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per picture.")] = False,
) -> None:
    """Deblur, denoise and enlarge pictures.

    The result is NAME_x2.png beside the picture, unless -o says otherwise. A result that is already there is
    left alone. One bad picture does not stop the others.
    """
    from usrnet import io
    from usrnet.cli.progress import progress_bar
    from usrnet.degradation import check_noise_level, check_scale
    from usrnet.errors import PictureError, UsrnetError
    from usrnet.restoration.jobs import find_pictures, plan_jobs

    check_scale(scale)
    check_noise_level(noise)
    limit = io.DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels
    jobs: list[tuple[str, Path | BinaryIO, Path | BinaryIO]]
    if "-" in inputs:
        if inputs != ["-"]:
            raise UsrnetError("standard input (-) cannot be mixed with files")
        jobs = [("-", sys.stdin.buffer, sys.stdout.buffer if output in (None, "-") else Path(output))]
    elif output == "-":
        if len(inputs) != 1:
            raise UsrnetError("only one picture can be written to standard output")
        jobs = [(inputs[0], Path(inputs[0]), sys.stdout.buffer)]
    else:
        found = find_pictures(inputs, recursive=recursive)
        planned = plan_jobs(found, Path(output) if output else None, scale=scale)
        jobs = [(str(job.source), job.source, job.target) for job in planned]
    to_stdout = any(target is sys.stdout.buffer for _, _, target in jobs)
    if as_json and to_stdout:
        raise UsrnetError("--json and a picture cannot both go to standard output")

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    if not overwrite:
        done = [target for _, _, target in jobs if isinstance(target, Path) and target.exists()]
        for target in done:
            say(f"{target}: already there, left alone (--overwrite restores it again)")
        jobs = [job for job in jobs if job[2] not in done]
        if not jobs:
            return

    import torch

    from usrnet.device import describe_device, keep_freed_memory
    from usrnet.restoration import Restorer, default_kernel, restore_file

    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    restorer = Restorer(
        model, scale=scale, kernel=kernel, noise_level=noise, tile=tile, precision=precision, device=device
    )
    say(f"{model} on {describe_device(restorer.device)}, {restorer.precision}")
    failures = 0
    with progress_bar() as bar:
        files = bar.add_task("pictures", total=len(jobs), visible=len(jobs) > 1)
        for name, source, target in jobs:
            task = bar.add_task(Path(name).name, total=None)

            def step(done: int, total: int, task: Any = task) -> None:
                bar.update(task, completed=done, total=total)

            try:
                if isinstance(target, Path):
                    target.parent.mkdir(parents=True, exist_ok=True)
                seconds, peak = restore_file(restorer, source, target, max_pixels=limit, progress=step)
            except (PictureError, OSError) as error:
                failures += 1
                say(f"usrnet: {error}" if name in str(error) else f"usrnet: {name}: {error}")
                continue
            finally:
                bar.remove_task(task)
                bar.advance(files)
            written = str(target) if isinstance(target, Path) else "-"
            if as_json:
                record = {
                    "input": name,
                    "output": written,
                    "scale": scale,
                    "kernel": kernel or default_kernel(scale),
                    "noise_level": noise,
                    "model": model,
                    "seconds": round(seconds, 3),
                    "peak_mb": round(peak, 1),
                    "device": str(restorer.device),
                    "precision": restorer.precision,
                }
                print(json.dumps(record, ensure_ascii=False), flush=True)
            else:
                say(f"{name} → {written} ({seconds:.1f} s)")
    if failures:
        say(f"usrnet: {failures} of {len(jobs)} pictures failed")
        raise typer.Exit(1)
