"""``usrnet web``: the page."""

from typing import Annotated

import typer


def web(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 7860,
    password: Annotated[
        str | None, typer.Option(envvar="USRNET_PASSWORD", help="Ask for it; the user's name is usrnet.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model's name or file to offer besides default and tv; may be repeated."),
    ] = None,
) -> None:
    """Open a local page: drop a photo, move the sliders, see the difference. Ctrl-C ends it."""
    import os
    import signal
    import sys
    import threading

    from usrnet.web.server import serving
    from usrnet.weights import load

    models = ["default", *(model or []), "tv"]
    models = [name for index, name in enumerate(models) if name not in models[:index]]
    for name in models:
        load(name)  # a wrong name is told before the page opens
    if host not in ("127.0.0.1", "localhost", "::1") and not password:
        typer.echo("note: everyone who can reach this machine can use the page; --password protects it", err=True)
    # What ends services and containers: by itself it would leave the folder with people's pictures behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        with serving(host=host, port=port, password=password, models=models) as page:
            typer.echo(f"{page.local_url} (Ctrl-C ends it)", err=True)
            threading.Event().wait()
    except (KeyboardInterrupt, SystemExit) as ended:
        typer.echo("usrnet: stopped", err=True)
        # At once: a restoration may be at work, and torch aborts where Python ends beneath its threads.
        os._exit(128 + (signal.SIGTERM if isinstance(ended, SystemExit) else signal.SIGINT))
