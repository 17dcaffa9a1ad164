"""What the library notes about a request is told to the person who made it, and not to the terminal."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from usrnet.errors import UsrnetWarning

_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


@contextmanager
def hearing() -> Iterator[list[str]]:
    """The notes of this request until the block is left, where ``passed_on`` is at work."""
    heard: list[str] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)


@contextmanager
def passed_on() -> Iterator[None]:
    """Notes go to whoever is ``hearing``, each time; others and other warnings where they went before."""
    with warnings.catch_warnings():  # puts both back
        before = warnings.showwarning

        def show(message, category, filename, lineno, file=None, line=None) -> None:
            heard = _heard.get()
            if heard is None or not issubclass(category, UsrnetWarning):
                before(message, category, filename, lineno, file, line)
            else:
                heard.append(str(message))

        warnings.showwarning = show
        warnings.simplefilter("always", UsrnetWarning)
        yield
