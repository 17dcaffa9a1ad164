"""What a run tells: a progress bar, ``log.csv``, TensorBoard."""

import csv
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

FIELDS: tuple[str, ...] = ("step", "loss", "lr", "gradient_norm", "samples_per_second", "waiting", "psnr")


class Tally:
    """What happened since the last row of the log. The losses stay where they were computed until it is written.

    ``batch``: samples of a step; ``details``: the names of the numbers that a step has beside its loss.
    """

    def __init__(self, batch: int, details: Sequence[str]) -> None:
        self.batch, self.names = batch, details
        self.losses: list[torch.Tensor] = []
        self.details: list[torch.Tensor] = []
        self.start()

    def start(self) -> None:
        """The time counts from now on."""
        self.waiting, self.begin = 0.0, time.perf_counter()

    @contextmanager
    def waits(self) -> Iterator[None]:
        """While the body runs, the step waits for its samples."""
        asked = time.perf_counter()
        yield
        self.waiting += time.perf_counter() - asked

    def add(self, loss: torch.Tensor, details: torch.Tensor) -> None:
        """One more step."""
        self.losses.append(loss)
        self.details.append(details)

    def finite(self) -> bool:
        """Whether all losses are numbers."""
        return not self.losses or bool(
            torch.stack(self.losses).isfinite().all() and torch.stack(self.details).isfinite().all()
        )

    def means(self, fabric: Fabric) -> dict[str, float]:
        """The row of the log, of all processes; what follows belongs to the next one."""
        seconds = time.perf_counter() - self.begin
        steps = torch.cat((torch.stack(self.losses)[:, None], torch.stack(self.details)), dim=1)
        loss, *details = fabric.all_reduce(steps.mean(dim=0), reduce_op="mean").tolist()  # pyright: ignore[reportAttributeAccessIssue]
        row = {"loss": loss, "samples_per_second": len(self.losses) * self.batch / seconds,
               "waiting": self.waiting / seconds, **dict(zip(self.names, details, strict=True))}  # fmt: skip
        self.losses, self.details = [], []
        self.start()
        return row


class Logs:
    """Open for the time of a run, on the first process; the others pass ``active=False`` and say nothing.

    ``details``: the numbers that this run writes beside those of every run.
    """

    def __init__(self, folder: Path, *, step: int, steps: int, active: bool, details: Sequence[str] = ()) -> None:
        self.active = active
        self._fields = (*FIELDS, *details)
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
