"""The figures of docs/theory: the network, its place among others, aliases, alignment, digits, α_k and β_k.

python examples/theory_figures.py OUT_DIR [--model NAME|FILE ...]
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

import usrnet
from usrnet import io, kernels
from usrnet.degradation import Degradation, fold, otf
from usrnet.figures import drawing
from usrnet.figures.unfolding import schedule
from usrnet.model import Unfolding, data_step
from usrnet.model.reference import PublishedDataStep

PHOTO = Path(usrnet.__file__).parent / "data" / "astronaut.png"
ALPHAS = np.logspace(-7, 0, 22)
LEVELS = (0.0, 2.55, 7.65, 25.0)


def unfolding() -> Figure:
    """What is inside: the data step, the prior and the slide bar, K times."""
    figure = Figure(figsize=(8.4, 2.9), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 15.6), ylim=(-0.2, 4.6))
    axes.set_axis_off()
    _box(
        axes,
        7.6,
        3.6,
        "H: hyper-parameter module\n$(\\alpha_1..\\alpha_K, \\beta_1..\\beta_K) = H(\\sigma, s)$",
        width=10.8,
    )
    for x, name, parameter in (
        (3.0, "D: data step\nno weights", "\\alpha_1"),
        (5.6, "P: prior\nResUNet", "\\beta_1"),
        (9.6, "D: data step\nno weights", "\\alpha_K"),
        (12.2, "P: prior\nResUNet", "\\beta_K"),
    ):
        _box(axes, x, 1.2, name)
        _arrow(axes, (x, 3.1), (x, 1.75))
        axes.text(x + 0.1, 2.35, f"${parameter}$", fontsize=10)
    marks = (
        (0.55, "y, k, s"),
        (1.6, "$x_0$"),
        (4.3, "$z_1$"),
        (6.9, "$x_1$"),
        (7.6, "· · ·"),
        (10.9, "$z_K$"),
        (14.2, "$x_K$"),
    )
    for x, name in marks:
        axes.text(x, 1.42 if name.startswith("$") else 1.2, name, ha="center", va="center", fontsize=10)
    for start, end in ((1.2, 2.0), (4.0, 4.6), (6.6, 7.2), (8.0, 8.6), (10.6, 11.2), (13.2, 14.9)):
        _arrow(axes, (start, 1.2), (end, 1.2))
    for x in (3.0, 9.6):
        _arrow(axes, (x, 0.05), (x, 0.65))
    axes.plot([0.55, 0.55, 9.6], [0.95, 0.05, 0.05], color="0.4", linewidth=1)
    axes.text(3.2, 0.14, "the observation y and its kernel k enter every data step", ha="left", fontsize=8)
    axes.text(1.2, 3.6, "σ, s", ha="center", va="center", fontsize=10)
    _arrow(axes, (1.5, 3.6), (2.15, 3.6))
    return figure


def place() -> Figure:
    """The method among model-based and learned ones: what is a formula, what is learned, what goes in."""
    formula, learned = "#e8eef7", "#fbe3cf"
    figure = Figure(figsize=(8.4, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 15.6), ylim=(-0.6, 6.4))
    axes.set_axis_off()
    rows = (
        (5.2, "model-based", "y, k, s, σ", "many times, weights α and β by hand", formula, "prior\nwritten down"),
        (2.8, "unfolding", "y, k, s, σ", "K times, α and β learned, trained as a whole", learned, "prior P\nlearned"),
    )
    for y, name, given, note, colour, prior in rows:
        axes.text(0.1, y, name, va="center", fontsize=10, weight="bold")
        axes.text(3.6, y, given, ha="center", va="center", fontsize=10)
        _arrow(axes, (4.5, y), (5.4, y))
        _box(axes, 6.6, y, "data step D\na formula", width=2.4, colour=formula)
        _arrow(axes, (7.8, y), (8.8, y))
        _box(axes, 10.0, y, prior, width=2.4, colour=colour)
        _arrow(axes, (11.2, y), (14.4, y))
        axes.text(14.9, y, "x", ha="center", va="center", fontsize=10)
        axes.plot([12.0, 12.0, 5.0, 5.0], [y, y + 0.85, y + 0.85, y], color="0.4", linewidth=1)
        axes.text(8.4, y - 0.85, note, ha="center", va="center", fontsize=8)
    axes.text(0.1, 0.4, "end-to-end", va="center", fontsize=10, weight="bold")
    axes.text(3.6, 0.4, "y", ha="center", va="center", fontsize=10)
    _arrow(axes, (4.5, 0.4), (5.4, 0.4))
    _box(axes, 8.3, 0.4, "network\nk, s and σ are in its weights", width=5.8, colour=learned)
    _arrow(axes, (11.2, 0.4), (14.4, 0.4))
    axes.text(14.9, 0.4, "x", ha="center", va="center", fontsize=10)
    axes.text(8.4, -0.4, "once; for another blur, another network", ha="center", va="center", fontsize=8)
    return figure


def _box(axes: Axes, x: float, y: float, text: str, *, width: float = 2.0, colour: str = "#e8eef7") -> None:
    style = "round,pad=0.02,rounding_size=0.12"
    axes.add_patch(FancyBboxPatch((x - width / 2, y - 0.5), width, 1.0, boxstyle=style, fc=colour, ec="#345"))
    axes.text(x, y, text, ha="center", va="center", fontsize=8.5)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color="0.3", linewidth=1))


def circular() -> Figure:
    """A blurred picture that wraps around: what leaves on one side comes in on the other."""
    photo = torch.from_numpy(io.read(PHOTO).pixels[20:276, 20:276] / 255.0).permute(2, 0, 1)[None]
    centred = np.zeros((1, 61))
    centred[:, :31] = 1 / 31  # light to the left of the centre: the picture moves to the left
    blurred = Degradation(torch.from_numpy(centred)[None, None], 1, *photo.shape[-2:])(photo)
    figure = Figure(figsize=(5.2, 2.9), layout="constrained")
    for axes, picture, title in zip(figure.subplots(1, 2), (photo, blurred), ("x", "x ⊗ k"), strict=True):
        axes.imshow(picture[0].permute(1, 2, 0).numpy().clip(0, 1))
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    return figure


def aliases() -> Figure:
    """|F(k)|² on the large grid with its s×s blocks, and what is left of it on the small one."""
    side, scale = 48, 3
    kernel = torch.from_numpy(kernels.gaussian(3.0, 0.7, 30.0, scale=scale))[None, None]
    power = otf(kernel, side, side).abs().square().to(torch.complex128)
    full, folded = fold(power, side, 1).real, fold(power, side, scale).real / scale**2
    figure = Figure(figsize=(7.6, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, values, title in (
        (left, full, f"|F(k)|², {side}×{side}: {scale}×{scale} aliases"),
        (right, folded, f"eigenvalues of $AA^T$, {side // scale}×{side // scale}: their mean"),
    ):
        drawn = axes.imshow(values[0, 0].numpy(), cmap="viridis", vmin=0, vmax=1 if axes is left else None)
        axes.set_title(title, fontsize=10)
        axes.set(xticks=[], yticks=[])
        figure.colorbar(drawn, ax=axes, shrink=0.8)
    for line in range(1, scale):
        left.axhline(line * side / scale - 0.5, color="w", linewidth=0.8)
        left.axvline(line * side / scale - 0.5, color="w", linewidth=0.8)
    chosen = (2, 3)
    for row in range(scale):
        for column in range(scale):
            left.plot(chosen[1] + column * side // scale, chosen[0] + row * side // scale, "r.", markersize=6)
    right.plot(chosen[1], chosen[0], "r.", markersize=8)
    return figure


def alignment() -> Figure:
    """One row of pixels at ×4: which one is kept, and where the middle of the patch is."""
    scale = 4
    figure = Figure(figsize=(7.2, 2.3), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(-0.6, 12.2), ylim=(-0.6, 3.3))
    axes.set_axis_off()
    for index in range(3 * scale):
        kept = index % scale == 0
        axes.add_patch(Rectangle((index, 1.6), 1, 0.8, fc="#f2b8a0" if kept else "w", ec="0.5"))
        axes.text(index + 0.5, 2.0, str(index), ha="center", va="center", fontsize=8)
    for patch in range(3):
        axes.add_patch(Rectangle((patch * scale, 0.2), scale, 0.8, fc="#e8eef7", ec="0.5"))
        axes.text((patch + 0.5) * scale, 0.6, f"pixel {patch} of y", ha="center", va="center", fontsize=8)
        axes.plot([(patch + 0.5) * scale] * 2, [1.0, 1.6], color="#345", linestyle=":", linewidth=1)
        _arrow(axes, (patch * scale + 0.5, 2.75), ((patch + 0.5) * scale, 2.75))
        axes.text(patch * scale + 1.25, 2.9, "(s−1)/2", ha="center", fontsize=8)
    axes.text(-0.2, 2.0, "x", ha="right", va="center", fontsize=10)
    axes.text(-0.2, 0.6, "y", ha="right", va="center", fontsize=10)
    axes.text(
        6,
        -0.35,
        "kept: the first of four. Its middle is (s−1)/2 = 1.5 pixels left of the patch's.",
        ha="center",
        fontsize=8,
    )
    return figure


def errors(scale: int, text: str) -> tuple[np.ndarray, np.ndarray]:
    """The largest error of one data step in float32 over α: the paper's form, and ours; against ours in float64."""
    side = 128 // scale * scale // 8 * 8
    photo = torch.from_numpy(io.read(PHOTO).pixels[: side - side % scale, : side - side % scale] / 255.0)
    x = photo.permute(2, 0, 1)[None]
    kernel = torch.from_numpy(kernels.parse(text, scale))[None, None]
    y = Degradation(kernel, scale, *x.shape[-2:])(x)
    start = y.repeat_interleave(scale, -2).repeat_interleave(scale, -1)
    published, ours = [], []
    for alpha in ALPHAS:
        exact = data_step(start, y, kernel, torch.full((1, 1, 1, 1), alpha, dtype=torch.float64), scale)
        rounded, weight = (y.float(), kernel.float()), torch.full((1, 1, 1, 1), alpha)
        theirs = PublishedDataStep(*rounded, scale)(start.float(), weight)
        mine = data_step(start.float(), *rounded, weight, scale)
        published.append(float((theirs.double() - exact).abs().max()))
        ours.append(float((mine.double() - exact).abs().max()))
    return np.array(published), np.array(ours)


def digits() -> Figure:
    """The error of both forms of the data step against α."""
    figure = Figure(figsize=(8.0, 3.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (scale, text) in zip(panels, ((1, "gaussian:1.6"), (2, "gaussian:1.6")), strict=True):
        for name, values in zip(("as published", "here"), errors(scale, text), strict=True):
            axes.loglog(ALPHAS, values, marker="o", markersize=3, label=name)
            print(
                f"×{scale}, {text}, {name}: {values[0]:.1e} at α = 1e-7, {values[3]:.1e} at 1e-6, "
                f"{values[-1]:.1e} at 1"
            )
        axes.axhline(1 / 510, color="0.5", linestyle=":", linewidth=1)
        axes.text(1, 1 / 510 * 1.2, "half a grey level", ha="right", fontsize=7)
        axes.set_title(f"×{scale}, {text}", fontsize=10)
        axes.set_xlabel("α")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("largest error, float32")
    panels[0].legend(fontsize=8)
    return figure


def schedules(names: list[str]) -> Figure:
    """α_k and β_k of every model, for several noise levels at ×2 and for every scale at noise 2.55."""
    figure = Figure(figsize=(9.6, 2.5 * len(names)), layout="constrained")
    grid = figure.subplots(len(names), 4, squeeze=False)
    for row, name in zip(grid, names, strict=True):
        model = usrnet.load(name)
        if not isinstance(model, Unfolding):
            raise SystemExit(f"{name} has no α_k and β_k")
        groups = (
            ("×2", {f"σ = {level:g}": schedule(model, level, 2) for level in LEVELS}),
            ("σ = 2.55", {f"×{scale}": schedule(model, 2.55, scale) for scale in (1, 2, 3, 4)}),
        )
        panels = [(title, curves, index) for title, curves in groups for index in (0, 1)]
        for axes, (title, curves, index) in zip(row, panels, strict=True):
            for label, pair in curves.items():
                axes.semilogy(np.arange(1, len(pair[index]) + 1), pair[index], marker="o", markersize=3, label=label)
            axes.set_title(f"{Path(name).stem}: {'αβ'[index]}$_k$, {title}", fontsize=9)
            axes.tick_params(labelsize=7)
            axes.grid(alpha=0.3)
            if index == 0:
                axes.legend(fontsize=7)
            ends = "; ".join(
                f"{label} {pair[index][0]:.2g} to {pair[index][-1]:.2g}" for label, pair in curves.items()
            )
            print(f"{Path(name).stem}, {'αβ'[index]}, {title}: {ends}")
    for axes in grid[-1]:
        axes.set_xlabel("iteration k", fontsize=8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", nargs="+", default=["default", "tv"], help="whose α_k and β_k are drawn")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    figures = {make.__name__: make() for make in (unfolding, place, circular, aliases, alignment, digits)}
    figures["schedules"] = schedules(arguments.model)
    for name, figure in figures.items():
        path = arguments.folder / f"theory_{name}.png"
        drawing.save_png(path, drawing.render(figure, dpi=100))
        print(path)


if __name__ == "__main__":
    main()
