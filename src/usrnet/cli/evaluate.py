"""``usrnet evaluate``: the published protocols on a folder of pictures."""

import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ProtocolName(StrEnum):
    """What is measured."""

    table1 = "table1"
    bicubic = "bicubic"
    blind = "blind"


class Rounding(StrEnum):
    """Whether the blurred picture is cut to 8 bits, as in the published numbers."""

    published = "published"
    float = "float"


NOT_BLIND = ("ensemble", "perceptual", "rounding", "workers", "examples")


def evaluate(
    context: typer.Context,
    protocol: Annotated[
        ProtocolName,
        typer.Argument(
            help="table1: twelve kernels, pictures that wrap around; bicubic: MATLAB's; blind: the kernel is found."
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Sharp pictures.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the reports.")],
    model: Annotated[
        list[str], typer.Option(help="A model's name or file, or bicubic (interpolation); may be repeated.")
    ] = ["default"],  # noqa: B006, typer copies it
    kernels: Annotated[
        Path | None,
        typer.Option(help="Kernel file. [table1: kernels_12.mat in FOLDER or in kernels/ beside it; bicubic: exact]"),
    ] = None,
    scales: Annotated[str | None, typer.Option(help="For example 2,3,4. [the published rows]")] = None,
    noise: Annotated[str | None, typer.Option(help="Levels on the 0-255 scale, for example 0,2.55.")] = None,
    rounding: Annotated[
        Rounding,
        typer.Option("--protocol", help="published cuts the blurred picture to 8 bits; float is the clean model."),
    ] = Rounding.published,
    workers: Annotated[int, typer.Option(min=1, help="Processes; they share the cores.")] = 1,
    draws: Annotated[int, typer.Option(min=1, help="blind: kernels per picture, scale and noise level.")] = 5,
    examples: Annotated[int, typer.Option(min=0, help="How many results are kept as pictures.")] = 6,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Also every model's mean over the eight flips and turns, as MODEL+.")
    ] = False,
    perceptual: Annotated[
        bool,
        typer.Option("--perceptual", help="Also NIQE, and the distance of features (EfficientNet-Lite0; not LPIPS)."),
    ] = False,
    precision: Annotated[str, typer.Option(help="fp32, bf16, fp16 or auto.")] = "fp32",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Degrade pictures as the paper did, restore them, compare with the truth.

    Writes results.json, results.csv, results.md and report.html. An interrupted run goes on where it stopped.
    Without --scales and --noise, table1 has the rows of the paper: x2, x3, x4 without noise, x3 with 2.55 and 7.65.
    """
    from usrnet.cli.usage import given, refuse
    from usrnet.errors import UsrnetError

    factors = None if scales is None else whole(numbers(scales, "--scales"))
    levels = None if noise is None else numbers(noise, "--noise")
    if protocol is ProtocolName.blind:
        refuse(given(context, NOT_BLIND), reason="not for the protocol blind")
        if len(model) > 1:
            raise UsrnetError(
                f"--model {model[1]}: the protocol blind takes one model, and {model[0]} is given already"
            )
        if 1 not in (factors or []):
            refuse(
                given(context, ["kernels"]), reason="the protocol blind takes kernels from a file at --scales 1 only"
            )
        if factors == [1]:
            refuse(given(context, ["noise", "draws"]), reason="not for --scales 1, where kernels and noise are fixed")
        evaluate_blind(
            folder,
            output,
            model[0],
            kernels,
            factors or [2, 3, 4],
            levels or [0.0, 2.55, 7.65],
            draws,
            device,
            precision,
        )
        return
    refuse(given(context, ["draws"]), reason="only for the protocol blind")
    from usrnet.cli.progress import progress_bar
    from usrnet.evaluate import Evaluation, Results, published_rows, write_reports
    from usrnet.evaluate.methods import ENSEMBLE, INTERPOLATION
    from usrnet.evaluate.run import can_measure_features, note_conversions
    from usrnet.kernels import load_all

    name = protocol.value
    if protocol is ProtocolName.bicubic:
        refuse(given(context, ["rounding"]), reason="only for the protocol table1")
    else:
        kernels = kernels or find_kernels(folder)
        name = "table1-float" if rounding is Rounding.float else name
    rows = published_rows(
        name,
        load_all(kernels) if kernels else [],
        factors,
        levels,
    )
    methods = [*model, *(one + ENSEMBLE for one in model if one != INTERPOLATION and ensemble)]
    measured = ["niqe", *(["features"] if can_measure_features() else [])] if perceptual else []
    evaluation = Evaluation(
        name, folder, rows, methods, device=device, precision=precision, examples=examples, perceptual=measured
    )
    note_conversions(evaluation.pictures())
    with progress_bar() as bar:
        task = bar.add_task("restored", total=None)
        for done, total in evaluation.run(output, workers=workers):
            bar.update(task, completed=done, total=total)
    results = Results.read(evaluation, output)
    written = write_reports(results, output)
    tell(output, written, evaluation.failures)


def evaluate_blind(
    folder: Path,
    output: Path,
    model: str,
    kernels: Path | None,
    scales: list[int],
    noise: list[float],
    draws: int,
    device: str,
    precision: str,
) -> None:
    """The protocols for blur and noise that have to be found."""
    from usrnet.cli.progress import progress_bar
    from usrnet.evaluate.blind import BlindEvaluation, shakes_of, write_reports
    from usrnet.evaluate.run import pictures_of

    shakes = shakes_of(kernels or find_kernels(folder)) if 1 in scales else []
    evaluation = BlindEvaluation(folder, model, scales, noise, draws, shakes, device, precision)
    pictures = pictures_of(folder)
    with progress_bar() as bar:
        task = bar.add_task("cases", total=None)
        for done, total in evaluation.run(output, pictures):
            bar.update(task, completed=done, total=total)
    cases = evaluation.read(output, pictures)
    written = write_reports(cases, output, model=model, folder=folder, failures=evaluation.failures)
    tell(output, written, evaluation.failures)


def tell(output: Path, written: list[Path], failures: dict[str, str]) -> None:
    """Print the table, where the reports are, and which pictures are not in them."""
    print((output / "results.md").read_text("utf-8"))
    print(", ".join(map(str, written)))
    for reason in failures.values():
        print(f"usrnet: {reason}", file=sys.stderr)
    if failures:
        raise typer.Exit(1)


def numbers(text: str, option: str) -> list[float]:
    """``"0,2.55"`` as numbers, each once; raises ``UsrnetError``."""
    from usrnet.errors import UsrnetError

    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise UsrnetError(f"{option} {text!r} is not a list of numbers such as 2,3,4")
    return list(dict.fromkeys(values))


def find_kernels(folder: Path) -> Path:
    """The file with the twelve kernels of Table 1 near the pictures; raises ``UsrnetError``."""
    from usrnet.errors import UsrnetError

    places = [folder / "kernels_12.mat", folder.resolve().parent / "kernels" / "kernels_12.mat"]
    for place in places:
        if place.is_file():
            return place
    raise UsrnetError(
        f"which kernels? Give --kernels FILE; the twelve of Table 1 are the published kernels_12.mat, which is found "
        f"by itself as {places[0]} or {places[1]}"
    )


def whole(values: list[float]) -> list[int]:
    """Scale factors as integers; raises ``UsrnetError``."""
    from usrnet.errors import UsrnetError

    for value in values:
        if not value.is_integer():
            raise UsrnetError(f"--scales: {value} is not a whole number")
    return [int(value) for value in values]
