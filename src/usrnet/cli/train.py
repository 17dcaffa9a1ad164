"""``usrnet train``: train a model."""

from typing import Annotated

import typer


def train(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG.toml", help="A TOML file, or the name of a packaged recipe.")
    ],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of the run.")] = False,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a key of the config.")
    ] = None,
) -> None:
    """Train a model; on several devices with `torchrun --nproc_per_node=4 -m usrnet train CONFIG.toml`."""
    from usrnet.device import keep_freed_memory
    from usrnet.train import read_config
    from usrnet.train import train as run

    keep_freed_memory()  # a step on a CPU takes an eighth less time
    folder = run(read_config(config, overrides or []), resume=resume)
    print(folder)
