"""Folders and files, here or at an address such as ``s3://bucket/photos`` that fsspec or pyarrow can read."""

import io
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from usrnet.atomic import write_bytes
from usrnet.errors import PictureError, UsrnetError

RETRY_SECONDS = 20
CHECK = "check the address, and this machine's credentials for it"


def is_address(text: str) -> bool:
    """Whether a text is an address and no path."""
    return "://" in text


@dataclass(frozen=True)
class Place:
    """A file or folder at an address; ``path`` is what its file system calls it."""

    system: Any  # fsspec.AbstractFileSystem
    path: str

    def read(self) -> io.BytesIO:
        """The content. Raises ``PictureError``."""
        try:
            return io.BytesIO(self.system.cat_file(self.path))
        except Exception as error:  # each service has errors of its own
            raise PictureError(f"{self.path}: cannot be read ({reason(error)})") from error

    def write(self, content: bytes) -> None:
        """Put the content there, whole or not at all. Raises ``PictureError``."""
        folder = self.path.rpartition("/")[0]
        try:
            self.system.makedirs(folder, exist_ok=True)
            if "file" in self.system.protocol:  # a store does so by itself
                write_bytes(Path(self.path), content)
            else:
                self.system.pipe_file(self.path, content)
        except Exception as error:
            raise PictureError(f"{self.path}: cannot be written ({reason(error)})") from error

    def exists(self) -> bool:
        """Whether there is such a file."""
        return bool(self.system.isfile(self.path))


def _opened(address: str) -> tuple[Any, str]:
    """The file system of an address, and what that calls the address."""
    from fsspec.core import url_to_fs

    protocol, _, rest = address.partition("://")
    try:
        return url_to_fs(address)
    except (ImportError, ValueError) as missing:  # no package for it: pyarrow knows two by itself
        from fsspec.implementations.arrow import ArrowFSWrapper

        if protocol not in ("s3", "gs"):
            raise UsrnetError(f"{protocol}:// cannot be read: {missing}") from missing
        return ArrowFSWrapper(_of_pyarrow(protocol)), rest


@cache
def _of_pyarrow(protocol: str) -> Any:
    import pyarrow.fs

    if protocol == "s3":
        return pyarrow.fs.S3FileSystem()
    # Without a limit it tries for a quarter of an hour.
    return pyarrow.fs.GcsFileSystem(retry_time_limit=timedelta(seconds=RETRY_SECONDS))


def place(address: str) -> Place:
    """The file or folder at an address. Raises ``UsrnetError`` when nothing here can read such addresses."""
    try:
        return Place(*_opened(address))
    except UsrnetError:
        raise
    except Exception as error:
        raise UsrnetError(f"{address}: cannot be opened ({reason(error)}): {CHECK}") from error


def listing(address: str, suffixes: tuple[str, ...], *, recursive: bool) -> list[str]:
    """The addresses of the pictures in a folder, or behind a glob. Raises ``UsrnetError``."""
    found = place(address)
    pattern = any(letter in address for letter in "*?[")
    try:
        if found.exists():
            return [address]
        # Globs and searches pass over what they may not see: what the place says is heard here.
        found.system.ls(_fixed_part(found.path) if pattern else found.path, detail=False)
        if pattern:
            names = found.system.glob(found.path)
        else:
            names = found.system.find(found.path, maxdepth=None if recursive else 1)
    except Exception as error:
        said = "there is no such folder" if isinstance(error, FileNotFoundError) else reason(error)
        raise UsrnetError(f"{address}: cannot be listed ({said}): {CHECK}") from error
    pictures = sorted(name for name in names if Path(name).suffix.lower() in suffixes and "/." not in name)
    if not pictures:
        raise UsrnetError(
            f"{address}: no pictures there{'' if recursive else ' (--recursive looks into its folders)'}"
        )
    # What comes before the path: the protocol, and with some a host.
    path = found.path.rstrip("/")
    before = address.rstrip("/").removesuffix(path) if address.rstrip("/").endswith(path) else None
    return [found.system.unstrip_protocol(name) if before is None else f"{before}{name}" for name in pictures]


def _fixed_part(pattern: str) -> str:
    """The folder in which a glob begins."""
    first = min(pattern.index(letter) for letter in "*?[" if letter in pattern)
    return pattern[:first].rpartition("/")[0] or "/"


def reason(error: Exception) -> str:
    """The first line of what a service says; some say nothing but the name of the error."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
