"""Starting the page: its own folder for files, limits, and nothing that leaves the machine."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from usrnet.errors import UsrnetError, require

MAX_FILE_SIZE = 200 * 2**20  # bytes of one upload
USER = "usrnet"


@contextmanager
def serving(
    *, host: str = "127.0.0.1", port: int = 7860, password: str | None = None, models: list[str]
) -> Iterator[Any]:
    """The running page, a ``gradio.Blocks``, until the block is left.

    Uploads and results lie in a folder of their own, which is then removed. Raises ``UsrnetError`` when the port is
    taken or a package is missing.
    """
    require("gradio", extra="web")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    with tempfile.TemporaryDirectory(prefix="usrnet-web-") as name:
        folder = Path(name)
        os.environ["GRADIO_TEMP_DIR"] = str(folder / "cache")  # read when gradio's components are made
        import gradio as gr

        from usrnet.web.page import STYLE, build

        page = build(folder, models)
        theme = gr.themes.Soft(  # pyright: ignore[reportPrivateImportUsage]
            primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        )
        try:
            page.launch(
                server_name=host,
                server_port=port,
                auth=(USER, password) if password else None,
                max_file_size=MAX_FILE_SIZE,
                show_error=True,
                quiet=True,
                share=False,
                ssr_mode=False,
                footer_links=["api"],
                theme=theme,
                head=f"<style>{STYLE}</style>",  # css= would lose the rules for small screens
                prevent_thread_lock=True,
            )
        except OSError as error:
            raise UsrnetError(f"port {port} on {host} cannot be used: {error}") from error
        try:
            yield page
        finally:
            page.close(verbose=False)
