"""Who may compute: one job at a time, in the order in which they came; each can be stopped, waiting or running."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from usrnet.errors import UsrnetError
from usrnet.web import limits


class Stopped(Exception):  # noqa: N818, nothing went wrong
    """The user has cancelled, or has gone."""


@dataclass(eq=False)
class _Job:
    session: str | None
    stop: threading.Event = field(default_factory=threading.Event)


class Jobs:
    """The line in front of the device. Its first job runs."""

    def __init__(self) -> None:
        self._line: list[_Job] = []
        self._changed = threading.Condition()

    @contextmanager
    def turn(
        self, session: str | None = None, *, waiting: Callable[[int], object] = lambda before: None
    ) -> Iterator[threading.Event]:
        """Wait for one's turn and keep it until the block is left.

        The event is set when the job is to end. ``session``: whose job it is, None for one that is not stopped;
        ``waiting`` is told, now and then, how many are before it. Raises ``Stopped`` when the job is stopped before
        its turn, ``UsrnetError`` when too many are waiting.
        """
        job = _Job(session)
        with self._changed:
            if len(self._line) > limits.WAITING:
                raise UsrnetError(f"{limits.WAITING} are waiting already: try again in a while")
            self._line.append(job)
        try:
            with self._changed:
                while (before := self._line.index(job)) and not job.stop.is_set():
                    waiting(before)
                    self._changed.wait(limits.SWEEP_SECONDS)
            if job.stop.is_set():
                raise Stopped
            yield job.stop
        finally:
            with self._changed:
                self._line.remove(job)
                self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._line)

    def stop(self, session: str | None) -> None:
        """Stop all that this session has waiting and running."""
        with self._changed:
            for job in self._line:
                if job.session is not None and job.session == session:
                    job.stop.set()
            self._changed.notify_all()
