"""What the README and the docs tell people to type: every command, every script, every block of Python and TOML."""

import ast
import importlib.util
import re
import shlex
import textwrap
import tomllib
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.ndimage

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
ELSEWHERE = {  # blocks that need what no test has here: these are compiled, and the names of ours in them exist
    "docs/batch.md": "pandas, and a finished batch",
    "docs/hub.md": "the Hugging Face Hub; tests/weights/test_hub.py has one of its own",
    "docs/interop.md": "deepinv and spandrel; tests/interop runs in their environments",
    "docs/web.md": "a running page; tests/web",
}


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


WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]


@pytest.mark.parametrize("page", [page for page in WITH_PYTHON if page not in ELSEWHERE])
@pytest.mark.filterwarnings("ignore::usrnet.errors.UsrnetWarning")
def test_python_runs(page, tmp_path, monkeypatch, photo):
    import torch

    import usrnet

    monkeypatch.chdir(tmp_path)
    np.save("beads.npy", np.random.default_rng(0).random((31, 31)))
    official = usrnet.USRNet().eval()  # the sizes of the official tiny weights, which are a download
    load = usrnet.load
    monkeypatch.setattr(usrnet, "load", lambda name: official if name == "usrnet-tiny" else load(name), raising=False)
    names = {
        "image": photo[:48, :48], "lr": torch.rand(1, 3, 9, 9), "kernel": torch.ones(1, 1, 1, 1), "scale": 2,
        "sigma": torch.zeros(1, 1, 1, 1),
    }  # fmt: skip
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize("page", [page for page in WITH_PYTHON if page in ELSEWHERE])
def test_python_that_runs_elsewhere_compiles_and_names_what_is_there(page):
    import usrnet

    for block in blocks(page, "python"):
        tree = ast.parse(block, page)
        for module in (node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)):
            assert not module or not module.startswith("usrnet") or importlib.util.find_spec(module), module
        for name in set(re.findall(r"\busrnet\.([\w.]+)\(", block)):
            if not name.startswith("interop."):
                assert attrgetter(name)(usrnet), name


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")])
def test_configs_are_valid(page):
    from usrnet.train.config import TrainConfig

    for block in blocks(page, "toml"):
        given = tomllib.loads(block)
        if given.keys() & {"objective", "schedule", "kernels", "optimiser", "degradation"}:
            TrainConfig.model_validate({"run": {"output": "x"}, "data": {"folders": ["photos"]}} | given)


def test_the_reference_of_the_config_can_be_copied_into_one():
    pytest.importorskip("latex2mathml")
    from usrnet.train.config import Rates, TrainConfig

    spec = importlib.util.spec_from_file_location("mkdocs_hooks", ROOT / "mkdocs_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    text = hooks.config_keys()
    lines = re.findall(r"^(?:## (\[.*\])|\| `(\w+)` \| .* \| `(.*)` \|)$", text, re.MULTILINE)
    written = "\n".join(section or f"{key} = {value}" for section, key, value in lines)
    given = tomllib.loads(written)
    given["run"]["output"], given["data"]["folders"] = "x", ["photos"]
    plain = TrainConfig.model_validate({"run": {"output": "x"}, "data": {"folders": ["photos"]}})
    copied = TrainConfig.model_validate(given)
    assert copied.discriminator.schedule == Rates()  # a section that may be left out
    without = copied.discriminator.model_copy(update={"schedule": None})
    assert copied.model_copy(update={"discriminator": without}) == plain
    assert "(" not in "".join(re.findall(r"^\|.*\|$", text, re.MULTILINE))  # as Python would write them
    assert "| `channels` | list of 4: whole number > 0 | – |" in text


# --- what happens when they are typed ---

NOT_HERE = re.compile(
    r"usrnet-tiny|hf:|usrnet_tiny|^(web|bench|train|demo|batch|models|--version)\b|^evaluate (table1|blind)|\.HEIC"
)
GUIDES = [page for page in PAGES if page not in ("docs/results.md", "docs/models/default.md")]


def desk(folder: Path, photo: np.ndarray) -> None:
    """The files that the guides speak of, small ones."""
    import tifffile
    from astropy.io import fits
    from PIL import Image

    from usrnet import kernels

    rng = np.random.default_rng(0)
    small = Image.fromarray(photo[100:164, 150:230])
    for name in ("photo.jpg", "night.jpg", "photo.tif", "sharp.png", "small.png", "blurred.png", "cells.tif"):
        small.save(folder / name)
    Image.fromarray(photo[100:260, 150:330]).save(folder / "shaken.jpg")
    for name in ("holiday/a.jpg", "scans/b.tif", "DCIM/c/d.jpg", "set5/e.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        small.save(folder / name)
    tifffile.imwrite(folder / "stack.ome.tif", rng.integers(0, 4000, (2, 40, 40), np.uint16))
    kernels.save(folder / "psf.tif", kernels.gaussian(1.5))
    kernels.save(folder / "star.fits", kernels.moffat(3, 3))
    kernels.save(folder / "beads.npy", kernels.gaussian(1.5))
    tifffile.imwrite(folder / "psfs.tif", np.stack([kernels.gaussian(1), kernels.gaussian(1.4)]).astype(np.float32))
    scipy.io.savemat(folder / "psf.mat", {"k": np.stack([kernels.gaussian(w) for w in (1, 2, 3)], axis=-1)})
    tifffile.imwrite(
        folder / "bead.tif", (100 + 4000 * kernels.gaussian(2) / kernels.gaussian(2).max()).astype(np.uint16)
    )
    (folder / "grid.json").write_text('{"kernels": [["gaussian:1", "gaussian:2"], ["gaussian:1.4", "gaussian:1.8"]]}')
    points = np.zeros((320, 320))
    for row in range(30, 300, 40):
        for column in range(30, 300, 40):
            points[row + rng.integers(5), column + rng.integers(5)] = rng.uniform(30, 60)
    field = scipy.ndimage.gaussian_filter(points, 1.6) * 900 + 300 + rng.normal(0, 3, points.shape)
    for name in ("field.tif", "beads.tif"):
        tifffile.imwrite(folder / name, field.astype(np.uint16))
    for name in ("m31.fits", "m51.fits"):
        fits.writeto(folder / name, field.astype(np.float32))
    y, x = np.mgrid[:400, :600]  # a slanted edge in the middle of either box
    slanted = x + 0.1 * y
    chart = scipy.ndimage.gaussian_filter(np.where((slanted > 111) & (slanted < 497), 200.0, 40.0), 1.2)
    for name in ("chart.png", "chart.jpg"):
        Image.fromarray(chart.astype(np.uint8)).save(folder / name)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in GUIDES if any(map(ours, command_lines(page)))])
@pytest.mark.filterwarnings("ignore::usrnet.errors.UsrnetWarning")
def test_commands_run(page, tmp_path, monkeypatch, photo):
    """One after the other, as somebody does who reads the page with their files beside them."""
    from typer.testing import CliRunner

    from usrnet.cli import app

    desk(tmp_path, photo)
    monkeypatch.chdir(tmp_path)
    for command in command_lines(page):
        arguments = ours(command)
        if not arguments or NOT_HERE.search(" ".join(arguments)) or arguments[:2] == ["restore", "-"]:
            continue
        if "--help" in arguments or "…" in " ".join(arguments) or "COMMAND" in arguments:
            continue
        if any(argument.startswith("demo/") for argument in arguments) and not Path("demo").exists():
            CliRunner().invoke(app, ["demo", "-o", "demo"], catch_exceptions=False)
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{page}: usrnet {' '.join(arguments)}: {result.output} {result.exception!r}"
