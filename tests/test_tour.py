"""The tour: the notebook is the script, and the script runs."""

import json
import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def cells_of_the_script() -> list[tuple[str, str]]:
    """Kind and text of every cell of the percent script."""
    body = (EXAMPLES / "tour.py").read_text("utf-8").split("# ---\n", 2)[2]
    found = []
    for head, text in re.findall(r"^# %%([^\n]*)\n(.*?)(?=^# %%|\Z)", body, re.DOTALL | re.MULTILINE):
        markdown = "[markdown]" in head
        found.append(
            ("markdown" if markdown else "code", re.sub(r"^# ?", "", text, flags=re.M) if markdown else text)
        )
    return [(kind, text.strip()) for kind, text in found]


def test_the_notebook_is_the_script_and_was_executed():
    cells = json.loads((EXAMPLES / "tour.ipynb").read_text("utf-8"))["cells"]
    assert [(cell["cell_type"], "".join(cell["source"]).strip()) for cell in cells] == cells_of_the_script()
    counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.slow
def test_the_script_runs_and_its_numbers_are_right(capsys):
    names = runpy.run_path(str(EXAMPLES / "tour.py"))
    psnr = {name: float(value) for name, value in re.findall(r"^(.+): ([\d.]+) dB$", capsys.readouterr().out, re.M)}
    assert psnr["restored"] > psnr["bicubic"] + 5
    assert psnr["width 1.6"] > max(psnr["width 0.8"], psnr["width 2.4"])
    assert names["gradient"].abs().max() < 1e-12
