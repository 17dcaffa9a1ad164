"""``usrnet batch``: many pictures on many machines."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def batch(
    source: Annotated[
        str,
        typer.Argument(metavar="IN", help="A folder, a glob, a .txt list, or an address such as s3://bucket/photos."),
    ],
    folder: Annotated[
        str, typer.Argument(metavar="OUT_DIR", help="A folder or an address; the manifest lies there.")
    ],
    scale: Annotated[int, typer.Option(help="Scale factor, 1 to 4; 1 deblurs.")] = 2,
    kernel: Annotated[
        str | None,
        typer.Option(help="The blur, as for restore; or auto. [a mild Gaussian that suits clean photos]"),
    ] = None,
    noise: Annotated[
        str, typer.Option(metavar="LEVEL|auto", help="Noise level, on the 0-255 scale; or poisson:GAIN,READ.")
    ] = "2",
    settings: Annotated[
        Path | None,
        typer.Option(help="A CSV file with settings of single pictures: picture, scale, kernel, noise."),
    ] = None,
    model: Annotated[str, typer.Option(help="Name or file of the model.")] = "default",
    address: Annotated[
        str | None, typer.Option(help="A running cluster: HOST:6379, ray://HOST:10001 or auto. [one on this machine]")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="At most so many. [as the cluster allows]")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPUs of each worker.")] = 1,
    tile: Annotated[str, typer.Option(help="auto, off, or the side of a tile in pixels of IN.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    recursive: Annotated[bool, typer.Option("--recursive", help="Look into the folders of folders.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Restore again what is already there.")] = False,
) -> None:
    """Deblur, denoise and enlarge many pictures on the CPUs and GPUs of a Ray cluster.

    OUT_DIR/manifest.parquet has a row for every picture: input, output, settings, status, seconds, error. Run again,
    it goes on where it stopped. One bad picture does not stop the others. Needs usrnet[batch].
    """
    from usrnet.errors import require

    require("ray", extra="batch")
    from usrnet.batch import Settings, plan_batch, read_settings, run_batch
    from usrnet.cli.progress import progress_bar

    default = Settings.of_texts(scale, kernel, noise)
    own = read_settings(settings, default) if settings else {}
    plan = plan_batch(source, folder, default, model=model, by_picture=own, recursive=recursive)
    with progress_bar() as bar:
        task = bar.add_task("pictures", total=len(plan.tasks))
        manifest = run_batch(
            plan,
            address=address,
            workers=workers,
            threads=threads,
            precision=precision,
            tile=tile,
            overwrite=overwrite,
            progress=lambda done, total: bar.update(task, completed=done),
        )
    targets = {one.target for one in plan.tasks}
    rows = [row for row in manifest.rows.values() if row.output in targets]
    for row in rows:
        if row.notes and row.status == "written":
            print(f"note: {row.notes}", file=sys.stderr)
    failed = [row for row in rows if row.status == "failed"]
    for row in failed:
        print(f"usrnet: {row.error}", file=sys.stderr)
    print(f"{len(rows) - len(failed)} of {len(rows)} pictures are there, see {manifest.address}", file=sys.stderr)
    if manifest.unwritten:
        print(f"usrnet: {manifest.unwritten}", file=sys.stderr)
    if failed or manifest.unwritten:
        raise typer.Exit(1)
