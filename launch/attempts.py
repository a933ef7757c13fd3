"""Every start of a cell by a job, and how it ended: `attempts.jsonl` in the cell's directory.

A record tells how a cell stands; the attempts tell what it took. A start without an end is a process that died without
a word: killed, out of memory, or its node failed. Lines are only ever added.
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analysis.record import timestamp

from .place import Place

# How an attempt ends, besides the status of the record it leaves.
DIED = "died"
BUSY = "busy"  # another process was at work on the cell


@dataclass
class Attempt:
    """One start of a cell. `ended` is None while it runs, and for ever if nobody saw it die."""

    job: str
    restarts: int
    node: str
    started: str
    ended: str | None = None
    status: str | None = None
    reason: str | None = None

    @property
    def died(self) -> bool:
        return self.status in (None, DIED)


def begin(directory: Path, job: str, place: Place) -> None:
    attempt = Attempt(job, place["restarts"], place["node"], started=timestamp())
    _append(directory, {key: value for key, value in asdict(attempt).items() if value is not None})


def end(directory: Path, status: str, reason: str | None = None) -> None:
    _append(directory, {"ended": timestamp(), "status": status, "reason": reason})


def read_attempts(directory: Path) -> list[Attempt]:
    """The oldest first. A line that was not written whole is passed over."""
    try:
        lines = (directory / "attempts.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    attempts: list[Attempt] = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if "started" in event:
            attempts.append(Attempt(**event))
        elif attempts and attempts[-1].ended is None:
            attempts[-1].ended, attempts[-1].status = event["ended"], event["status"]
            attempts[-1].reason = event["reason"]
    return attempts


def deaths(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Those that died without a word since the cell last ended in good order; being preempted is in good order."""
    since = 0
    for number, attempt in enumerate(attempts, start=1):
        if not attempt.died:
            since = number
    return list(attempts[since:])


def failing_nodes(attempts: Sequence[Attempt]) -> list[str]:
    """Nodes on which the cell died at least twice."""
    return [node for node, count in Counter(attempt.node for attempt in attempts if attempt.died).items() if count >= 2]


def _append(directory: Path, event: dict[str, Any]) -> None:
    # One write to a file opened for appending, so that lines of two processes do not mix.
    descriptor = os.open(directory / "attempts.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, (json.dumps(event) + "\n").encode())
    finally:
        os.close(descriptor)
