"""Files that appear whole or not at all."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from usrnet.errors import UsrnetError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the body another name in the same folder to write to; then that file gets the name ``path``.

    Whatever stops this, a full disk or a kill, an older file of that name stays as it was. Raises ``OSError``.
    """
    path = path.resolve() if path.is_symlink() else path  # a link stays one
    name = path.name.encode("utf-8", "surrogateescape")[:100].decode("utf-8", "ignore")  # the limit is in bytes
    part = path.with_name(f".{name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def ensure_writable(folder: Path) -> None:
    """Make the folder if there is none, and find out before the work whether files can be written there.

    Raises ``UsrnetError``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsrnetError(f"{folder}: files cannot be written there ({error.strerror or error})") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file with this content, whole or not at all. Raises ``OSError``."""
    with replacing(path) as part:
        part.write_bytes(content)
