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
    """Train a model, on several devices with `torchrun --nproc_per_node=4 -m usrnet train CONFIG.toml`.

    The recipe `estimator` trains the network that finds blur.
    """
    from usrnet.device import keep_freed_memory
    from usrnet.errors import UsrnetError
    from usrnet.train import read_config
    from usrnet.train import train as run
    from usrnet.train.estimator import read_estimator_config, train_estimator, trains_estimator

    keep_freed_memory()  # a step on a CPU takes an eighth less time
    if trains_estimator(config):
        if resume:
            raise UsrnetError("the training of the estimator cannot be resumed: it takes less than an hour")
        print(train_estimator(read_estimator_config(config, overrides or [])))
        return
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    folder = run(read_config(config, overrides or []), resume=resume)
    rank_zero_only(print)(folder)
