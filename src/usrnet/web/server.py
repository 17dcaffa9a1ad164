"""Starting the page: its own folder for files, what is kept in it, and nothing that leaves the machine."""

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from usrnet.errors import UsrnetError, require
from usrnet.web import limits

USER = "usrnet"


@contextmanager
def serving(
    *, host: str = "127.0.0.1", port: int = 7860, password: str | None = None, models: list[str]
) -> Iterator[Any]:
    """The running page, a ``gradio.Blocks``, until the block is left.

    Uploads and results lie in a folder of their own, which is swept while the page runs and then removed. Raises
    ``UsrnetError`` when the port is taken or a package is missing.
    """
    require("gradio", extra="web")
    _try_to_listen(host, port)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_RUN_HISTORY"] = "False"  # it can be sent to others
    with tempfile.TemporaryDirectory(prefix="usrnet-web-") as name:
        folder = Path(name).resolve()
        os.environ["GRADIO_TEMP_DIR"] = str(folder)  # read when gradio's components are made
        import gradio as gr
        from starlette.middleware import Middleware

        from usrnet.web.guard import Gate
        from usrnet.web.notes import passed_on
        from usrnet.web.page import HEAD, build

        page = build(folder, models)
        examples = {path for path in folder.rglob("*") if path.is_file()}
        clean = partial(sweep, folder, spared=examples)
        theme = gr.themes.Soft(  # pyright: ignore[reportPrivateImportUsage]
            primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        )
        try:
            page.launch(
                server_name=host,
                server_port=port,
                auth=(USER, password) if password else None,
                auth_message=f"The user's name is {USER}.",
                max_file_size=limits.UPLOAD_BYTES,
                max_threads=limits.WAITING + limits.AT_ONCE,  # those that wait have one each
                app_kwargs={"middleware": [Middleware(Gate, before_upload=clean)]},
                show_error=False,  # ours are shown; those of others name folders
                quiet=True,
                share=False,
                ssr_mode=False,
                footer_links=["api"],
                theme=theme,
                head=HEAD,
                prevent_thread_lock=True,
            )
        except OSError as error:
            raise UsrnetError(f"port {port} on {host} cannot be used: {error}") from error
        try:
            with _repeating(clean), passed_on():
                yield page
        finally:
            page.close(verbose=False)


def _try_to_listen(host: str, port: int) -> None:
    """Raise ``UsrnetError`` when nothing can listen there; gradio would say that no port is free, whatever it is."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            if os.name == "posix":  # else a page that ended a moment ago is in the way; on Windows it allows anything
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsrnetError(
            f"cannot listen on {host}, port {port} ({reason}): choose another with --host and --port"
        ) from error


def sweep(folder: Path, *, spared: Collection[Path] = ()) -> None:
    """Delete the files of ``folder`` that were not used for long and, where it holds too much, the oldest ones."""
    found: list[tuple[float, int, Path]] = []
    for path in folder.rglob("*"):
        with suppress(OSError):  # gone meanwhile
            status = path.stat()
            used = max(status.st_mtime, status.st_ctime)
            if path.is_file() and path not in spared:
                found.append((used, status.st_size, path))
            elif path.is_dir() and used < time.time() - limits.KEPT_SECONDS:
                path.rmdir()  # fails when it is not empty
    room = limits.FOLDER_BYTES
    for used, size, path in sorted(found, reverse=True):
        room -= size
        if room < 0 or used < time.time() - limits.KEPT_SECONDS:
            with suppress(OSError):
                path.unlink()


@contextmanager
def _repeating(action: Callable[[], object]) -> Iterator[None]:
    """The action again and again, in a thread of its own, until the block is left."""
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(limits.SWEEP_SECONDS):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
