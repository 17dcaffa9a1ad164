"""A plan carried out by Ray Data: a dataset of names, and a pool of actors that each hold one network.

No pixel goes through Ray. An actor reads a picture, restores it and writes the result by itself, and returns a row of
the manifest. A worker that dies is replaced by Ray and its pictures are done again; a result that is there already is
what another attempt left, so that every picture has exactly one, complete.
"""

import contextlib
import io
import json
import logging
import os
import socket
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from usrnet import io as pictures
from usrnet.batch.manifest import Manifest, Row
from usrnet.batch.places import is_address, place
from usrnet.batch.plan import Plan, Settings, Task
from usrnet.device import choose_device, choose_precision, keep_freed_memory
from usrnet.errors import PictureError, UsrnetError, UsrnetWarning, require
from usrnet.restoration import Observation, Outcome, Restorer, Unknown, restore_pictures, sort_out
from usrnet.restoration.jobs import Job, Recipe

WORKER_MEMORY = 2 * 2**30
"""Bytes that a worker asks its machine for: large tiles of the full network take 1.7 GB (docs/tiles.md)."""

MANIFEST_SECONDS = 10.0  # how often the manifest is written while the work goes on
MOST_BLOCKS = 5000  # a block of names is what is done again when a worker dies; each costs Ray some milliseconds
ANSWER_SECONDS = 10  # how long a cluster may take to answer
SETTINGS_FRAME = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # what an HTTP/2 connection, and so gRPC, begins with


def run_batch(
    plan: Plan,
    *,
    address: str | None = None,
    workers: int | None = None,
    threads: int = 1,
    precision: str = "auto",
    tile: int | str = "auto",
    max_pixels: int = pictures.DEFAULT_MAX_PIXELS,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Manifest:
    """Restore every picture of a plan; the manifest says what became of each. Results that are there are left alone.

    ``address``: of a cluster that runs (``host:6379``, ``ray://host:10001`` or ``auto``), else one starts on this
    machine. ``workers``: at most; as many as the cluster's CPUs or GPUs allow if None. ``threads``: CPUs of each
    worker. ``progress``: called with the number of pictures done and of all. Raises ``UsrnetError`` when the cluster
    cannot be reached or the manifest not be written before the work; afterwards that is its ``unwritten``. Whatever a
    picture raises is in its row.
    """
    ray = require("ray", extra="batch")
    require("ray.data", extra="batch")
    manifest = Manifest(plan.folder)
    todo = _still_to_do(plan, manifest, overwrite=overwrite)
    total = len(plan.tasks)
    progress(total - len(todo), total)
    if not todo:
        manifest.write()
        return manifest
    manifest.write()  # a place that cannot be written is told before the work
    network = _network(plan.model)  # what is wrong with it is told before a cluster starts
    _join(ray, address, cpus=None if workers is None else workers * threads, threads=threads)
    try:
        written = time.monotonic()
        done = total - len(todo)
        rows = _dataset(ray, plan, todo, network, workers, threads, precision, tile, max_pixels, overwrite=overwrite)
        try:
            for row in rows.iter_rows():
                manifest.add(
                    [Row(**{key: getattr(value, "item", lambda value=value: value)() for key, value in row.items()})]
                )
                done += 1
                progress(done, total)
                if time.monotonic() - written > MANIFEST_SECONDS:
                    with contextlib.suppress(UsrnetError):  # a full disk need not stop the workers; told at the end
                        manifest.write()
                    written = time.monotonic()
        except ray.exceptions.RayError as error:
            raise UsrnetError(
                f"the cluster gave up ({_first_line(error)}): what is finished stays, run it again"
            ) from error
    finally:
        try:
            manifest.write()
        except UsrnetError as error:  # the rows are worth more than their file
            manifest.unwritten = error
        ray.shutdown()
    return manifest


def _still_to_do(plan: Plan, manifest: Manifest, *, overwrite: bool) -> list[tuple[Task, Recipe]]:
    """The tasks without a result, with their recipes; the others are noted in the manifest."""
    todo = []
    recipes = {known: known.recipe(plan.model) for known in plan.observations}
    for task in plan.tasks:
        job = _job(task, recipes[task.settings])
        if is_address(task.target):
            before = manifest.rows.get(task.target)
            wanted = _row(task, job.recipe, "written")
            there = not overwrite and place(task.target).exists()
            if there and before is not None and before.status != "failed" and _asked(before) == _asked(wanted):
                continue
            fresh, settled = _sort_out_elsewhere(job, task.target) if there else ([job], [])
        else:
            fresh, settled = sort_out([job], overwrite=overwrite)
        for outcome in settled:
            status = outcome.status
            manifest.add([_row(task, job.recipe, status, error=outcome.message if status == "failed" else "")])
        if fresh:
            todo.append((task, job.recipe))
    return todo


def _sort_out_elsewhere(job: Job, address: str) -> tuple[list[Job], list[Outcome]]:
    """``sort_out`` for a result at an address, which the manifest does not know: the file itself says what it is."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "result"
        try:
            copy.write_bytes(place(address).read().getbuffer())
        except PictureError as error:
            return [], [Outcome(job, "failed", f"{address}: already there, left alone: {error}")]
        fresh, settled = sort_out([replace(job, target=copy)], overwrite=False)
    return fresh, [replace(one, message=one.message.replace(str(copy), address)) for one in settled]


def _dataset(
    ray: Any,
    plan: Plan,
    todo: list[tuple[Task, Recipe]],
    network: Any,
    workers: int | None,
    threads: int,
    precision: str,
    tile: int | str,
    max_pixels: int,
    *,
    overwrite: bool,
) -> Any:
    """The rows of the manifest, as a dataset that does the work when it is read."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = any(machine.get("GPU", 0) for machine in machines)
    wants = {"CPU": threads, "memory": WORKER_MEMORY, "GPU": int(gpus)}
    most = sum(
        int(min(machine.get(kind, 0) // number for kind, number in wants.items() if number)) for machine in machines
    )
    if not most:  # Ray would wait for a larger machine without a word
        raise UsrnetError(
            f"no machine has room for a worker, which asks for {threads} CPUs and "
            f"{WORKER_MEMORY / 2**30:g} GB{' and a GPU' if gpus else ''}: give fewer --threads, or a larger machine"
        )
    size = min(most if workers is None else workers, len(todo))
    settings = list(dict.fromkeys(task.settings for task, _ in todo))
    number = {known: index for index, known in enumerate(settings)}
    if not gpus:
        choose_precision(precision, choose_device("cpu"))  # told here, or every worker would stop at it
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # ours is drawn
    context.execution_options.preserve_order = False
    names = [
        {
            "source": task.source,
            "target": task.target,
            "settings": number[task.settings],
            "recipe": recipe.text(),
        }
        for task, recipe in todo
    ]
    return ray.data.from_items(names, override_num_blocks=min(len(names), MOST_BLOCKS)).map_batches(
        Worker,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            min_size=1, max_size=size, initial_size=min(size, most), max_tasks_in_flight_per_actor=2
        ),
        num_cpus=threads,
        num_gpus=1 if gpus else 0,
        memory=WORKER_MEMORY,
        fn_constructor_kwargs={
            "network": ray.put(network),
            "known": ray.put([(one, plan.observations[one]) for one in settings]),
            "device": "cuda" if gpus else "cpu",
            "precision": precision,
            "tile": tile,
            "threads": threads,
            "max_pixels": max_pixels,
            "overwrite": overwrite,
        },
    )


class Worker:
    """The actor: one network, and what is known of the pictures."""

    def __init__(
        self,
        *,
        network: Any,
        known: Any,
        device: str,
        precision: str,
        tile: int | str,
        threads: int,
        max_pixels: int,
        overwrite: bool,
    ) -> None:
        import ray
        import torch

        torch.set_num_threads(threads)
        keep_freed_memory()
        self.known: list[tuple[Settings, Observation | Unknown]] = ray.get(known)
        self.restorer = Restorer(ray.get(network), device=device, precision=precision, tile=tile)
        self.max_pixels, self.overwrite = max_pixels, overwrite
        self.name = f"{socket.gethostname()}:{os.getpid()}"

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A batch of one name → its row of the manifest."""
        keys = ("source", "target", "settings", "recipe")
        (source,), (target,), (index,), (text,) = (batch[key].tolist() for key in keys)
        settings, known = self.known[index]
        task, recipe = Task(source, target, settings), Recipe.read(text)
        assert recipe is not None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UsrnetWarning)
            row = self._restore(task, recipe, known)
        notes = dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, UsrnetWarning))
        row = replace(row, notes="; ".join(notes))
        return {key: np.array([value]) for key, value in asdict(row).items()}

    def _restore(self, task: Task, recipe: Recipe, known: Observation | Unknown) -> Row:
        job = Job(Path(task.source), Path(task.target), recipe)
        if is_address(task.source) or is_address(task.target):
            return self._elsewhere(task, job, known)
        assert isinstance(job.target, Path)
        if not self.overwrite and Recipe.of(job.target) == job.recipe:  # by an attempt whose worker died later
            return _row(task, recipe, "written", worker=self.name)
        (outcome,) = restore_pictures(self.restorer, [job], known, max_pixels=self.max_pixels)
        _sweep(job.target)
        return self._row_of(task, outcome)

    def _elsewhere(self, task: Task, job: Job, known: Observation | Unknown) -> Row:
        """Read as a whole, restore in memory, write as a whole: what object stores can do."""
        begin = time.perf_counter()
        result = io.BytesIO()
        try:
            job = replace(job, source=_read(task.source), target=result)
            (outcome,) = restore_pictures(self.restorer, [job], known, max_pixels=self.max_pixels)
            outcome = replace(outcome, message=outcome.message.replace("-:", f"{task.source}:", 1))
            if outcome.status == "written":
                _write(task.target, result.getvalue())
        except PictureError as refused:
            outcome = Outcome(job, "failed", str(refused))
        return self._row_of(task, replace(outcome, seconds=time.perf_counter() - begin))

    def _row_of(self, task: Task, outcome: Outcome) -> Row:
        found = "" if outcome.estimate is None else json.dumps(outcome.estimate.record(), ensure_ascii=False)
        return _row(
            task, outcome.job.recipe, outcome.status, seconds=outcome.seconds, error=outcome.message, estimate=found,
            worker=self.name, peak_mb=outcome.peak_mb,
        )  # fmt: skip


def _read(name: str) -> io.BytesIO:
    if is_address(name):
        return place(name).read()
    try:
        return io.BytesIO(Path(name).read_bytes())
    except OSError as error:
        raise PictureError(f"{name}: cannot be read ({error.strerror})") from error


def _write(name: str, content: bytes) -> None:
    place(name if is_address(name) else f"file://{Path(name).absolute()}").write(content)


def _sweep(target: Path) -> None:
    """Remove what a killed worker had begun to write for this target."""
    for part in target.parent.glob(f".{target.name[:100]}.*.part"):
        with contextlib.suppress(OSError):
            part.unlink()


def _job(task: Task, recipe: Recipe) -> Job:
    """Planned where the command was given: a worker's machine need not have the files of kernel and model."""
    return Job(Path(task.source), Path(task.target), recipe.of_picture(Path(task.source)))


def _row(task: Task, recipe: Recipe, status: Any, **more: Any) -> Row:
    noise = recipe.noise_level if isinstance(recipe.noise_level, str) else f"{recipe.noise_level:g}"
    marks = json.dumps({what: mark for what, mark in sorted(recipe.contents.items()) if what != "picture"})
    asked = recipe.scale, recipe.kernel, noise, recipe.model
    return Row(task.source, task.target, *asked, status, contents=marks, **more)


def _asked(row: Row) -> tuple[Any, ...]:
    """What decides, of the things that the manifest knows, what a result looks like."""
    return row.input, row.scale, row.kernel, row.noise_level, row.model, row.contents


def _network(model: str) -> Any:
    """The model itself: another machine need not have its file."""
    from usrnet.weights import load

    return load(model)


def _join(ray: Any, address: str | None, *, cpus: int | None, threads: int) -> None:
    """Connect to a cluster, or start one here with ``cpus``; say so where no worker of ``threads`` can begin yet."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its lines would stand among ours
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it says at every start what will change
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address not in (None, "auto"):
        _answers(address)
    try:
        if address is None:
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, **options)
        else:
            ray.init(address=address, **options)
    except Exception as error:  # Ray's own kinds depend on how far it came
        what = "start a cluster on this machine" if address is None else f"join the cluster at {address}"
        raise UsrnetError(
            f"cannot {what} ({_first_line(error)}): try again, or see what `ray status` says"
        ) from error
    free = ray.available_resources().get("CPU", 0)
    if address is not None and free < threads:  # Ray waits for them without a word
        text = f"others use the cluster, {free:g} of its CPUs are free: the work begins when {threads} are"
        warnings.warn(text, UsrnetWarning, stacklevel=3)


def _answers(address: str) -> None:
    """Ray tries for minutes where nobody listens, or something else does; so it is asked for a word of gRPC first."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise UsrnetError(f"{address!r} is not the address of a cluster: write HOST:6379, ray://HOST:10001 or auto")
    try:
        with socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS) as connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS_FRAME)
            answer = connection.recv(len(SETTINGS_FRAME))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UsrnetError(f"no cluster answers at {address} ({reason}): start one with `ray start --head`") from error
    encrypted = os.environ.get("RAY_USE_TLS", "0") != "0"
    if not encrypted and answer[3:4] != SETTINGS_FRAME[3:4]:
        raise UsrnetError(f"what answers at {address} is no Ray cluster: see what `ray status` says there")


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
