"""Which files a command reads, which it writes, and which of them are there already."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from glob import glob, has_magic
from pathlib import Path
from typing import BinaryIO

from usrnet.errors import UsrnetError
from usrnet.io import SUFFIXES, kind_of, read_provenance, result_suffix
from usrnet.kernels import is_grid, read_grid, split_index
from usrnet.weights import registry


@dataclass(frozen=True)
class Recipe:
    """How a result is made, as far as it decides what it looks like; every result carries its recipe.

    ``source`` is the name of the picture without its folders, ``options`` what was asked for beside the defaults.
    ``contents``: the fingerprints of the files among picture, kernel and model, by these words: a name says little,
    as cameras and people give the same ones again.
    """

    scale: int
    kernel: str
    noise_level: float | str
    model: str
    source: str = ""
    options: str = ""
    all_pages: bool = False
    contents: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_settings(
        cls, scale: int, kernel: str, noise_level: float | str, model: str, options: str = ""
    ) -> "Recipe":
        """The recipe without a picture yet; of kernel and model files the names without their folders."""
        file, _ = split_index(kernel) or (Path(kernel) if is_grid(kernel) else None, None)
        marks = {
            "kernel": "" if file is None else fingerprint(file),  # a file called delta is no kernel
            "model": "" if model in registry.names() else fingerprint(Path(model)),
        }
        return cls(
            scale,
            Path(kernel).name,
            noise_level,
            Path(model).name if marks["model"] else model,
            options=options,
            contents={what: mark for what, mark in marks.items() if mark},
        )

    def of_picture(self, source: Path) -> "Recipe":
        """The recipe for a picture."""
        mark = fingerprint(source)
        return replace(self, source=source.name, contents=self.contents | ({"picture": mark} if mark else {}))

    def difference(self, before: "Recipe") -> str:
        """What was different when a result was made, in words; empty if nothing was."""
        keys = [one.name for one in fields(self) if one.name != "contents"]
        words = [
            f"{key.replace('_', ' ')} {getattr(before, key)}"
            for key in keys
            if getattr(before, key) != getattr(self, key)
        ]
        if not words:
            marks = {what for what in {**before.contents, **self.contents} if self._is_other(what, before)}
            words = [f"from another {what} of this name" for what in ("picture", "kernel", "model") if what in marks]
        return ", ".join(words)

    def _is_other(self, what: str, before: "Recipe") -> bool:
        return before.contents.get(what) != self.contents.get(what)

    def text(self) -> str:
        """What is written into the result; what was not asked for is not named."""
        usual = {one.name: one.default for one in fields(self)} | {"contents": {}}
        said = {key: value for key, value in asdict(self).items() if value != usual[key]}
        return json.dumps(said, ensure_ascii=True)

    @classmethod
    def of(cls, path: Path) -> "Recipe | None":
        """The recipe that a file carries, or None when it is no result of ours."""
        return cls.read(read_provenance(path) or "")

    @classmethod
    def read(cls, text: str) -> "Recipe | None":
        """The inverse of :meth:`text`; None for any other text."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None


def fingerprint(path: Path) -> str:
    """Eight digits that tell the content of a file or folder from another: of its size, first and last MiB.

    Empty where there is none. A grid of kernels that a ``.json`` names counts with the files that it names.
    """
    mark = hashlib.blake2b(digest_size=4)
    try:
        for file in _files_of(path):
            with file.open("rb") as content:
                size = content.seek(0, os.SEEK_END)
                mark.update(str(size).encode())
                for start in (0, max(2**20, size - 2**20)):
                    content.seek(start)
                    mark.update(content.read(2**20))
    except (OSError, ValueError):  # nothing there, or no name of a file at all
        return ""
    return mark.hexdigest()


def _files_of(path: Path) -> list[Path]:
    """What counts with a file or folder; the kernels that a grid names lie beside it unless they are elsewhere."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    if path.suffix.lower() != ".json":
        return [path]
    try:
        texts = [text for row in read_grid(path) for text in row]
    except UsrnetError:  # whoever parses the grid says what is wrong with it
        return [path]
    return [path, *(file[0] for text in texts if (file := split_index(text)))]


@dataclass(frozen=True)
class Job:
    """One picture to read and where its result goes."""

    source: Path | BinaryIO
    target: Path | BinaryIO
    recipe: Recipe

    @property
    def names(self) -> tuple[str, str]:
        """Source and target as they are said to people; ``-`` for a stream."""
        source, target = (str(one) if isinstance(one, Path) else "-" for one in (self.source, self.target))
        return source, target


def find_pictures(
    inputs: Iterable[str], *, recursive: bool = False, passed_over: Callable[[str], None] = lambda text: None
) -> list[tuple[Path, Path]]:
    """The pictures behind files, globs and folders, each with the folder that its output path is relative to.

    Names are in order and without repeats. A file is taken whatever its suffix (its content decides); of
    folders and globs the files with a known picture suffix are taken, unless they are results of ours. Raises
    ``UsrnetError`` when a folder or glob holds none. ``passed_over`` is called with a sentence on a folder's files
    that are no pictures by their suffix.
    """
    found: dict[Path, Path] = {}
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            walk = path.rglob("*") if recursive else path.glob("*")
            everything = [file for file in walk if file.is_file() and not file.name.startswith(".")]
            candidates = sorted(file for file in everything if _is_picture(file))
            if others := [file for file in everything if not _is_picture(file)]:
                passed_over(_others(path, others))
            root = path
        elif has_magic(text) and not path.exists():
            names = glob(text, recursive=True)  # noqa: PTH207
            candidates = sorted(file for file in map(Path, names) if _is_picture(file))
            root = None
        else:
            found.setdefault(path, path.parent)
            continue
        files = [file for file in candidates if Recipe.of(file) is None]
        if not files:
            deeper = path.is_dir() and not recursive and any(inner.is_dir() for inner in path.iterdir())
            hint = (
                " (its folders are not looked into: `restore` and `batch` do it with --recursive)" if deeper else ""
            )
            results = f" but {len(candidates)} earlier results" if candidates else ""
            raise UsrnetError(f"{text}: no pictures there{results}{hint}")
        for file in files:
            found.setdefault(file, root or file.parent)
    return list(found.items())


def _others(folder: Path, others: Sequence[Path]) -> str:
    """One line on the files of a folder that are not taken."""
    counts = Counter(file.suffix.lower() or "no suffix" for file in others)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items(), key=lambda pair: -pair[1])[:8])
    more = f" and {len(counts) - 8} other kinds" if len(counts) > 8 else ""
    return f"{folder}: passed over as no pictures: {kinds}{more}"


def plan_jobs(pictures: Sequence[tuple[Path, Path]], output: str | Path | None, recipe: Recipe) -> list[Job]:
    """A job for every picture that has a result, see :func:`name_results`. Raises ``UsrnetError`` as it."""
    named = name_results(pictures, output, scale=recipe.scale, all_pages=recipe.all_pages)
    return [Job(source, target, recipe.of_picture(source)) for source, target in named]


def name_results(
    pictures: Sequence[tuple[Path, Path]], output: str | Path | None, *, scale: int, all_pages: bool = False
) -> list[tuple[Path, Path]]:
    """Where every picture's result goes: ``NAME_x4.png`` beside it, or in the folder ``output``.

    ``output`` may be a file name when there is one picture; with a slash at its end it is a folder. Where
    ``NAME_x4.png`` is the result of another picture, of ``NAME.jpg`` and ``NAME.png`` say, the name is
    ``NAME_png_x4.png``; what a result is called once it is called ever after. Raises ``UsrnetError`` when a result
    would overwrite an input or another result, or when its format cannot be written.
    """
    if output is not None and _is_file_name(output):
        target = Path(output)
        if len(pictures) != 1:
            raise UsrnetError(f"{target} is one file, but there are {len(pictures)} pictures: give -o a folder")
        kind_of(target, animated=all_pages)
        named = [(pictures[0][0], target)]
    else:
        named = _named_in(None if output is None else Path(output), pictures, scale=scale, all_pages=all_pages)
    sources = {source.resolve() for source, _ in named}
    for _, target in named:
        if target.resolve() in sources:
            raise UsrnetError(f"{target} is an input: choose another name with -o")
    return named


def _is_file_name(output: str | Path) -> bool:
    ends_open = str(output).endswith(("/", os.sep))
    path = Path(output)
    return bool(path.suffix) and not ends_open and not path.is_dir()


def _named_in(
    output: Path | None, pictures: Sequence[tuple[Path, Path]], *, scale: int, all_pages: bool
) -> list[tuple[Path, Path]]:
    named: dict[Path, Path] = {}  # by target
    inputs = {source.resolve() for source, _ in pictures}
    results = set()  # inputs that are what another input became before
    for source, root in pictures:
        folder = source.parent if output is None else output / source.parent.relative_to(root)
        suffix = result_suffix(source, all_pages=all_pages)
        plain = folder / f"{source.stem}_x{scale}{suffix}"
        longer = folder / f"{source.stem}_{source.suffix[1:]}_x{scale}{suffix}"
        # Who has the plain name already, in this run or on the disk, keeps it.
        owner = Recipe.of(plain)
        input_too = plain.resolve() in inputs
        taken = plain in named or (input_too if owner is None else owner.source != source.name)
        if input_too and not taken:
            results.add(plain.resolve())
        target = longer if taken else plain
        if target in named:
            raise UsrnetError(f"{source}: another picture is already written to {target}")
        named[target] = source
    return [(source, target) for target, source in named.items() if source.resolve() not in results]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
