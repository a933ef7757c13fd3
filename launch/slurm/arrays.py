"""How cells become job arrays that the cluster takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from launch.settings import Packing, SlurmSettings

from .limits import Limits

Jobs = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Array:
    """Jobs to be submitted as one array. `after` is the array, counted from 0, that has to end first."""

    jobs: Jobs
    throttle: int | None = None
    after: int | None = None


def tasks(settings: SlurmSettings) -> int:
    """Processes that compute in one job."""
    return settings.gpus_per_node if settings.packing is Packing.gpus else settings.tasks


def split(jobs: Jobs, limits: Limits, parallel: int | None, within_job: bool = False) -> list[Array]:
    """Arrays no longer than the cluster allows, of which at most `parallel` jobs run at once.

    Several arrays share `parallel` among them; where they are more than that, each waits for an earlier one. Jobs for
    which there is no room (see `Limits.room`) are in none.
    """
    jobs = jobs[: limits.room(len(jobs), within_job)]
    count = math.ceil(len(jobs) / limits.array)
    # Of equal size, so that they need their shares for about as long.
    bounds = [len(jobs) * number // count for number in range(count + 1)] if count else []
    pieces = [jobs[start:end] for start, end in pairwise(bounds)]
    if parallel is None:
        return [Array(piece) for piece in pieces]
    lanes = min(parallel, len(pieces))
    return [
        Array(
            piece,
            throttle=parallel // lanes + (number % lanes < parallel % lanes),
            after=number - lanes if number >= lanes else None,
        )
        for number, piece in enumerate(pieces)
    ]
