"""The reports of an evaluation: ``results.json``, ``.csv``, ``.md`` and one self-contained page, ``report.html``."""

import base64
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np

from usrnet import __version__, io
from usrnet.atomic import write_bytes
from usrnet.evaluate import published
from usrnet.evaluate.methods import label
from usrnet.evaluate.run import Cell, Evaluation, Results
from usrnet.figures.drawing import busiest, draw_kernel, with_kernel

NOTES = {
    "features": "The distance of features is that of EfficientNet-Lite0 (0 is the truth, less is better): a measure "
    "of usrnet's own, not LPIPS.",
    "niqe": "NIQE, with a model of usrnet's own photos, is best where it is nearest to the truth's.",
}
TITLES = {"features": "distance of features", "niqe": "NIQE"}
CROP = 96  # side of the crops in the page, in restored pixels


def write_reports(results: Results, output: Path) -> list[Path]:
    """Write the four reports of complete results to ``output``; returns their paths."""
    reports = {
        "results.json": json.dumps(as_json(results), indent=1),
        "results.csv": as_csv(results),
        "results.md": as_markdown(results),
        "report.html": as_html(results, output / "pictures"),
    }
    for name, text in reports.items():
        write_bytes(output / name, text.encode())
    return [output / name for name in reports]


def as_json(results: Results) -> dict:
    """The first method's results, with those of the other methods under ``"others"``."""

    def of(method: str) -> dict:
        rows = []
        for number, row in enumerate(results.evaluation.rows):
            means = {what: _rounded(results.mean(method, number, what)) for what in results.evaluation.measures}
            each = {
                name: {what: _rounded(getattr(score, what)) for what in results.evaluation.measures}
                for name, score in results.scores[method][number].items()
            }
            rows.append({"scale": row.scale, "kernel": row.kernel_name, "noise_level": row.noise_level,
                         **means, "per_image": each})  # fmt: skip
        return {
            "model": method,
            "rows": rows,
            "mean_psnr": round(float(np.mean([row["psnr"] for row in rows])), 4),
            "mean_psnr_y": round(float(np.mean([row["psnr_y"] for row in rows])), 4),
        }

    first, *others = results.scores
    return {
        "protocol": results.evaluation.protocol,
        "dataset": results.evaluation.folder.resolve().name,
        "images": results.pictures,
        "failures": results.evaluation.failures,
        "version": __version__,
        **of(first),
        "others": [of(method) for method in others],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(value, 4)


def as_csv(results: Results) -> str:
    """One line per method, row and picture."""
    buffer = StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    measures = results.evaluation.measures
    table.writerow(["method", "scale", "kernel", "noise_level", "picture", *measures])
    for method, rows in results.scores.items():
        for row, scores in zip(results.evaluation.rows, rows, strict=True):
            for picture, score in scores.items():
                values = ["" if (value := getattr(score, what)) is None else f"{value:.4f}" for what in measures]
                table.writerow([method, row.scale, row.kernel_name, f"{row.noise_level:g}", picture, *values])
    return buffer.getvalue()


@dataclass(frozen=True)
class Line:
    """One line of a table: a method's numbers, and for every number its rank (1, 2 or 0 for the others)."""

    method: str
    values: list[str]
    ranks: list[int]
    published: bool = False


@dataclass(frozen=True)
class Group:
    """The lines that are compared with each other."""

    title: str
    lines: list[Line]


def groups(results: Results) -> tuple[list[str], list[Group]]:
    """The table as in the paper: one group per scale and noise level, one column per kernel, then the mean.

    The bicubic protocol has one column per measure instead. What else was measured is a group or a column of its own.
    """
    evaluation = results.evaluation
    perceptual = list(evaluation.perceptual)
    if evaluation.protocol == "bicubic":
        columns = ["PSNR (Y)", "SSIM (Y)", "PSNR (RGB)", "SSIM (RGB)", *(TITLES[what] for what in perceptual)]
    else:
        count = max(int(row.kernel_name) for row in evaluation.rows)
        columns = [f"k{index + 1}" for index in range(count)] + ["mean"]
    made = []
    for key in dict.fromkeys((row.scale, row.noise_level) for row in evaluation.rows):
        numbers = [n for n, row in enumerate(evaluation.rows) if (row.scale, row.noise_level) == key]
        title, known = f"×{key[0]}, noise {key[1]:g}", known_numbers(results, *key)
        if evaluation.protocol == "bicubic":
            fields = ["psnr_y", "ssim_y", "psnr", "ssim", *perceptual]
            measured = {
                method: [results.mean(method, numbers[0], what) for what in fields] for method in results.scores
            }
            if "niqe" in fields:
                truth = _truth(results, numbers)[0]
                known["truth"] = [truth if what == "niqe" else float("nan") for what in fields]
            digits = [2 if column.startswith("PSNR") else 4 for column in columns]
            made.append(Group(title, _lines(known, measured, digits, fields)))
            continue
        for what in ("psnr", *perceptual):
            measured = {}
            for method in results.scores:
                each = [results.mean(method, n, what) for n in numbers]
                measured[method] = [*each, float(np.mean(each))]
            natural = _truth(results, numbers) if what == "niqe" else []
            beside = {"psnr": known, "niqe": {"truth": [*natural, float(np.mean(natural or [0]))]}}.get(what, {})
            lines = _lines(beside, measured, [2 if what == "psnr" else 4] * len(columns), [what] * len(columns))
            made.append(Group(title if what == "psnr" else f"{title}, {TITLES[what]}", lines))
    return columns, made


def _truth(results: Results, numbers: Sequence[int]) -> list[float]:
    """NIQE of the true pictures, for every row."""
    return [results.mean(next(iter(results.scores)), number, "niqe_truth") for number in numbers]


def _lines(
    known: dict[str, list[float]], measured: dict[str, list[float]], digits: Sequence[int], fields: Sequence[str]
) -> list[Line]:
    """``fields``: what each column measures, which decides what is better in it."""

    def goodness(values: Sequence[float]) -> list[float]:
        truth = known.get("truth", [float("nan")] * len(fields))
        ways = {"features": lambda value, _: -value, "niqe": lambda value, best: -abs(value - best)}
        return [
            ways.get(what, lambda value, _: value)(value, best)
            for what, value, best in zip(fields, values, truth, strict=True)
        ]

    ranked = [goodness(values) for name, values in {**known, **measured}.items() if name != "truth"]
    return [
        Line(
            method,
            ["" if np.isnan(v) else f"{v:.{d}f}" for v, d in zip(values, digits, strict=True)],
            _ranks(goodness(values), ranked) if method != "truth" else [0] * len(values),
            published=method in known,
        )
        for method, values in {**known, **measured}.items()
    ]


def known_numbers(results: Results, scale: int, noise_level: float) -> dict[str, list[float]]:
    """The published numbers for the same pictures and degradation, by "method (published)"."""
    evaluation, count = results.evaluation, len(results.pictures)
    dataset = evaluation.folder.resolve().name.lower()
    found: dict[str, list[float]] = {}
    if evaluation.protocol == "bicubic" and noise_level == 0:
        sizes = {"set5": 5, "set14": 14, "bsd100": 100, "urban100": 100}
        for method, sets in published.BICUBIC_Y.items():
            if sizes.get(dataset) == count and scale in sets[dataset]:
                missing = [float("nan")] * (3 + len(evaluation.perceptual))
                found[f"{method} (published)"] = [sets[dataset][scale], *missing]
    twelve = len({row.kernel_name for row in evaluation.rows}) == 12
    if evaluation.protocol == "table1" and dataset == "bsd68" and count == 68 and twelve:
        for method, rows in published.TABLE1_BSD68.items():
            if (scale, noise_level) in rows:
                values = rows[scale, noise_level]
                found[f"{method} (published)"] = [*values, float(np.mean(values))]
    return found


def _ranks(values: Sequence[float], everything: Sequence[Sequence[float]]) -> list[int]:
    if len(everything) < 2:
        return [0] * len(values)
    ranks = []
    for column, value in enumerate(values):
        better = sum(other[column] > value for other in everything)
        ranks.append(better + 1 if better < 2 and not np.isnan(value) else 0)
    return ranks


def as_markdown(results: Results) -> str:
    """The table; the best number of a group is bold."""
    columns, made = groups(results)
    evaluation = results.evaluation
    dataset = evaluation.folder.resolve().name
    lines = [
        f"{evaluation.protocol} on {dataset} ({len(results.pictures)} pictures), PSNR in dB"
        + (" over RGB." if evaluation.protocol != "bicubic" else "."),
        "",
        "| | method | " + " | ".join(columns) + " |",
        "| --- | --- |" + " --- |" * len(columns),
    ]
    for group in made:
        for line in group.lines:
            cells = [f"**{v}**" if rank == 1 else v for v, rank in zip(line.values, line.ranks, strict=True)]
            lines.append(f"| {group.title} | {line.method} | " + " | ".join(cells) + " |")
    if evaluation.perceptual:
        lines += ["", _notes(evaluation)]
    if evaluation.failures:
        lines += ["", f"Left out: {'; '.join(evaluation.failures.values())}."]
    return "\n".join(lines) + "\n"


def _notes(evaluation: Evaluation) -> str:
    return " ".join(NOTES[what] for what in evaluation.perceptual)


@dataclass(frozen=True)
class Extreme:
    """The picture on which a method is best or worst, over the rows' mean."""

    method: str
    best: str
    best_psnr: float
    worst: str
    worst_psnr: float


def extremes(results: Results) -> list[Extreme]:
    """For every method its best and its worst picture."""
    found = []
    for method, rows in results.scores.items():
        means = {name: float(np.mean([row[name].psnr for row in rows])) for name in results.pictures}
        best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
        found.append(Extreme(method, best, means[best], worst, means[worst]))
    return found


def as_html(results: Results, folder: Path) -> str:
    """One page with everything in it; nothing is loaded from elsewhere."""
    import jinja2

    evaluation = results.evaluation
    columns, made = groups(results)
    kernels = {row.kernel_name: row.taps for row in evaluation.rows} if evaluation.protocol != "bicubic" else {}
    first = next(iter(results.scores))
    cells = [cell for cell in evaluation.cells if cell.keep and cell.path.name in results.pictures]
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        (files("usrnet.evaluate") / "report.html.j2").read_text("utf-8")
    )
    return template.render(
        protocol=evaluation.protocol,
        dataset=evaluation.folder.resolve().name,
        count=len(results.pictures),
        failures=list(evaluation.failures.values()),
        note=_notes(evaluation),
        version=__version__,
        source=published.SOURCE,
        columns=columns,
        kernels=[embed(draw_kernel(taps)) for taps in kernels.values()],
        groups=made,
        extremes=extremes(results),
        examples=[example(results, cell, folder) for cell in cells],
        slider=slider(cells[0], folder, first) if cells else None,
    )


def example(results: Results, cell: Cell, folder: Path) -> dict:
    """The crops of one example side by side: input with its kernel in the corner, every method, truth."""
    read = {name: io.read(path).pixels for name, path in cell.files(folder).items()}
    top, left = busiest(read["truth"], CROP)
    s = cell.row.scale

    def crop(pixels: np.ndarray) -> np.ndarray:
        return pixels[top : top + CROP, left : left + CROP]

    small = with_kernel(crop(io.enlarge_nearest(read["input"], s)), cell.row.taps)
    number = [id(row) for row in results.evaluation.rows].index(id(cell.row))
    crops = [("input, kernel", embed(small), "")]
    for name in map(label, cell.methods):
        psnr = results.scores[name][number][cell.path.name].psnr
        crops.append((name, embed(crop(read[name])), f"{psnr:.2f} dB"))
    crops.append(("truth", embed(crop(read["truth"])), ""))
    return {"title": f"{cell.path.name}, ×{s}, kernel {cell.row.kernel_name}, noise {cell.row.noise_level:g}",
            "crops": crops}  # fmt: skip


def slider(cell: Cell, folder: Path, method: str) -> dict:
    """A whole picture before and after."""
    paths = cell.files(folder)
    before = io.enlarge_nearest(io.read(paths["input"]).pixels, cell.row.scale)
    after = io.read(paths[method]).pixels
    title = f"{cell.path.name}, ×{cell.row.scale}: input and {method}"
    height, width = after.shape[:2]
    return {"title": title, "before": embed(before), "after": embed(after), "width": width, "height": height}


def embed(pixels: np.ndarray) -> str:
    """A picture as a ``data:`` address."""
    buffer = BytesIO()
    io.write(buffer, io.Picture(pixels))
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
