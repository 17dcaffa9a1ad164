"""How fast each mode is, drawn. Needs the extra ``viz``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from usrnet.errors import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from usrnet.bench import Measurement


def speed_figure(measured: "Sequence[Measurement]", title: str) -> "Figure":
    """How many times faster each mode is, with the quartiles, and its peak memory; one group of bars per problem."""
    require("matplotlib", extra="viz")
    from matplotlib.figure import Figure

    problems = list(dict.fromkeys((one.architecture, one.side) for one in measured))
    modes = list(dict.fromkeys(one.mode for one in measured))
    names = [f"{architecture}\n{side}×{side}" for architecture, side in problems]
    figure = Figure(figsize=(2.5 + 2.4 * len(problems), 3.4), layout="constrained")
    figure.suptitle(title, fontsize=9)
    speed, memory = figure.subplots(1, 2)
    width = 0.8 / len(modes)
    for index, mode in enumerate(modes):
        ones = {(one.architecture, one.side): one for one in measured if one.mode == mode}
        chosen = [ones[problem] for problem in problems]
        places = np.arange(len(problems)) + (index - (len(modes) - 1) / 2) * width
        spread = [[one.ratio - one.low for one in chosen], [one.high - one.ratio for one in chosen]]
        bars = speed.bar(places, [one.ratio for one in chosen], width, yerr=spread, capsize=2, label=mode)
        speed.bar_label(bars, fmt="%.1f", fontsize=7, padding=2)
        bars = memory.bar(places, [one.megabytes for one in chosen], width, label=mode)
        memory.bar_label(bars, fmt="%.0f", fontsize=7, padding=2)
    speed.set_title("times faster than the published form", fontsize=9)
    memory.set_title("peak memory in MB", fontsize=9)
    for axes in (speed, memory):
        axes.set_xticks(np.arange(len(problems)), names, fontsize=8)
        axes.tick_params(axis="y", labelsize=7)
        axes.margins(y=0.12)
        axes.spines[["top", "right"]].set_visible(False)
    speed.legend(fontsize=7, frameon=False)
    return figure
