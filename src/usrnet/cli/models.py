"""``usrnet models``: which models there are, what a weight file holds, downloads, conversion."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usrnet.errors import UsrnetError

app = typer.Typer(no_args_is_help=True, help="List, inspect, download, convert and blend weights.")

if TYPE_CHECKING:
    from usrnet.weights import Info

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """The models that can be used by name, and where their weights are."""
    rows = _rows()
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("name", "what", "parameters", "where"):
        table.add_column(column, justify="right" if column == "parameters" else "left", no_wrap=column != "what")
    for row in rows:
        table.add_row(row["name"], row["what"], f"{row['parameters']:,}", row["where"])
    Console().print(table)


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="A name, a weight file or a folder.", metavar="NAME|FILE")],
    as_json: Json = False,
) -> None:
    """What a model or a weight file holds: architecture, size, sha256, metadata. Downloads nothing."""
    from usrnet.weights.loading import describe

    found = describe(model)
    if as_json:
        print(json.dumps(found.as_dict(), indent=2, ensure_ascii=False))
        return
    lines = {
        "name": found.name,
        "architecture": found.architecture,
        "parameters": f"{found.parameters:,}",
        "where": found.where,
        "file": found.path,
        "sha256": found.sha256,
        "verified": _verified(found),
        "source": found.source,
        "licence": found.licence,
    }
    lines |= {key: text for key, text in found.metadata.items() if lines.get(key) is None}
    for key, value in lines.items():
        if value is not None:
            print(f"{key:14}{value}")


@app.command()
def download(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all official ones if none is given.")] = None,
) -> None:
    """Fetch official weights into the cache ($USRNET_HOME), or check those that are there."""
    from usrnet.weights import registry
    from usrnet.weights.download import cached_path, fetch

    models = [registry.find(name) for name in names or []] or list(registry.downloadable())
    for model in models:
        cached_path(model)  # a name with nothing to download is a mistake: say so before the work starts
    failed = 0
    for model in models:
        try:
            print(fetch(model.name))
        except UsrnetError as error:
            if len(models) == 1:
                raise
            print(f"usrnet: {error}", file=sys.stderr)
            failed += 1
    if failed:
        raise typer.Exit(1)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The weight file to read.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write; its suffix names the format.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
) -> None:
    """Rewrite weights as .safetensors or .pth; every number stays the same."""
    if target.exists() and not overwrite:
        raise UsrnetError(f"{target} exists already: choose another name or add --overwrite")
    from usrnet.weights.files import convert

    print(convert(source, target, overwrite=overwrite))


@app.command()
def blend(
    first: Annotated[str, typer.Argument(metavar="A", help="A name or a weight file: what --t 0 is.")],
    second: Annotated[str, typer.Argument(metavar="B", help="One of the same sizes: what --t 1 is.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="C", help="The file to write.")],
    t: Annotated[float, typer.Option("--t", help="From 0, A, to 1, B.")] = 0.5,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace C if it exists.")] = False,
) -> None:
    """Weights between those of two models, one of which was trained on from the other.

    For example from faithful to crisp: usrnet models blend usrnet-tiny usrgan-tiny --t 0.7 -o between.safetensors
    """
    if output.exists() and not overwrite:
        raise UsrnetError(f"{output} exists already: choose another name or add --overwrite")
    from usrnet.weights import blend, save

    text = f"{1 - t:g} × {first} + {t:g} × {second}"
    metadata = {"description": text} if output.suffix.lower() == ".safetensors" else {}  # the others keep none
    print(save(blend(first, second, t=t), output, metadata=metadata, overwrite=overwrite))


def _verified(found: "Info") -> str | None:
    if found.path is None:
        return None
    if found.published:
        return f"this is the published file of {found.published}"
    return "no: no hash is published" if found.where == "cached" else None


def _rows() -> list[dict[str, Any]]:
    """One entry per known model, without importing torch."""
    from usrnet.weights import registry
    from usrnet.weights.download import cached_path

    rows = []
    for model in registry.known_models().values():
        path = cached_path(model) if model.file else registry.packaged_file(model.name)
        rows.append(
            {
                "name": model.name,
                "what": model.summary,
                "parameters": model.parameters,
                "where": _where(model.file is not None, path),
                "path": str(path) if path and path.is_file() else None,
                "sha256": model.sha256,
                "licence": model.licence,
                "source": model.source,
            }
        )
    return rows


def _where(official: bool, path: Path | None) -> str:
    if path is None:
        return "built in"
    if not official:
        return "packaged"
    return "cached" if path.is_file() else "not downloaded"
