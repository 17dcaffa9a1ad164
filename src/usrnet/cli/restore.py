"""``usrnet restore``: deblur and enlarge pictures."""

import json
import math
import os
import sys
import traceback
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from usrnet.restoration.folder import Outcome
    from usrnet.restoration.jobs import Job, Recipe


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
            help="The blur: delta, gaussian:WIDTH, gaussian:WIDTH1,WIDTH2,DEGREES, motion:SEED, line:LENGTH,DEGREES, "
            "disk:RADIUS, moffat:FWHM,BETA, airy:RADIUS, bicubic, a file (.png .npy .npz .mat .txt .csv .tif .fits; "
            "FILE:INDEX), a grid of kernels (.json, a folder); or auto. [a mild Gaussian that suits clean photos]"
        ),
    ] = None,
    corner_boost: Annotated[
        float, typer.Option(help="How many times as wide the blur is in the corners as in the middle.")
    ] = 1.0,
    noise: Annotated[
        str,
        typer.Option(
            metavar="LEVEL|auto",
            help="Noise level, on the 0-255 scale; or poisson:GAIN,READ: variance GAIN·value + READ².",
        ),
    ] = "2",
    light: Annotated[
        str, typer.Option(help="auto (linear for what a camera took), linear (a lens blurred light) or stored.")
    ] = "auto",
    saturation: Annotated[
        str, typer.Option(help="auto, off, or the value of 255 from which pixels are clipped.")
    ] = "auto",
    strength: Annotated[float, typer.Option(help="0 to 100: 0 is the plain enlargement.")] = 100.0,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="The mean over the eight flips and turns; 8 times as slow.")
    ] = False,
    white: Annotated[
        str | None,
        typer.Option(metavar="VALUE|auto", help="The value that is full scale, or auto: the range of the data."),
    ] = None,
    align: Annotated[bool, typer.Option("--align", help="Place a centred kernel file for the scale.")] = False,
    all_pages: Annotated[
        bool,
        typer.Option(
            "--all-pages",
            help="Every picture of a TIFF, FITS or animation; with a file of several kernels one for each channel.",
        ),
    ] = False,
    strip: Annotated[bool, typer.Option("--strip", help="Leave out EXIF, place, date and descriptions.")] = False,
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
    left alone; if it was made with other settings that is an error. One bad picture does not stop the others.
    """
    from usrnet import io
    from usrnet.atomic import ensure_writable
    from usrnet.cli.progress import progress_bar
    from usrnet.cli.usage import refuse
    from usrnet.device import describe_device, keep_freed_memory
    from usrnet.errors import UsrnetError, UsrnetWarning
    from usrnet.kernels import is_grid, split_index
    from usrnet.restoration import (
        AUTO,
        Handling,
        Restorer,
        ask,
        ask_channels,
        default_kernel,
        restore_pictures,
        sort_out,
    )
    from usrnet.restoration.jobs import Recipe
    from usrnet.restoration.light import Light
    from usrnet.restoration.noise import parse_noise

    from_files = kernel is not None and (split_index(kernel) or is_grid(kernel))
    if align and not from_files:
        refuse(["--align"], reason=f"only for kernel files, and {kernel or default_kernel(scale)} is none")
    handling = Handling(white=io.parse_white(white), all_pages=all_pages, strip=strip)
    said: dict[str, Any] = {
        "scale": scale, "noise_level": noise, "light": cast(Light, light), "saturation": saturation,
        "corner_boost": corner_boost, "align": align,
    }  # fmt: skip
    several = all_pages and kernel != AUTO
    known = ask_channels(kernel=kernel, **said) if several else ask(kernel=kernel, **said)
    if scale == 1 and kernel is None:
        note = "--scale 1 without --kernel takes the picture for almost sharp: say its blur, or --kernel auto"
        warnings.warn(note, UsrnetWarning, stacklevel=2)
    level = noise if noise == AUTO else parse_noise(noise)
    level = level if isinstance(level, float) else noise
    asked = {"light": light, "saturation": saturation, "strength": strength, "corners": corner_boost}
    usual = {"light": "auto", "saturation": "auto", "strength": 100.0, "corners": 1.0}
    options = [f"{name} {value}" for name, value in asked.items() if value != usual[name]]
    options += ["ensemble"] * ensemble + ["align"] * align + ["strip"] * strip
    options += [f"white {white}"] if white is not None else []
    recipe = Recipe.of_settings(scale, kernel or default_kernel(scale), level, model, ", ".join(options))
    recipe = replace(recipe, all_pages=all_pages)
    jobs = plan(inputs, output, recipe, recursive=recursive)
    if as_json and any(job.target is sys.stdout.buffer for job in jobs):
        raise UsrnetError("--json and a picture cannot both go to standard output")

    todo, settled = sort_out(jobs, overwrite=overwrite)
    settings = {"scale": scale, "kernel": kernel or default_kernel(scale), "noise_level": level, "model": model}
    report = Report(settings, as_json)
    for outcome in settled:
        report.add(outcome)
    if todo:
        if output not in (None, "-"):
            target = Path(output)
            ensure_writable(target.parent if any(job.target == target for job in todo) else target)
        keep_freed_memory()
        if threads:
            import torch

            torch.set_num_threads(threads)
        restorer = Restorer(
            model, tile=tile, precision=precision, device=device, strength=strength, ensemble=ensemble
        )
        report.device, report.precision = str(restorer.device), restorer.precision
        say(f"{model} on {describe_device(restorer.device)}, {restorer.precision}")
        with progress_bar() as bar:
            files = bar.add_task("pictures", total=len(todo), visible=len(todo) > 1)
            task = bar.add_task("", total=None)

            def step(job: "Job", done: int, total: int) -> None:
                bar.update(task, description=Path(job.names[0]).name, completed=done, total=total)

            limit = io.DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels
            for outcome in restore_pictures(
                restorer, todo, known, handling=handling, max_pixels=limit, progress=step
            ):
                bar.advance(files)
                report.add(outcome)
    if report.failures:
        say(f"usrnet: {report.failures} of {len(jobs)} pictures failed")
        raise typer.Exit(1)


def say(text: str) -> None:
    print(text, file=sys.stderr)


@dataclass
class Report:
    """What is said of every picture: sentences on standard error, or objects on standard output.

    ``settings`` are those that all pictures share, as ``--json`` prints them.
    """

    settings: dict[str, Any]
    as_json: bool
    device: str = ""
    precision: str = ""
    failures: int = 0

    def add(self, outcome: "Outcome") -> None:
        if outcome.status == "written":
            self._written(outcome)
            return
        say(f"usrnet: {outcome.message}" if outcome.error else outcome.message)
        self.failures += outcome.status == "failed"
        if self.as_json:
            self._print(outcome, {"reason": outcome.message})
        if outcome.error and "--debug" in sys.argv:
            say("".join(traceback.format_exception(outcome.error)))

    def _written(self, outcome: "Outcome") -> None:
        from usrnet.restoration import AUTO

        source, target = outcome.job.names
        estimate = outcome.estimate
        if not self.as_json:
            if estimate is not None:
                say(f"{source}: {estimate if self.settings['kernel'] == AUTO else estimate.of_noise()}")
            linear = ", in linear light" if light_of(outcome) == "linear" else ""
            say(f"{source} → {target} ({outcome.seconds:.1f} s{linear})")
            return
        record = {
            **self.settings,
            "light": light_of(outcome),
            "seconds": round(outcome.seconds, 3),
            "peak_mb": None if math.isnan(outcome.peak_mb) else round(outcome.peak_mb, 1),
            "device": self.device,
            "precision": self.precision,
        }
        self._print(outcome, record if estimate is None else {**record, "estimate": estimate.record()})

    def _print(self, outcome: "Outcome", more: dict[str, Any]) -> None:
        source, target = outcome.job.names
        record = {"input": source, "output": target, "status": outcome.status, **more}
        print(json.dumps(record, ensure_ascii=False), flush=True)


def light_of(outcome: "Outcome") -> str:
    """In what a picture was restored."""
    return "stored" if outcome.observation is None else outcome.observation.light


def plan(inputs: list[str], output: str | None, recipe: "Recipe", *, recursive: bool) -> "list[Job]":
    """What is read and written; ``-`` is standard input or output. Raises ``UsrnetError``."""
    from usrnet.cli.usage import before_any_picture
    from usrnet.errors import UsrnetError
    from usrnet.io import kind_of
    from usrnet.restoration.jobs import Job, find_pictures, plan_jobs

    if "-" in inputs:
        if inputs != ["-"]:
            raise UsrnetError("standard input (-) cannot be mixed with files")
        if output in (None, "-"):
            return [Job(sys.stdin.buffer, sys.stdout.buffer, recipe)]
        target = Path(output)
        if output.endswith(("/", os.sep)) or target.is_dir():
            raise UsrnetError(f"{output} is a folder, and what comes from standard input has no name: name a file")
        with before_any_picture():
            kind_of(target, animated=recipe.all_pages)
        return [Job(sys.stdin.buffer, target, recipe)]
    if output == "-":
        if len(inputs) != 1:
            raise UsrnetError("only one picture can be written to standard output")
        return [Job(Path(inputs[0]), sys.stdout.buffer, recipe)]
    found = find_pictures(inputs, recursive=recursive, passed_over=lambda text: print(text, file=sys.stderr))
    with before_any_picture():
        return plan_jobs(found, output, recipe)
