"""What a task is given besides its cell, so that people can follow it and stop it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from training.distributed import ALONE, Ranks

from .interruption import Interruption
from .tracking import OnEpoch


@dataclass(frozen=True)
class Supervision:
    """`on_epoch` takes the metrics of each epoch, `on_progress` what the heartbeat shall say meanwhile."""

    interruption: Interruption = field(default_factory=Interruption)
    on_epoch: OnEpoch = lambda metrics: None
    on_progress: Callable[[Mapping[str, Any]], None] = lambda progress: None
    show_progress: bool = True
    ranks: Ranks = ALONE
