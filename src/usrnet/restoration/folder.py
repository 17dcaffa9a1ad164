"""Many pictures one after the other: each is written, left alone or failed, and none stops the others."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from usrnet import io as pictures
from usrnet.device import peak_memory_mb
from usrnet.errors import PictureError
from usrnet.restoration.files import Handling, restore_file
from usrnet.restoration.jobs import Job, Recipe
from usrnet.restoration.observation import Observation
from usrnet.restoration.restorer import Restorer
from usrnet.restoration.unknown import Unknown

if TYPE_CHECKING:
    from usrnet.estimate import Estimate


@dataclass(frozen=True)
class Outcome:
    """What became of one job; ``message`` says why it was left alone or failed, ``error`` is what was raised.

    ``seconds`` it took, and ``peak_mb``, the largest memory of the process so far in MB. ``estimate``: what was found
    in the picture, if its kernel or noise level was unknown; ``observation``: what was known of it in the end.
    """

    job: Job
    status: Literal["written", "skipped", "failed"]
    message: str = ""
    error: Exception | None = None
    seconds: float = 0.0
    peak_mb: float = 0.0
    estimate: "Estimate | None" = None
    observation: Observation | None = None


def sort_out(jobs: Iterable[Job], *, overwrite: bool) -> tuple[list[Job], list[Outcome]]:
    """The jobs that are to be done, and the outcomes of those whose result is there already.

    A result that was made in another way is no result of this job: it is left alone, and the job has failed.
    """
    todo, settled = [], []
    for job in jobs:
        if overwrite or not isinstance(job.target, Path) or not job.target.exists():
            todo.append(job)
            continue
        before = Recipe.of(job.target)
        if before == job.recipe:
            message = f"{job.target}: already there, left alone (--overwrite restores it again)"
            settled.append(Outcome(job, "skipped", message))
        else:
            made = "not made by usrnet" if before is None else f"made otherwise ({job.recipe.difference(before)})"
            message = f"{job.target}: already there but {made}, left alone: --overwrite replaces it"
            settled.append(Outcome(job, "failed", message))
    return todo, settled


def restore_pictures(
    restorer: Restorer,
    jobs: Iterable[Job],
    known: Observation | Unknown | Sequence[Observation | Unknown],
    *,
    handling: Handling | None = None,
    max_pixels: int = pictures.DEFAULT_MAX_PIXELS,
    progress: Callable[[Job, int, int], None] = lambda job, done, total: None,
) -> Iterator[Outcome]:
    """Restore picture after picture; yields an outcome for each, whatever it raises (an interrupt apart).

    ``known``, ``handling``: as for ``restore_file``.

    ``progress``: called with the job and its tiles done and in all.
    """
    for job in jobs:
        begin = time.perf_counter()
        try:
            if isinstance(job.target, Path):
                job.target.parent.mkdir(parents=True, exist_ok=True)
            observation, found = restore_file(
                restorer, job.source, job.target, known, handling=handling, provenance=job.recipe.text(),
                max_pixels=max_pixels,
                progress=lambda done, total, job=job: progress(job, done, total),
            )  # fmt: skip
        except Exception as error:
            yield Outcome(job, "failed", _sentence(job, error), error, time.perf_counter() - begin)
        else:
            seconds = time.perf_counter() - begin
            yield Outcome(job, "written", "", None, seconds, peak_memory_mb(), found, observation)


def _sentence(job: Job, error: Exception) -> str:
    text = str(error) if isinstance(error, PictureError | OSError) else f"{type(error).__name__}: {error}"
    return text if job.names[0] in text else f"{job.names[0]}: {text}"
