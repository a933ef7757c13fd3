"""Steps of several candidates timed in turns, so that a machine that drifts drifts for all of them."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise

import torch

from ..settings import SpeedSettings
from .memory_exhaustion import is_out_of_memory
from .steps import Step


@dataclass
class Runner:
    """A warmed-up step and what came of it.

    Attributes:
        step_seconds: how long a step takes, roughly.
        turns: milliseconds of each step, turn by turn.
        exhausted: the first line of the error, if memory ran out.
    """

    step: Step
    step_seconds: float
    turns: list[list[float]] = field(default_factory=list)
    exhausted: str | None = None

    @property
    def latencies(self) -> list[float]:
        """Milliseconds of each step."""
        return list(chain.from_iterable(self.turns))

    @property
    def medians(self) -> list[float]:
        """Milliseconds of a step, one for each turn."""
        return [statistics.median(turn) for turn in self.turns]


def take_turns(
    runners: Sequence[Runner],
    settings: SpeedSettings,
    device: torch.device,
    progress: Callable[[int, int], None] = lambda turn, turns: None,
) -> None:
    """Fills `turns` of all runners: as many turns each, of steps enough to make a turn about as long for each.

    Every other turn goes through the runners backwards, so that none always follows the same other.

    Args:
        progress: called with the number of turns before this one and of all.
    """
    turns, steps = _plan(runners, settings)
    for turn in range(turns):
        progress(turn, turns)
        order = range(len(runners))
        for index in order if turn % 2 == 0 else reversed(order):
            runner = runners[index]
            if runner.exhausted is not None:
                continue
            try:
                runner.turns.append(latencies(runner.step, steps[index], device))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                runner.exhausted = str(error).strip().splitlines()[0]


def _plan(runners: Sequence[Runner], settings: SpeedSettings) -> tuple[int, list[int]]:
    """The number of turns, and of steps that each runner has in one."""
    if not runners:
        return 0, []
    if len(runners) == 1:
        steps = round(settings.seconds / runners[0].step_seconds)
        return 1, [min(max(steps, settings.min_steps), settings.max_steps)]
    steps = [max(1, round(settings.turn_seconds / runner.step_seconds)) for runner in runners]
    longest = max(count * runner.step_seconds for count, runner in zip(steps, runners, strict=True))
    turns = min(max(round(settings.seconds / longest), settings.turns, settings.min_steps), settings.max_steps)
    return turns, [min(count, settings.max_steps // turns) for count in steps]


def latencies(step: Step, steps: int, device: torch.device) -> list[float]:
    """Milliseconds of each of `steps` steps. On a GPU its own clock is read, and the steps follow without a pause."""
    if device.type != "cuda":
        ends = [time.perf_counter()]
        for _ in range(steps):
            step()
            ends.append(time.perf_counter())
        return [1000 * (end - start) for start, end in pairwise(ends)]
    events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    events[0].record()
    for event in events[1:]:
        step()
        event.record()
    torch.cuda.synchronize(device)
    return [start.elapsed_time(end) for start, end in pairwise(events)]
