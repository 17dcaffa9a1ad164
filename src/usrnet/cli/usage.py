"""What is wrong with a command, told before its work: one sentence, exit code 2."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from usrnet.errors import PictureError, UsrnetError


def check_output(output: Path, *inputs: Path | None) -> None:
    """Refuse a folder, and a file that the command reads. Raises ``UsrnetError``."""
    for given in inputs:
        if given is not None and given.exists() and output.exists() and output.samefile(given):
            raise UsrnetError(f"{output} is an input: choose another name with -o")
    if output.is_dir():
        raise UsrnetError(f"{output} is a folder: name a file in it")


def check_kernel_output(output: Path, *inputs: Path | None) -> None:
    """As ``check_output``, and refuse a file that cannot hold a kernel. Raises ``UsrnetError``."""
    from usrnet.kernels import SUFFIXES

    check_output(output, *inputs)
    if output.suffix.lower() not in SUFFIXES:
        raise UsrnetError(f"{output}: a kernel file is one of {', '.join(SUFFIXES)}")


def given(context: typer.Context, names: Sequence[str]) -> list[str]:
    """The options of those of these parameters that the command line has."""
    sources = {name: context.get_parameter_source(name) for name in names}
    said = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    return [parameter.opts[0] for parameter in context.command.params if parameter.name in said]


def refuse(options: Sequence[str], *, reason: str) -> None:
    """Options that would do nothing are wrong, and never passed over. Raises ``UsrnetError`` if there are any."""
    if options:
        raise UsrnetError(f"{', '.join(options)}: {reason}")


@contextmanager
def before_any_picture() -> Iterator[None]:
    """What is refused in here is wrong usage: no picture has been looked at, so none has failed."""
    try:
        yield
    except PictureError as error:
        raise UsrnetError(str(error)) from error
