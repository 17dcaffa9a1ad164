"""Which files a command reads and which it writes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from usrnet.errors import UsrnetError
from usrnet.io import SUFFIXES


@dataclass(frozen=True)
class Job:
    """One picture to read and where its result goes."""

    source: Path
    target: Path


def find_pictures(inputs: Iterable[str], *, recursive: bool = False) -> list[tuple[Path, Path]]:
    """The pictures behind files, globs and folders, each with the folder that its output path is relative to.

    Names are in order and without repeats. A file is taken whatever its suffix (its content decides); of
    folders and globs the files with a known picture suffix are taken. Raises ``UsrnetError`` when a folder or
    glob holds none.
    """
    found: dict[Path, Path] = {}
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            walk = path.rglob("*") if recursive else path.glob("*")
            files = sorted(file for file in walk if _is_picture(file))
            root = path
        elif has_magic(text) and not path.exists():
            files = sorted(file for file in map(Path, glob(text, recursive=True)) if _is_picture(file))  # noqa: PTH207
            root = None
        else:
            files, root = [path], None
        if not files:
            hint = "" if recursive or not path.is_dir() else " (--recursive looks into its folders)"
            raise UsrnetError(f"{text}: no pictures there{hint}")
        for file in files:
            found.setdefault(file, root or file.parent)
    return list(found.items())


def plan_jobs(pictures: Sequence[tuple[Path, Path]], output: Path | None, *, scale: int) -> list[Job]:
    """Where every picture's result goes: ``NAME_x4.png`` beside it, or in the folder ``output``.

    ``output`` may be a file name when there is one picture. An earlier result that lies among the inputs is
    not taken for a picture. Raises ``UsrnetError`` when a result would overwrite an input or another result.
    """
    if output is not None and output.suffix and not output.is_dir():
        if len(pictures) != 1:
            raise UsrnetError(f"{output} is one file, but there are {len(pictures)} pictures: give -o a folder")
        jobs = [Job(pictures[0][0], output)]
    else:
        jobs = _named_jobs(pictures, output, scale)
        targets = {job.target.resolve() for job in jobs}
        jobs = [job for job in jobs if job.source.resolve() not in targets]
    sources = {job.source.resolve() for job in jobs}
    for job in jobs:
        if job.target.resolve() in sources:
            raise UsrnetError(f"{job.target} is an input: choose another name with -o")
    return jobs


def _named_jobs(pictures: Sequence[tuple[Path, Path]], output: Path | None, scale: int) -> list[Job]:
    def folder(source: Path, root: Path) -> Path:
        return source.parent if output is None else output / source.parent.relative_to(root)

    jobs = []
    taken: set[Path] = set()
    for source, root in pictures:
        suffix = ".tif" if source.suffix.lower() in (".tif", ".tiff") else ".png"
        target = folder(source, root) / f"{source.stem}_x{scale}{suffix}"
        if target in taken:  # two pictures that differ in their suffix alone
            target = folder(source, root) / f"{source.stem}_{source.suffix[1:]}_x{scale}{suffix}"
        if target in taken:
            raise UsrnetError(f"{source}: another picture is already written to {target}")
        taken.add(target)
        jobs.append(Job(source, target))
    return jobs


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
