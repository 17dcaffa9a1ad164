"""What a batch is to do: pictures, results, and the settings of each, checked before the first is restored."""

import csv
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path, PurePosixPath

from usrnet.batch.places import is_address, listing
from usrnet.errors import UsrnetError, UsrnetWarning
from usrnet.io import SUFFIXES
from usrnet.kernels import is_grid, split_index
from usrnet.restoration import AUTO, DEFAULT_NOISE_LEVEL, Observation, Unknown, ask, default_kernel
from usrnet.restoration.jobs import Recipe, find_pictures, name_results
from usrnet.restoration.noise import parse_noise

COLUMNS = ("picture", "scale", "kernel", "noise")


@dataclass(frozen=True)
class Settings:
    """What is said of a picture, as people write it; ``kernel`` None is the mild default.

    ``kernel`` and ``noise_level`` may be ``"auto"``: found in the picture by the worker that restores it.
    """

    scale: int = 2
    kernel: str | None = None
    noise_level: float | str = DEFAULT_NOISE_LEVEL

    @classmethod
    def of_texts(cls, scale: str | int, kernel: str | None, noise_level: str | float) -> "Settings":
        """Checked; a number is one, however it is written. Raises ``UsrnetError``."""
        try:
            scale = int(scale)
        except ValueError as error:
            raise UsrnetError(f"scale {scale!r} is not a whole number from 1 to 4") from error
        level = noise_level if noise_level == AUTO else parse_noise(noise_level)
        settings = cls(scale, kernel, level if isinstance(level, float) else str(noise_level))
        with warnings.catch_warnings(action="ignore", category=UsrnetWarning):  # the plan says them, once
            settings.observe()
        return settings

    def recipe(self, model: str) -> Recipe:
        return Recipe.of_settings(self.scale, self.kernel or default_kernel(self.scale), self.noise_level, model)

    def observe(self) -> Observation | Unknown:
        return ask(scale=self.scale, kernel=self.kernel, noise_level=self.noise_level)


@dataclass(frozen=True)
class Task:
    """One picture: paths or addresses, and its settings."""

    source: str
    target: str
    settings: Settings


@dataclass(frozen=True)
class Plan:
    """All tasks, the output folder, and what every setting means; the kernels are read where the plan is made."""

    folder: str
    tasks: list[Task]
    observations: Mapping[Settings, Observation | Unknown]
    model: str


def plan_batch(
    source: str,
    folder: str,
    settings: Settings,
    *,
    model: str = "default",
    by_picture: Mapping[str, Settings] | None = None,
    recursive: bool = False,
) -> Plan:
    """The tasks behind a folder, a glob, a picture, a list of them (``.txt``, one a line), or an address.

    ``by_picture``: settings of single pictures, by their name or their path as it is given. Raises ``UsrnetError``
    for pictures that are not there, settings that make no sense, and results that would overwrite one another.
    """
    pictures = _find(source, recursive=recursive)
    own = _assign(pictures, by_picture or {}, settings)
    observations = {}
    for known in dict.fromkeys(own.values()):
        observations[known] = known.observe()
    local = not is_address(folder) and not any(is_address(name) for name, _ in pictures)
    tasks = _local(pictures, folder, own) if local else _elsewhere(pictures, folder, own)
    return Plan(folder, tasks, observations, model)


def read_settings(path: Path, default: Settings) -> dict[str, Settings]:
    """A CSV file with the columns picture, and scale, kernel, noise as far as they differ from the default.

    Raises ``UsrnetError`` that names the line, for a file that cannot be read, columns that are not known, and values
    that make no sense. A relative kernel file is looked for beside the CSV file too.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsrnetError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    columns = reader.fieldnames or []
    if "picture" not in columns or not set(columns) <= set(COLUMNS):
        raise UsrnetError(
            f"{path}: the first line must name the columns, picture and some of {', '.join(COLUMNS[1:])}"
        )
    found: dict[str, Settings] = {}
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        name = (row["picture"] or "").strip()
        if not name:
            raise UsrnetError(f"{where}: no picture is named")
        if name in found:
            raise UsrnetError(f"{where}: {name} was there before")
        if None in row:
            raise UsrnetError(f"{where}: more fields than columns (quote a kernel that has commas)")
        try:
            found[name] = Settings.of_texts(
                row.get("scale") or default.scale,
                _beside((row.get("kernel") or "").strip() or default.kernel, path.parent),
                (row.get("noise") or "").strip() or default.noise_level,
            )
        except UsrnetError as error:
            raise UsrnetError(f"{where}: {error}") from error
    return found


def _beside(kernel: str | None, folder: Path) -> str | None:
    """A kernel's text; a file, or a grid, that is not where it is said to be lies beside the CSV file."""
    if kernel is None:
        return None
    named = split_index(kernel)
    file, index = named or (Path(kernel), None)
    here = folder / file
    beside = not file.exists() and (here.is_file() if named else here.exists() and is_grid(str(here)))
    return f"{here}{'' if index is None else f':{index}'}" if beside else kernel


def _find(source: str, *, recursive: bool) -> list[tuple[str, str]]:
    """Pictures, each with the folder that its result's path is relative to."""
    if is_address(source):
        root = source.rstrip("/") if not any(letter in source for letter in "*?[") else ""
        names = listing(source, tuple(SUFFIXES), recursive=recursive)
        return [(name, root if name.startswith(f"{root}/") and root else name.rpartition("/")[0]) for name in names]
    if source.lower().endswith(".txt"):
        return _listed(Path(source))
    if not has_magic(source) and not Path(source).exists():
        raise UsrnetError(f"{source}: there is no such picture or folder")
    return [(str(path), str(root)) for path, root in find_pictures([source], recursive=recursive)]


def _plain(name: str) -> str:
    """A path as ``Path`` writes it: ``find`` says ``./a.png``, and that is ``a.png``."""
    return name if is_address(name) else str(Path(name))


def _listed(path: Path) -> list[tuple[str, str]]:
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsrnetError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    names = list(dict.fromkeys(_plain(line) for line in lines if line and not line.startswith("#")))
    if not names:
        raise UsrnetError(f"{path}: no pictures are listed there, one a line")
    return [(name, name.rpartition("/")[0] if is_address(name) else str(Path(name).parent)) for name in names]


def _assign(
    pictures: Sequence[tuple[str, str]], by_picture: Mapping[str, Settings], default: Settings
) -> dict[str, Settings]:
    own, wanted = {}, {_plain(name): settings for name, settings in by_picture.items()}
    used = set()
    for name, root in pictures:
        relative = name[len(root) :].lstrip("/") if root and name.startswith(root) else name
        keys = [key for key in (name, relative, PurePosixPath(name).name) if key in wanted]
        used.update(keys)
        own[name] = wanted[keys[0]] if keys else default
    if missing := [name for name in wanted if name not in used]:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise UsrnetError(f"the settings name pictures that are not there: {', '.join(missing[:3])}{more}")
    return own


def _local(pictures: Sequence[tuple[str, str]], folder: str, own: Mapping[str, Settings]) -> list[Task]:
    by_scale: dict[int, list[tuple[Path, Path]]] = defaultdict(list)
    for name, root in pictures:
        by_scale[own[name].scale].append((Path(name), Path(root)))
    return [
        Task(str(source), str(target), own[str(source)])
        for scale, group in by_scale.items()
        for source, target in name_results(group, f"{folder.rstrip('/')}/", scale=scale)
    ]


def _elsewhere(pictures: Sequence[tuple[str, str]], folder: str, own: Mapping[str, Settings]) -> list[Task]:
    tasks: dict[str, Task] = {}
    for name, root in pictures:
        relative = PurePosixPath(name[len(root) :].lstrip("/"))
        s = own[name].scale
        suffix = ".tif" if relative.suffix.lower() in (".tif", ".tiff") else ".png"
        base = f"{folder.rstrip('/')}/{relative.with_suffix('')}"
        target = f"{base}_x{s}{suffix}"
        if target in tasks:
            target = f"{base}_{relative.suffix[1:]}_x{s}{suffix}"
        if target in tasks:
            raise UsrnetError(f"{name}: another picture is already written to {target}")
        tasks[target] = Task(name, target, own[name])
    return list(tasks.values())
