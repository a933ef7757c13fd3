"""What a person sees while a network trains: a live line in a terminal, a plain line per epoch elsewhere."""

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress:
    """A context manager; `begin`, `advance` and `report` may be called at any time inside it.

    Writes to standard error, so that standard output carries results only.
    """

    def __init__(self, title: str, show: bool) -> None:
        self.title = title
        self.console = Console(file=sys.stderr, quiet=not show)
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[news]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not (show and self.console.is_terminal),
        )
        self.task = self.bar.add_task(title, total=None, news="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def begin(self, steps: int, done: int = 0) -> None:
        """`steps` in all, of which `done` were made before."""
        self.bar.update(self.task, total=steps, completed=done)

    def advance(self, news: str | None = None) -> None:
        """One step done; `news` replaces the text beside the bar."""
        self.bar.advance(self.task)
        if news is not None:
            self.bar.update(self.task, news=news)

    def report(self, epochs: int, row: Mapping[str, float]) -> None:
        """One finished epoch: in a terminal its accuracy stays beside the bar, elsewhere it gets a line."""
        if not self.bar.disable:
            self.bar.update(self.task, description=f"{self.title}, top-1 {row['top1_percent']:.1f} %")
            return
        line = (
            f"{self.title}: epoch {row['epoch']}/{epochs}  train loss {row['train_loss']:.4f}  "
            f"validation loss {row['validation_loss']:.4f}  top-1 {row['top1_percent']:.2f} %  "
            f"{row['images_per_second']:.0f} images/s  {row['data_wait_percent']:.0f} % waiting for data  "
            f"{row['train_seconds'] + row['validation_seconds']:.1f} s"
        )
        self.console.print(line, soft_wrap=True, highlight=False, markup=False)
