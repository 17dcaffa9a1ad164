"""What others may not do to this machine: make it fetch something, fill its disk, or learn its folders."""

import asyncio
import functools
import re
import sys
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from usrnet.errors import UsrnetError
from usrnet.web import limits, notes

Function = TypeVar("Function", bound=Callable[..., Any])
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def told(folder: Path) -> Callable[[Function], Function]:
    """Functions whose errors and notes are shown to the user as one sentence, without the folders in ``folder``."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            with notes.hearing() as heard:
                try:
                    return function(*arguments, **named)
                except gr.Error:
                    raise
                except Exception as error:
                    raise _shown(error, folder) from error
                finally:
                    for text in dict.fromkeys(heard):
                        gr.Info(_without_folders(text, folder), title="Note", duration=20)

        return wrapped  # pyright: ignore[reportReturnType]

    return decorate


def _shown(error: Exception, folder: Path) -> gr.Error:
    if not isinstance(error, UsrnetError):
        print("".join(traceback.format_exception(error)), file=sys.stderr)  # noqa: T201, for who runs the page
        text = "something went wrong here; the terminal in which the page was started says what"
    else:
        text = _without_folders(str(error), folder).replace(" (raise it with --max-pixels)", " of this page")
    return gr.Error(text, title="This does not work", print_exception=False)


def _without_folders(text: str, folder: Path) -> str:
    text = re.sub(rf"{re.escape(str(folder))}[/\\](?:[^/\\\s:]+[/\\])*", "", text)
    return text.replace(str(folder), "a folder")


class Blocks(gr.Blocks):
    """A page that fetches no URL, whose errors name no folders, and that says which requests were cancelled."""

    def __init__(self, *, cancelled: Callable[[str | None], object], **options: Any) -> None:
        super().__init__(**options)
        self._cancelled = cancelled

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *arguments: Any, **named: Any) -> list[Any]:
        """Gradio's own, which every input of every request passes before anything is done with it."""
        if _mentions_url(inputs):
            raise gr.Error("nothing is fetched from other machines: upload the file", print_exception=False)
        for index, block in enumerate(block_fn.inputs[: len(inputs)]):
            if inputs[index] is None and isinstance(block, gr.Slider):
                inputs[index] = block.value  # its field is empty while somebody types another number
        try:
            return await super().preprocess_data(block_fn, inputs, *arguments, **named)
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception as error:  # its text has our folders
            raise gr.Error("this is not what the page expects: see `Use via API`", print_exception=False) from error

    async def call_function(
        self, block_fn: Any, processed_input: list[Any], iterator: Any = None, requests: Any = None, *rest: Any,
        **named: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """Gradio's own, which leaves a function running when its request is cancelled."""
        try:
            return await super().call_function(block_fn, processed_input, iterator, requests, *rest, **named)
        except asyncio.CancelledError:
            self._cancelled(getattr(requests, "session_hash", None))
            raise


def _mentions_url(value: Any) -> bool:
    """Whether a file is given by its address; the ``path`` of an upload has no ``://``."""
    if isinstance(value, dict):
        return "://" in str(value.get("path")) or any(_mentions_url(part) for part in value.values())
    return isinstance(value, list) and any(_mentions_url(part) for part in value)


class Gate:
    """ASGI middleware in front of Gradio: files are not served from other machines, and bodies have a size.

    ``before_upload`` makes room. Public interface of Gradio alone: it is given to ``launch`` as a middleware.
    """

    def __init__(self, app: App, *, before_upload: Callable[[], object]) -> None:
        self.app, self.before_upload = app, before_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := await self._refusal(scope)):
            from starlette.responses import PlainTextResponse

            code, text = refusal
            await PlainTextResponse(text, status_code=code)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        if "://" in scope["path"]:
            return 403, "nothing is fetched from other machines"
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return None
        upload = scope["path"].rstrip("/").endswith("/upload")
        largest = limits.UPLOAD_BYTES + limits.REQUEST_BYTES if upload else limits.REQUEST_BYTES
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        if not length.isdigit():
            return (411, "the length is missing") if b"transfer-encoding" in headers else None
        if int(length) > largest:
            return 413, f"more than {largest >> 20} MB"
        if upload:
            await asyncio.to_thread(self.before_upload)
        return None
