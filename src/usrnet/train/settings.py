"""Settings of a training run: a TOML file or a packaged recipe, ``section.key=value`` over it, checked."""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from usrnet.errors import UsrnetError

RECIPES = Path(__file__).with_name("recipes")


Settings = TypeVar("Settings", bound=BaseModel)


def recipes() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def read_tree(source: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What a TOML file or a packaged recipe says, with the overrides put over it, not checked yet."""
    path = Path(source)
    if not path.is_file() and (RECIPES / f"{source}.toml").is_file():
        path = RECIPES / f"{source}.toml"
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsrnetError(
            f"{source}: there is no such config file; recipes that come with usrnet: {', '.join(recipes())}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsrnetError(f"{path}: not a TOML file ({error})") from error
    for override in overrides:
        _put(tree, override)
    return tree


def checked(kind: type[Settings], tree: Any, name: str) -> Settings:
    """Settings from plain data; raises ``UsrnetError`` that names every wrong key and what is allowed there."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise UsrnetError(f"{name}: " + "; ".join(_explain(kind, problem) for problem in error.errors())) from error


def _put(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    *sections, last = key.strip().split(".")
    if not equals or not last or not sections:
        raise UsrnetError(f"--set {override}: write section.key=value, as in schedule.steps=1000")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a word need not be quoted
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise UsrnetError(f"--set {override}: {section} is not a section")
    tree[last] = value


def _explain(kind: type[BaseModel], problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "the config"
    if problem["type"] == "extra_forbidden":
        section: Any = kind
        for part in problem["loc"][:-1]:
            annotation = section.model_fields[part].annotation
            section = next((choice for choice in get_args(annotation) if hasattr(choice, "model_fields")), annotation)
        return f"{where} is not a key: allowed are {', '.join(section.model_fields)}"
    if where in ("data", "data.folders") and problem["type"] in ("missing", "too_short"):
        return """data.folders is missing: name the folders of your photos, as in --set data.folders='["photos"]'"""
    if problem["type"] in ("list_type", "tuple_type"):
        given = json.dumps(problem["input"], ensure_ascii=False, default=str)
        return f"{where} = {given} is not a list: write {where} = [{given}]"
    if problem["type"] == "missing":
        return f"{where} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return message if where == "the config" else f"{where}: {message}"
    return f"{where} = {problem['input']!r}: {message[0].lower()}{message[1:]}"
