"""What the README and the docs tell people to type: every command, every script, every block of Python and TOML."""

import re
import shlex
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
RUN = ("docs/index.md", "docs/models.md")  # others need a server, an extra or the network: compiled


def blocks(page: str, *languages: str) -> list[str]:
    """The fenced blocks of a page in one of the languages."""
    found = FENCED.findall((ROOT / page).read_text("utf-8"))
    return [textwrap.dedent(text) for _, language, text in found if language in languages]


def command_lines(page: str) -> Iterator[list[str]]:
    """Every command of a page, in indented and in shell blocks, as words; continued lines are joined."""
    text = (ROOT / page).read_text("utf-8")
    indented = re.findall(r"^(?: {4,}|\t)\S.*$", FENCED.sub("", text), re.MULTILINE)
    lines = "\n".join([*indented, *blocks(page, "sh", "bash", "shell", "console")]).replace("\\\n", " ")
    for line in lines.splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue  # a quote that goes on: no command of ours spans lines so
        for command in _split(words):
            while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
                command = command[1:]
            if command:
                yield command


def _split(words: list[str]) -> Iterator[list[str]]:
    """One pipeline as its commands, without where the output goes."""
    command: list[str] = []
    for word in words:
        if word in ("|", "&&", ";"):
            yield command
            command = []
        else:
            command.append(word)
    if ">" in command:
        command = command[: command.index(">")]
    yield command


def ours(command: list[str]) -> list[str] | None:
    """The arguments of ``usrnet``, however it is called."""
    if Path(command[0]).name == "usrnet" or Path(command[0].replace("\\", "/")).name == "usrnet":
        return command[1:]
    if "-m" in command and command[command.index("-m") + 1 :][:1] == ["usrnet"]:
        return command[command.index("-m") + 2 :]
    return None


def check_arguments(arguments: list[str]) -> None:
    """What the real parser says to them, without running the command."""
    import typer

    from usrnet.cli import app

    command: Any = typer.main.get_command(app)
    context = command.make_context("usrnet", list(arguments))
    while hasattr(command, "commands"):
        name, command, arguments = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, list(arguments), parent=context)


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_understood(page, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for command in command_lines(page):
        arguments = ours(command)
        if arguments is not None and "…" not in " ".join(arguments):
            if arguments[:1] not in ([], ["--version"]) and "--help" not in arguments and "COMMAND" not in arguments:
                try:
                    check_arguments(arguments)
                except Exception as error:
                    raise AssertionError(f"{page}: {' '.join(command)}: {error!r} {error}") from error
        elif command[0] in ("python", "python3") and len(command) > 1 and command[1].endswith(".py"):
            assert (ROOT / command[1]).is_file(), f"{page}: {' '.join(command)}"
        elif command[0] == "make" and len(command) > 1:
            assert command[1] in targets, f"{page}: {' '.join(command)}"
        for named in re.findall(r"usrnet\[([\w,]+)\]", " ".join(command)):
            assert set(named.split(",")) <= extras.keys(), f"{page}: {' '.join(command)}"


def test_a_wrong_command_would_be_found():
    """The test above can fail: an unknown option, an unknown command, a missing argument."""
    check_arguments(["restore", "photo.jpg", "--scale", "2"])
    for wrong in (["restore", "photo.jpg", "--scales", "2"], ["improve", "photo.jpg"], ["degrade"]):
        with pytest.raises(Exception, match=r"(?i)no such|missing"):
            check_arguments(wrong)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_compiles_and_runs(page, tmp_path, monkeypatch, photo):
    names = {"image": photo[:48, :48]}
    monkeypatch.chdir(tmp_path)
    for block in blocks(page, "python"):
        code = compile(block, page, "exec")
        if page in RUN:
            exec(code, names)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")])
def test_configs_are_valid(page):
    from usrnet.train.config import TrainConfig

    for block in blocks(page, "toml"):
        given = tomllib.loads(block)
        if given.keys() & {"objective", "schedule", "kernels", "optimiser", "degradation"}:
            TrainConfig.model_validate({"run": {"output": "x"}, "data": {"folders": ["photos"]}} | given)
