"""What a task is given besides its cell, so that people can follow it and stop it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from training.distributed import ALONE, Ranks

VIEWS = "views"
"""CELL/views/<version of the code>/: what an analysis keeps of the groups that it has done."""
OnEpoch = Callable[[Mapping[str, Any]], None]


class Stop(Protocol):
    """Being asked to stop, see `launch.interruption`."""

    def asked(self, within_seconds: float = 0.0) -> bool:
        """Whether somebody asks, or does in the next moment."""

    def polled(self) -> AbstractContextManager[None]:
        """Inside, the task asks `asked` and is not interrupted."""

    def error(self) -> BaseException:
        """What ends the program when the task has put its things in order."""


class NoStop:
    """Nobody asks."""

    def asked(self, within_seconds: float = 0.0) -> bool:
        return False

    def polled(self) -> AbstractContextManager[None]:
        return nullcontext()

    def error(self) -> BaseException:
        return KeyboardInterrupt()


@dataclass(frozen=True)
class Hooks:
    """`on_epoch` takes the metrics of each epoch, `on_progress` what the heartbeat shall say meanwhile. `version` is a
    digest of the code that decides the result: what a task keeps for a later try belongs under that name."""

    interruption: Stop = field(default_factory=NoStop)
    on_epoch: OnEpoch = lambda metrics: None
    on_progress: Callable[[Mapping[str, Any]], None] = lambda progress: None
    show_progress: bool = True
    ranks: Ranks = ALONE
    version: str = "unknown"
