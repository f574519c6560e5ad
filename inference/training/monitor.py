"""How a training goes, told in three places: a bar on a terminal, lines in the log, curves in TensorBoard."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from inference.training.tensorboard import open_writer

log = logging.getLogger(__name__)

LOG_EVERY_S = 20.0
CONSOLE: Final = Console(stderr=True)


class Monitor:
    """Tells figures as they come; the loop knows nothing of where they go.

    Parameters
    ----------
    folder
        For TensorBoard's files.
    title
        Of the bar.
    first_step
        Number of the first step to come.
    """

    def __init__(self, folder: Path, *, title: str, first_step: int) -> None:
        self._title = title
        self._writer = open_writer(folder, first_step=first_step)
        self._told_at = time.monotonic()
        self._losses: list[float] = []
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=CONSOLE,
            disable=not CONSOLE.is_terminal,
        )
        self._task = self._bar.add_task(title, total=1.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._writer:
            self._writer.close()

    def stepped(self, step: int, done: float, figures: Mapping[str, float]) -> None:
        """Tell of a step.

        Parameters
        ----------
        step
            Steps made.
        done
            Share of the budget that is used, 0 to 1.
        figures
            Of this step, with its ``loss``.
        """
        self._losses.append(figures["loss"])
        self._bar.update(
            self._task, completed=done, description=f"{self._title} step {step} loss {figures['loss']:.3f}"
        )
        self._write("train", figures, step)
        if time.monotonic() - self._told_at > LOG_EVERY_S:
            log.info("%5.1f %%  step %d  loss %.4f", 100 * done, step, sum(self._losses) / len(self._losses))
            self._told_at, self._losses = time.monotonic(), []

    def validated(self, step: int, figures: Mapping[str, float], picture: Tensor | None) -> None:
        """Tell of a validation, and show a picture (3, rows, columns)."""
        log.info("step %d, held-out heads: %s", step, ", ".join(f"{k} {v:.4f}" for k, v in figures.items()))
        self._write("validation", figures, step)
        if self._writer and picture is not None:
            self._writer.add_image("patch, truth, answer", picture, step)

    def _write(self, group: str, figures: Mapping[str, float], step: int) -> None:
        if self._writer:
            for name, value in figures.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)
