"""What the pages of the site get when it is built: formulas as MathML, the commands' help, config keys, the tour.

MathML needs no script and no font from elsewhere, and the tables say what this version's code says.
"""

import html
import json
import re
from pathlib import Path
from typing import Any, get_args

from latex2mathml.converter import convert

ARITHMATEX = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)
BAR = re.compile(r"<mo>(&#x0007C;|&#x02016;)</mo>")  # of an absolute value: not as tall as the exponent after it
ROLE = re.compile(r":(?:class|data|func|meth|mod):(?=<code>|<a |<autoref)")  # in docstrings, before a name
WIDTH = 100


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill the places ``<!-- commands -->``, ``<!-- config -->`` and ``<!-- tour -->``."""
    for place, make in (("<!-- commands -->", commands), ("<!-- config -->", config_keys), ("<!-- tour -->", tour)):
        if place in markdown:
            markdown = markdown.replace(place, make())
    return markdown


def on_page_content(content: str, **_: Any) -> str:
    """Every formula as MathML; names of docstrings without their roles."""

    def replace(match: re.Match[str]) -> str:
        display = match[1] == "div"
        formula = html.unescape(match[2]).strip()[2:-2]  # without \( \) or \[ \]
        made = convert(formula, display="block" if display else "inline")
        return BAR.sub(r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>', made)

    return ROLE.sub("", ARITHMATEX.sub(replace, content))


def commands() -> str:
    """The help of every command, as the terminal shows it."""
    import typer
    from typer.testing import CliRunner

    from usrnet.cli import app

    def names(command: Any, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        inner = getattr(command, "commands", {})
        return [path, *(found for name, one in inner.items() for found in names(one, (*path, name)))]

    parts = []
    for path in names(typer.main.get_command(app), ()):
        result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH)})
        if result.exit_code:
            raise RuntimeError(f"usrnet {' '.join(path)} --help: {result.output}")
        text = result.output.replace("Usage: root", "Usage: usrnet").strip()
        parts.append(f"## {' '.join(('usrnet', *path))}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def tour() -> str:
    """The executed notebook as Markdown, its pictures inside."""
    cells = json.loads((Path(__file__).parent / "examples" / "tour.ipynb").read_text("utf-8"))["cells"]
    parts = []
    for cell in cells[1:]:  # the first has the title, which the page has itself
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                encoded = "".join(data["image/png"]).replace("\n", "")
                parts.append(f'<img alt="what the cell shows" src="data:image/png;base64,{encoded}">')
            elif text := "".join(output.get("text", data.get("text/plain", []))):
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts)


def config_keys() -> str:
    """Every section of the training config with its keys, kinds and defaults."""
    from pydantic import BaseModel

    from usrnet.train.config import TrainConfig

    parts = []
    for section, field in TrainConfig.model_fields.items():
        model = field.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            continue
        about = " ".join((model.__doc__ or "").replace("``", "`").split())
        parts += [f"## [{section}]\n", f"{about}\n", "| key | kind | default |", "| --- | --- | --- |"]
        for key, entry in model.model_fields.items():
            default = "**required**" if entry.is_required() else f"`{entry.get_default(call_default_factory=True)!r}`"
            parts.append(f"| `{key}` | {_cell(_kind(entry.annotation, entry.metadata))} | {_cell(default)} |")
        parts.append("")
    return "\n".join(parts)


def _kind(annotation: Any, metadata: list[Any]) -> str:
    """A type in words, with its bounds."""
    bounds = [f"{sign} {getattr(one, name)}" for one in metadata for name, sign in _SIGNS if hasattr(one, name)]
    if hasattr(annotation, "__metadata__"):  # Annotated inside of a list or a tuple
        return _kind(get_args(annotation)[0], _flat(annotation.__metadata__))
    arguments = get_args(annotation)
    name = getattr(annotation, "__name__", str(annotation))
    if arguments and name == "Literal":
        text = ", ".join(f"`{value!r}`" for value in arguments)
    elif arguments and name in ("list", "tuple"):
        text = f"{name} of {', '.join(dict.fromkeys(_kind(one, []) for one in arguments if one is not ...))}"
    elif arguments:
        text = " or ".join(_kind(one, []) for one in arguments)
    else:
        text = {
            "NoneType": "none",
            "str": "text",
            "int": "whole number",
            "float": "number",
            "bool": "true or false",
        }.get(name, name)
    return f"{text} {' and '.join(bounds)}".strip()


_SIGNS = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"), ("min_length", "at least"))


def _flat(metadata: tuple[Any, ...]) -> list[Any]:
    return [inner for one in metadata for inner in (getattr(one, "metadata", None) or [one])]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
