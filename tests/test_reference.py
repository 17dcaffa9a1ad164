"""The public names, those of the reference page: all there, seen by the linter, with examples that run."""

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


def shown() -> dict[str, Any]:
    """What docs/reference/python.md shows, by the names that it shows it under; modules as their members."""
    found = {}
    for name, options in ENTRY.findall((ROOT / "docs" / "reference" / "python.md").read_text("utf-8")):
        module, _, own = name.rpartition(".")
        listed = options.partition("members:")[2]
        members = re.findall(r"\w+", listed) if listed.strip() != "false" else []
        try:
            holder = import_module(name)  # a module first: usrnet.model.data_step is a function's name too
        except ImportError:
            found[name] = getattr(import_module(module), own)
        else:
            found |= {f"{name}.{member}": getattr(holder, member) for member in members}
    return found


PUBLIC = shown()


def test_every_public_name_is_on_the_page():
    homes = {one.__module__ for one in PUBLIC.values()}
    for name in usrnet.__all__:
        public = getattr(usrnet, name)
        if inspect.ismodule(public):
            assert any(home.startswith(public.__name__) for home in homes), name
        else:
            assert public in PUBLIC.values(), name


def test_the_linter_looks_at_all_of_them():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["numpydoc_validation"]
    [passed_over] = map(re.compile, config["exclude"])
    for name, public in PUBLIC.items():
        place = f"{public.__module__.rpartition('.')[2]}.{public.__qualname__}"
        assert not passed_over.search(place), f"{name}: {place} is excluded in pyproject.toml"


@pytest.mark.parametrize("name", PUBLIC)
def test_its_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name.startswith("usrnet.export"):
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
    tests = doctest.DocTestFinder(exclude_empty=True).find(PUBLIC[name], name)
    assert tests[0].name == name
    for test in tests:  # of a class, and of its methods
        assert doctest.DocTestRunner().run(test).failed == 0, test.name
