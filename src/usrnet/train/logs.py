"""What a run tells: a progress bar, ``log.csv``, TensorBoard."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

FIELDS: tuple[str, ...] = ("step", "loss", "lr", "gradient_norm", "samples_per_second", "waiting", "psnr")


class Logs:
    """Open for the time of a run, on the first process; the others pass ``active=False`` and say nothing.

    ``details``: the numbers that this run writes beside those of every run.
    """

    def __init__(self, folder: Path, *, step: int, steps: int, active: bool, details: Sequence[str] = ()) -> None:
        self.active = active
        self._fields = (*FIELDS, *details, "features") if details else FIELDS
        if not active:
            return
        from torch.utils.tensorboard.writer import SummaryWriter

        self.path = folder / "log.csv"
        self._rows = [row for row in self._read() if int(row["step"]) <= step]  # what is done again is logged again
        self._rewrite()
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._plain = not console.is_terminal
        self._task = self._bar.add_task("training", total=steps, completed=step)
        self._psnr = ""

    def __enter__(self) -> Self:
        if self.active:
            self._bar.start()
        return self

    def __exit__(self, *problem: object) -> None:
        if self.active:
            self._bar.stop()
            self._board.close()

    def write(self, step: int, **values: float) -> None:
        """One row of numbers for ``step``."""
        if not self.active:
            return
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self._fields).writerow(
                {"step": step, **{key: f"{value:.7g}" for key, value in values.items()}}
            )
        if "psnr" in values:
            self._psnr = f", {values['psnr']:.2f} dB"
        if "loss" in values:
            text = f"loss {values['loss']:.5f}, lr {values['lr']:.1e}{self._psnr}"
            self._bar.update(self._task, completed=step, description=text)
        if self._plain:
            self.say(f"step {step}: " + ", ".join(f"{key} {value:.5g}" for key, value in values.items()))

    def pictures(self, step: int, pictures: dict[str, np.ndarray]) -> None:
        if self.active:
            for name, pixels in pictures.items():
                self._board.add_image(name, pixels, step, dataformats="HWC")

    def say(self, text: str) -> None:
        """A line on standard error."""
        if self.active:
            self._bar.console.print(text, highlight=False, soft_wrap=True)

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return [row for row in csv.DictReader(file) if (row["step"] or "").isdigit()]

    def _rewrite(self) -> None:
        part = self.path.with_suffix(".part")
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._fields)
            writer.writeheader()
            writer.writerows(self._rows)
        os.replace(part, self.path)  # noqa: PTH105
