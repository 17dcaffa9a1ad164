"""The public names, which are those of the reference page: documented, checked by the linter, with examples that run."""

import doctest
import inspect
import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import usrnet

ROOT = Path(__file__).parents[1]
ENTRY = re.compile(r"^::: (\S+)\n((?: {4}.*\n)*)", re.MULTILINE)


def shown() -> list[str]:
    """What docs/reference/python.md shows, by the names that it shows it under; modules as their members."""
    found = []
    for name, options in ENTRY.findall((ROOT / "docs" / "reference" / "python.md").read_text("utf-8")):
        listed = options.partition("members:")[2]
        members = re.findall(r"\w+", listed) if listed.strip() != "false" else []
        if not inspect.ismodule(target(name)):
            found.append(name)
        found += [f"{name}.{member}" for member in members]
    return found


def target(name: str) -> Any:
    """The module or object of a dotted name."""
    try:
        return import_module(name)
    except ImportError:
        module, _, attribute = name.rpartition(".")
        return getattr(target(module), attribute)


def test_every_public_name_is_on_the_page():
    objects = [target(name) for name in shown()]
    for name in usrnet.__all__:
        public = getattr(usrnet, name)
        if name == "estimate":
            public = public.estimate
        if inspect.ismodule(public):
            assert any(inspect.getmodule(one).__name__.startswith(public.__name__) for one in objects), name  # pyright: ignore[reportOptionalMemberAccess]
        else:
            assert public in objects, name


def test_the_linter_looks_at_all_of_them():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["numpydoc_validation"]
    [passed_over] = map(re.compile, config["exclude"])
    for name in shown():
        public = target(name)
        place = f"{public.__module__.rpartition('.')[2]}.{public.__qualname__}"
        assert not passed_over.search(place), f"{name}: {place} is excluded in pyproject.toml"


@pytest.mark.parametrize("name", shown())
def test_its_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name.startswith("usrnet.export"):
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
    public = target(name)
    for part in (public, getattr(public, "__call__", None) if inspect.isclass(public) else None):
        if part is None or not getattr(part, "__doc__", None):
            continue
        examples = doctest.DocTestParser().get_doctest(part.__doc__, {}, name, None, None)
        if part is public:
            assert examples.examples, f"{name} has no example"
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples)
        assert result.failed == 0
