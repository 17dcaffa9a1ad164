"""What is wrong about a command is one sentence, before its work, and costs nobody a file."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from usrnet.cli import main


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture, and all names are relative to its folder."""
    monkeypatch.chdir(tmp_path)
    path = Path("a.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 14, 3), dtype=np.uint8)).save(path)
    return path


def usrnet(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of the command."""
    monkeypatch.setattr(sys, "argv", ["usrnet", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert isinstance(stop.value.code, int)
    return stop.value.code


EXTRAS = {"explain": "matplotlib", "--plot": "matplotlib", "batch": "ray"}


def skip_without_extras(command: str) -> None:
    for word, package in EXTRAS.items():
        if word in command.split():
            pytest.importorskip(package)


DEGRADE = ["degrade", "a.png", "-o", "b.png", "--scale", "2", "--kernel", "delta"]


@pytest.mark.parametrize(
    "command",
    [
        "estimate a.png -o a.png",
        "explain a.png -o a.png --model tv",
        "explain small.png --truth a.png -o a.png --model tv",
        "kernel --from-stars a.png -o a.png",
        "degrade a.png -o a.png --scale 2 --kernel delta",
    ],
)
def test_no_command_writes_over_what_it_reads(picture, monkeypatch, capsys, command):
    skip_without_extras(command)
    Image.fromarray(np.zeros((6, 7, 3), np.uint8)).save("small.png")
    before = picture.read_bytes()
    assert usrnet(monkeypatch, *command.split()) == 2
    assert capsys.readouterr().err == "usrnet: a.png is an input: choose another name with -o\n"
    assert picture.read_bytes() == before


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("explain a.png -o d.png --model tv", "d.png is a folder: name a file in it"),
        ("bench -o d.png", "d.png is a folder: name a file in it"),
        ("bench --plot d.png", "d.png is a folder: name a file in it"),
        ("degrade a.png -o d.png --scale 2 --kernel delta", "d.png is a folder: name a file in it"),
        ("degrade a.png -o dg --scale 2 --kernel delta", "dg: cannot write a file without suffix"),
        ("degrade a.png -o - --scale 2 --kernel delta", "-: cannot write a file without suffix"),
        ("restore a.png --model tv -o out.xyz", "out.xyz: cannot write .xyz"),
        ("restore a.png --model tv -o results.v1", "results.v1: cannot write .v1"),
        ("restore a.png --model tv -o a.png/", "a.png: files cannot be written there (File exists)"),
        ("restore - --model tv -o out.xyz", "out.xyz: cannot write .xyz"),
        ("restore - --model tv -o d.png", "d.png is a folder, and what comes from standard input has no name"),
        ("restore - --model tv -o new/", "new/ is a folder, and what comes from standard input has no name"),
        ("restore a.png --model tv --kernel=", "kernel '' is not known: use delta"),
        ("explain a.png -o b.png --kernel=", "kernel '' is not known: use delta"),
        ("batch a.png out --kernel=", "kernel '' is not known: use delta"),
        ("restore a.png --model tv --align", "--align: only for kernel files, and gaussian:0.7 is none"),
        ("restore a.png --model tv --align --kernel auto", "--align: only for kernel files, and auto is none"),
        ("restore a.png --model tv --align --kernel disk:2", "--align: only for kernel files, and disk:2 is none"),
        ("evaluate blind . -o out --model tv --model default", "--model default: the protocol blind takes one model"),
        (
            "evaluate blind . -o out --ensemble --perceptual --protocol float --workers 2 --examples 6",
            "--protocol, --workers, --examples, --ensemble, --perceptual: not for the protocol blind",
        ),
        (
            "evaluate blind . -o out --kernels k.mat --scales 2",
            "--kernels: the protocol blind takes kernels from a file at --scales 1 only",
        ),
        ("evaluate blind . -o out --scales 1 --noise 5 --draws 2", "--noise, --draws: not for --scales 1, where"),
        ("evaluate blind absent -o out", "absent: there is no such folder of pictures"),
        ("evaluate blind . -o out --scales 5", "scale 5 is not supported"),
        ("evaluate table1 . -o out --draws 2", "--draws: only for the protocol blind"),
        ("evaluate bicubic . -o out --protocol float", "--protocol: only for the protocol table1"),
        ("evaluate bicubic . -o out --scales inf", "--scales 'inf' is not a list of numbers"),
        ("evaluate bicubic . -o out --scales nan", "--scales 'nan' is not a list of numbers"),
        ("evaluate bicubic . -o out --scales 2.5", "--scales: 2.5 is not a whole number"),
        ("evaluate bicubic . -o out --noise=", "--noise '' is not a list of numbers"),
        ("evaluate blind . -o out --noise=", "--noise '' is not a list of numbers"),
        (
            "kernel --from-stars --from-beads a.png -o k.npy",
            "--from-beads: one kernel is measured at a time, and --from-stars is given already",
        ),
        (
            "kernel --from-stars --gamma 2.2 --center --background auto --align a.png -o k.npy",
            "--align, --center, --background, --gamma: only for kernel files, and --from-stars measures a kernel",
        ),
        ("estimate a.png -o k.xyz", "k.xyz: a kernel file is one of .png, .npy"),
        ("kernel a.png --from-stars -o k.xyz", "k.xyz: a kernel file is one of .png, .npy"),
        ("kernel a.png --from-edge= -o k.npy", "the box '' is not LEFT,TOP,WIDTH,HEIGHT"),
    ],
)
def test_wrong_usage(picture, monkeypatch, capsys, command, text):
    skip_without_extras(command)
    Path("d.png").mkdir()
    assert usrnet(monkeypatch, *command.split()) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"usrnet: {text}")
    assert said.err.count("\n") == 1
    assert not said.out
    assert sorted(path.name for path in Path().iterdir()) == ["a.png", "d.png"]


def test_a_seed_is_not_negative(picture, monkeypatch, capsys):
    assert usrnet(monkeypatch, *DEGRADE, "--seed", -1) == 2
    assert "--seed" in capsys.readouterr().err


@pytest.mark.parametrize(("debug", "kind"), [([], SystemExit), (["--debug"], OSError)])
def test_what_the_system_refuses_is_one_sentence(picture, monkeypatch, capsys, debug, kind):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "b.png")

    monkeypatch.setattr("usrnet.io.write", refuse)
    monkeypatch.setattr(sys, "argv", ["usrnet", *DEGRADE, *debug])
    with pytest.raises(kind) as stop:
        main()
    if not debug:
        assert stop.value.args == (1,)
        assert capsys.readouterr().err == "usrnet: b.png: No space left on device\n"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_memory_that_does_not_suffice_is_one_sentence(picture, monkeypatch, capsys, error):
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("usrnet.degrade", refuse)
    assert usrnet(monkeypatch, *DEGRADE) == 1
    assert capsys.readouterr().err.startswith("usrnet: not enough memory: ")
