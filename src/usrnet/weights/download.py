"""Official weights: verified downloads into the user's cache, where files put by hand count as well.

A file takes its final name only when it has arrived whole and passed its check (the published sha256 or,
where none is published, the exact structure), so whatever lies in the cache is usable and two processes
that download at once do no harm.
"""

import hashlib
import os
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from usrnet.errors import UsrnetError, UsrnetWarning
from usrnet.weights import registry
from usrnet.weights.registry import KnownModel

CONNECT_SECONDS = 30
READ_SECONDS = 60
RETRIES = 1
CHUNK_BYTES = 1 << 16


def cache_dir() -> Path:
    """Where downloaded weights lie: ``$USRNET_HOME``, or the user's cache folder of this system."""
    home = os.environ.get("USRNET_HOME")
    if home:
        return Path(home).expanduser()
    import pooch

    return Path(pooch.os_cache("usrnet"))


def cached_path(model: KnownModel) -> Path:
    """Where the file of a downloadable model lies, or will lie."""
    if model.file is None:
        raise UsrnetError(f"{model.name!r} is part of the package: there is nothing to download")
    return cache_dir() / model.file


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(name: str, *, mirror: str | None = None) -> Path:
    """The checked local file of an official model, downloaded first if the cache has none.

    ``mirror`` is the address of the folder that holds the published files; without it ``$USRNET_MIRROR``,
    then the release of KAIR. Raises :class:`UsrnetError` if the file cannot be had or is not the published
    one; a failed download leaves nothing behind. Warns where a new file could be checked by its structure
    only.
    """
    model = registry.find(name)
    path = cached_path(model)
    if path.exists():
        check(model, path)
        return path
    _download(model, path, base=mirror or os.environ.get("USRNET_MIRROR") or registry.RELEASE)
    if model.sha256 is None:
        warnings.warn(
            f"no hash is published for {model.name}: {path} has exactly the structure of the official file "
            f"but its content is unverified (sha256 {file_sha256(path)})",
            UsrnetWarning,
            stacklevel=2,
        )
    return path


def check(model: KnownModel, path: Path) -> None:
    """Raise :class:`UsrnetError` unless ``path`` is the published file of ``model``."""
    if model.sha256 is None:
        _check_structure(model, path)
    elif (found := _readable_sha256(path)) != model.sha256:
        raise UsrnetError(
            f"{path} is not the published file of {model.name} (sha256 {found[:12]}…, expected "
            f"{model.sha256[:12]}…): delete it, then run `usrnet models download {model.name}`"
        )


def _readable_sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise UsrnetError(f"cannot read {path}: {error.strerror}") from error


def _check_structure(model: KnownModel, path: Path) -> None:
    """Strict where no hash is known: names, shapes and finite values as in the published architecture."""
    from usrnet.model import CONFIGS
    from usrnet.weights import files

    stored = files.read(path)
    if stored.config != CONFIGS[model.name]:
        raise UsrnetError(
            f"{path} is not the published file of {model.name}: it holds {files.summarise(stored.config)}, "
            f"expected {files.summarise(CONFIGS[model.name])}"
        )


def retrieve(
    path: Path, *, base: str, sha256: str | None = None, check: Callable[[Path], object] | None = None
) -> None:
    """Download the file of that name from the folder at ``base``; it takes its name only when it is whole.

    ``check`` is given the file before that, under a temporary name, and raises if it is not the right one. Raises
    what pooch and requests raise, ``ValueError`` for another ``sha256``.
    """
    import pooch
    from requests import Response

    responses: list[Response] = []
    http = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(),
        chunk_size=CHUNK_BYTES,
        timeout=(CONNECT_SECONDS, READ_SECONDS),
        hooks={"response": lambda response, *_, **__: responses.append(response)},
    )

    def checked(url: str, output_file: Any, pooch: Any) -> None:
        try:
            http(url, output_file, pooch)
        finally:
            for response in responses:  # pooch leaves the connection open when it is cut
                response.close()
        if check is not None:
            check(Path(output_file))

    cache = pooch.create(path=path.parent, base_url=base, registry={path.name: sha256}, retry_if_failed=RETRIES)
    # Any, because pooch types its downloaders with other argument names than its own ones have.
    cache.fetch(path.name, downloader=cast(Any, checked))
    path.chmod(0o644)  # pooch makes private files, but a cache may be shared


def _download(model: KnownModel, path: Path, *, base: str) -> None:
    from requests.exceptions import RequestException

    base = base if base.endswith("/") else base + "/"
    unhashed = partial(_check_structure, model) if model.sha256 is None else None
    try:
        retrieve(path, base=base, sha256=model.sha256, check=unhashed)
    except (RequestException, OSError, ValueError) as error:
        raise UsrnetError(
            f"cannot download {model.name} from {base}{path.name} ({_reason(error)}): check the connection, "
            f"or fetch the file by hand and put it at {path}"
        ) from error


def _reason(error: Exception) -> str:
    """Why a download failed, in a few words; the texts of requests name objects and addresses in memory."""
    from requests import exceptions as http

    if isinstance(error, http.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, http.Timeout):
        return "the server does not answer"
    if isinstance(error, http.ChunkedEncodingError | http.ContentDecodingError):
        return "the connection was cut"
    if isinstance(error, http.ConnectionError):
        return "no connection to the server"
    if isinstance(error, http.RequestException):
        return "not an address of a web server"
    if isinstance(error, UsrnetError):
        return "the file there is not the published one"
    if isinstance(error, OSError):
        return f"cannot write there: {error.strerror}"
    return "the file there does not have the published sha256"
