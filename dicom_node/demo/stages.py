"""Progress on the terminal, and how long each stage took; without a terminal one line per stage is printed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from dicom_node.demo.outcome import JobReport

DETAIL_WIDTH = 50


class Stage:
    """One line of the progress display."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, count: int) -> None:
        """Count on."""
        self._progress.advance(self._task, count)

    def show_job(self, job: JobReport) -> None:
        """Show where a job of the node is."""
        detail = job.reason or job.step or job.state
        self._progress.update(self._task, completed=job.progress, detail=detail[:DETAIL_WIDTH])


class Stages:
    """Shows stage after stage and keeps their times.

    Attributes
    ----------
    seconds
        Wall time of each finished stage, in order.
    """

    def __init__(self, console: Console) -> None:
        self.seconds: dict[str, float] = {}
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<26}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the stages while the block runs."""
        with self._progress:
            yield

    @contextmanager
    def stage(self, name: str, total: float | None = None) -> Iterator[Stage]:
        """Run one stage; ``total`` is what its progress counts up to, None when that is unknown."""
        task = self._progress.add_task(name, total=total, detail="")
        if not self._console.is_terminal:
            self._console.print(f"{name} …", markup=False)
        start = time.monotonic()
        yield Stage(self._progress, task)
        self.seconds[name] = time.monotonic() - start
        self._progress.update(task, total=1, completed=1, detail="")
        self._progress.stop_task(task)
