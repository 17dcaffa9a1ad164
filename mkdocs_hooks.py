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
    """Every section of the training config with its keys, kinds and defaults, written as TOML has them."""
    from usrnet.train.config import TrainConfig

    return "\n".join(part for name, one in _sections(TrainConfig, "").items() for part in _section(name, one))


def _sections(model: Any, path: str) -> dict[str, Any]:
    """The sections inside of a model, each followed by those inside of it, by their full names."""
    found: dict[str, Any] = {}
    for key, field in model.model_fields.items():
        if (inner := _section_of(field)) is not None:
            found |= {f"{path}{key}": inner, **_sections(inner, f"{path}{key}.")}
    return found


def _section_of(field: Any) -> Any:
    """The model of a key that is a section, also of one that may be left out; None for others."""
    kinds = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if hasattr(kind, "model_fields")), None)


def _section(name: str, model: Any) -> list[str]:
    about = " ".join((model.__doc__ or "").replace("``", "`").split())
    rows = []
    for key, field in model.model_fields.items():
        if _section_of(field) is not None:
            continue
        default = "**required**" if field.is_required() else _toml(field.get_default(call_default_factory=True))
        rows.append(f"| `{key}` | {_cell(_kind(field.annotation, field.metadata))} | {_cell(default)} |")
    return [f"## [{name}]\n", f"{about}\n", "| key | kind | default |", "| --- | --- | --- |", *rows, ""]


def _toml(value: Any) -> str:
    """A value as the config file has it; it knows no "none", such a key is left out."""
    if value is None:
        return "–"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _kind(annotation: Any, metadata: list[Any]) -> str:
    """A type in words, with its bounds."""
    bounds = [f"{sign} {getattr(one, name)}" for one in metadata for name, sign in _SIGNS if hasattr(one, name)]
    if hasattr(annotation, "__metadata__"):  # Annotated inside of a list or a tuple
        return _kind(get_args(annotation)[0], _flat(annotation.__metadata__))
    arguments = get_args(annotation)
    name = getattr(annotation, "__name__", str(annotation))
    if arguments and name == "Literal":
        text = ", ".join(_toml(value) for value in arguments)
    elif arguments and name == "list":
        least = next((one.min_length for one in metadata if hasattr(one, "min_length")), 0)
        text = f"list of {f'{least} or more' if least else 'any length'}: {_kind(arguments[0], [])}"
    elif arguments and name == "tuple":
        text = f"list of {len(arguments)}: {_kind(arguments[0], [])}"
    elif arguments and name == "dict":
        text = f"table: {_kind(arguments[1], [])} by name"
    elif arguments:
        text = " or ".join(_kind(one, []) for one in arguments if one is not type(None))
    else:
        text = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}.get(name, name)
    return f"{text} {' and '.join(bounds)}".strip()


_SIGNS = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))


def _flat(metadata: tuple[Any, ...]) -> list[Any]:
    return [inner for one in metadata for inner in (getattr(one, "metadata", None) or [one])]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
