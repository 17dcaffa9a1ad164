"""Folders and files, here or at an address such as ``s3://bucket/photos`` that fsspec or pyarrow can read."""

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from usrnet.atomic import write_bytes
from usrnet.errors import PictureError, UsrnetError


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


@cache
def _system(protocol: str) -> Any:
    import fsspec

    try:
        return fsspec.filesystem(protocol)
    except (ImportError, ValueError) as missing:  # no package for it: pyarrow knows a few by itself
        import pyarrow.fs
        from fsspec.implementations.arrow import ArrowFSWrapper

        known = {"s3": pyarrow.fs.S3FileSystem, "gs": pyarrow.fs.GcsFileSystem, "hdfs": pyarrow.fs.HadoopFileSystem}
        if protocol not in known:
            raise UsrnetError(f"{protocol}:// cannot be read: {missing}") from missing
        return ArrowFSWrapper(known[protocol]())


def place(address: str) -> Place:
    """The file or folder at an address. Raises ``UsrnetError`` when nothing here can read such addresses."""
    protocol, _, rest = address.partition("://")
    try:
        system = _system(protocol)
    except UsrnetError:
        raise
    except Exception as error:
        raise UsrnetError(f"{address}: cannot be opened ({reason(error)})") from error
    return Place(system, system._strip_protocol(address) if protocol in system.protocol else rest)


def listing(address: str, suffixes: tuple[str, ...], *, recursive: bool) -> list[str]:
    """The addresses of the pictures in a folder, or behind a glob. Raises ``UsrnetError``."""
    found = place(address)
    protocol = address.partition("://")[0]
    try:
        if any(letter in address for letter in "*?["):
            names = found.system.glob(found.path)
        elif found.system.isfile(found.path):
            return [address]
        else:
            names = found.system.find(found.path, maxdepth=None if recursive else 1)
    except Exception as error:
        raise UsrnetError(
            f"{address}: cannot be listed ({reason(error)}): check the address, and this machine's credentials for it"
        ) from error
    pictures = sorted(name for name in names if Path(name).suffix.lower() in suffixes and "/." not in name)
    if not pictures:
        raise UsrnetError(
            f"{address}: no pictures there{'' if recursive else ' (--recursive looks into its folders)'}"
        )
    return [f"{protocol}://{name}" for name in pictures]


def reason(error: Exception) -> str:
    """The first line of what a service says; some say nothing but the name of the error."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
