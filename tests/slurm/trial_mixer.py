"""A user's mixer module for tests: cheap, as slow as asked for, and failing in the way asked for."""

import os
import signal
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from mixers import Mixer, register


@register("trial")
class Trial(Mixer):
    """One learned factor per channel.

    Args:
        seconds: how long a training step takes at least, spent asleep.
        fault: what happens in training: `error` (an exception), `error_in_tenth` (in variants 0, 10, 20, …), `killed`
            (SIGKILL, as the kernel does without memory), `memory` (takes 256 MiB a step and keeps them), or, for a
            file's path: `killed`, but only where that file does not exist yet.
        variant: tells cells apart that are otherwise the same.
    """

    def __init__(
        self, dim: int, resolution: tuple[int, int], *, seconds: float = 0.0, fault: str = "none", variant: int = 0
    ) -> None:
        super().__init__(dim, resolution)
        self.factor = nn.Parameter(torch.ones(dim))
        # The last stage alone, so that a step waits and fails once: its maps are the smallest.
        self.acts = resolution == (1, 1)
        self.seconds = seconds
        self.fault = "error" if fault == "error_in_tenth" and variant % 10 == 0 else fault
        self.kept: list[bytearray] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.acts and self.training and x.device.type != "meta":
            self._act()
        return x * self.factor

    def _act(self) -> None:
        time.sleep(self.seconds)
        if self.fault == "error":
            raise ArithmeticError("this cell was told to fail")
        if self.fault == "memory":
            self.kept.append(bytearray(os.urandom(2**20) * 2**8))
        elif self.fault == "killed" or (self.fault.startswith("/") and _first_time(Path(self.fault))):
            os.kill(os.getpid(), signal.SIGKILL)

    def macs(self, resolution: tuple[int, int]) -> int:
        return 0

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        seen = torch.zeros(resolution, dtype=torch.bool)
        seen[position] = True
        return seen


def _first_time(path: Path) -> bool:
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
