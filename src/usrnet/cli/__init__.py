"""The command line. One file per command, each thin: parse, call the library, print.

Nothing here imports torch or numpy before a command needs it.
"""

import sys
import warnings
from io import TextIOWrapper
from typing import Annotated

import typer

from usrnet import __version__
from usrnet.cli import (
    batch,
    bench,
    degrade,
    demo,
    estimate,
    evaluate,
    explain,
    export,
    kernel,
    models,
    restore,
    train,
    web,
)
from usrnet.errors import PictureError, UsrnetError, UsrnetWarning

FAILED, USAGE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="usrnet",
    help="Deblur, denoise and enlarge pictures with the deep unfolding network USRNet.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("restore")(restore.restore)
app.command("degrade")(degrade.degrade)
app.command("kernel")(kernel.kernel)
app.command("estimate")(estimate.estimate)
app.command("evaluate")(evaluate.evaluate)
app.command("explain")(explain.explain)
app.command("train")(train.train)
app.add_typer(models.app, name="models")
app.command("export")(export.export)
app.command("batch")(batch.batch)
app.command("bench")(bench.bench)
app.command("web")(web.web)
app.command("demo")(demo.demo)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"usrnet {__version__}")
        raise typer.Exit


@app.callback()
def usrnet(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options that stand before the command."""


def main() -> None:
    """Run the command line; errors become one sentence and an exit code, never a traceback without --debug."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments  # wherever it stands
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a character that cannot be shown ends nothing
    warnings.showwarning = _show_note
    warnings.simplefilter("always", UsrnetWarning)
    try:
        app(args=[argument for argument in arguments if argument != "--debug"])
    except UsrnetError as error:
        if debug:
            raise
        print(f"usrnet: {error}", file=sys.stderr)
        sys.exit(FAILED if isinstance(error, PictureError) else USAGE)
    except KeyboardInterrupt:  # typer turns most of them into the exit code
        if debug:
            raise
        print("usrnet: stopped", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            print("usrnet: stopped", file=sys.stderr)
        raise
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone: there is nobody to tell
        sys.exit(FAILED)
    except OSError as error:  # a full disk, a folder that went: nothing that we could have asked before
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"usrnet: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(FAILED)
    except (MemoryError, RuntimeError) as error:
        from usrnet.device import is_out_of_memory

        if debug or not is_out_of_memory(error):
            raise
        print("usrnet: not enough memory: close other programs, or take a smaller picture", file=sys.stderr)
        sys.exit(FAILED)


def _show_note(message, category, filename, lineno, file=None, line=None) -> None:
    if issubclass(category, UsrnetWarning):
        print(f"note: {message}", file=sys.stderr)
    elif "--debug" in sys.argv:
        print(warnings.formatwarning(message, category, filename, lineno, line), file=sys.stderr, end="")
