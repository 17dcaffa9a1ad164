"""Checkpoints: everything a run needs to go on, in one file that appears whole or not at all.

The batches are functions of the step, so the step is all the random state there is.
"""

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from usrnet.atomic import write_bytes
from usrnet.errors import UsrnetError

PATTERN = re.compile(r"step-(\d+)\.pt")


def save(folder: Path, state: dict[str, Any], *, keep: int) -> Path:
    """Write ``step-N.pt`` and delete all but the last ``keep``. Raises ``UsrnetError`` when it cannot be written.

    The older checkpoints go only after the new one is safely there.
    """
    path = folder / f"step-{state['step']:08d}.pt"
    buffer = BytesIO()
    torch.save(state, buffer)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(path, buffer.getvalue())
    except OSError as error:
        raise UsrnetError(
            f"{path}: the checkpoint cannot be written ({error.strerror}); the earlier ones are untouched"
        ) from error
    for old in existing(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def existing(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*.pt") if PATTERN.fullmatch(path.name))


def load_latest(folder: Path) -> dict[str, Any]:
    """The newest checkpoint, on the CPU. Raises ``UsrnetError`` when there is none or it cannot be read."""
    paths = existing(folder)
    if not paths:
        raise UsrnetError(f"{folder}: there is no checkpoint to resume from: start the run without --resume")
    try:
        return torch.load(paths[-1], map_location="cpu", weights_only=True)
    except Exception as error:
        raise UsrnetError(
            f"{paths[-1]}: the checkpoint is damaged: delete it to resume from the one before"
        ) from error
