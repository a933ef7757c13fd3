"""A job from its start to its end: its cells run in another process, and this one deals with what becomes of that.

It outlives the processes that compute, so a cell that is killed is noticed at once, tried again, and in the end leaves
a record. It imports no torch. `launch.slurm.batch` is one such job of Slurm's, `launch.local` has many on this machine.
"""

import logging
import re
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from analysis.record import UnreadableRecordError, read_record, timestamp, write_record

from .attempts import DIED, Attempt, deaths, end, failing_nodes, read_attempts
from .execute import opening_record
from .interruption import PREEMPTED_EXIT_STATUS
from .submission import LaunchError, Sweep

# Statuses that need no further run within the job that left them.
FINAL = ("completed", "failed", "out_of_memory", "busy")
# The signals that ask to stop, as exit statuses of whom they reached before Python could answer.
STOPPED = (PREEMPTED_EXIT_STATUS, 128 + signal.SIGTERM, 128 + signal.SIGUSR2, -signal.SIGTERM, -signal.SIGUSR2)

OUT_OF_MEMORY = "killed for memory"

log = logging.getLogger(__name__)


@dataclass
class Job:
    """One job of a submission, and its cells.

    Args:
        name: like no other job's, in this sweep or another.
        may_move: whether it can go on elsewhere, when a cell has died here twice.
        log: the file that workers, and whoever starts them, write to.
        start: starts a worker with these arguments, or all its ranks.
    """

    name: str
    sweep: Sweep
    cells: Sequence[str]
    node: str
    start: Callable[[Sequence[str]], subprocess.Popen]
    log: Path
    retries: int
    rerun: bool
    may_move: bool = True
    stopped: bool = field(default=False, init=False)
    process: subprocess.Popen | None = field(default=None, init=False)
    exclude: list[str] = field(default_factory=list, init=False)  # nodes that killed a cell twice

    def run(self) -> bool:
        """Until each cell has ended, one way or the other. False: it was asked to stop, or should go on elsewhere."""
        while not self.stopped and (cells := [name for name in self.cells if self.is_open(name)]):
            before = {name: len(self.attempts(name)) for name in cells}
            written = self.log.stat().st_size
            status = self._compute(cells)
            said = self.log.read_bytes()[written:].decode(errors="replace")
            begun = [name for name in cells if len(self.attempts(name)) > before[name]]
            for name in begun:
                if self.attempts(name)[-1].ended is None:
                    self._note_death(name, status, said)
            if self.stopped or status in STOPPED:
                return False
            if not begun:
                raise LaunchError(f"no cell could be started (exit status {status}); the job's log says why")
            if self.exclude:
                return False
        return not self.stopped

    def failed(self) -> list[str]:
        """The cells that this job leaves without a result."""
        return [name for name in self.cells if self.sweep.status(name) != "completed"]

    def is_open(self, name: str) -> bool:
        """Whether the cell is to be run: neither ended by this job, now or before a requeue, nor completed."""
        mine = [attempt for attempt in self.attempts(name) if attempt.job == self.name]
        if mine and mine[-1].status in FINAL:
            return False
        if len(deaths(mine)) > self.retries:
            self._give_up(name, deaths(mine))
            return False
        return self.rerun or self.sweep.status(name) != "completed"

    def attempts(self, name: str) -> list[Attempt]:
        return read_attempts(self.sweep.folder / name)

    def note_stop(self, number: int, frame: FrameType | None) -> None:
        """A signal's handler, where the worker gets the signal too: it was not just killed."""
        self.stopped = True

    def stop(self) -> None:
        """Ask the worker to save and end."""
        self.stopped = True
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def _compute(self, cells: Sequence[str]) -> int:
        options = ["--job", self.name, *(["--rerun"] if self.rerun else [])]
        arguments = [str(self.sweep.folder), *cells, *options]
        self.process = self.start(arguments)
        return self.process.wait()

    def _note_death(self, name: str, status: int, said: str) -> None:
        """A cell whose process ended without a word about it, but `said` was written to the log meanwhile."""
        if self.stopped or status in STOPPED:
            end(self.sweep.folder / name, "preempted", "killed after it was asked to stop")
            return
        cause = OUT_OF_MEMORY if re.search(r"oom[-_ ]?kill|out of memory", said, re.IGNORECASE) else "killed"
        reason = f"{cause} on {self.node} (exit status {status})"
        log.warning("%s: %s", name, reason)
        end(self.sweep.folder / name, DIED, reason)
        died = deaths(self.attempts(name))
        if self.may_move and len(died) <= self.retries:
            self.exclude += [node for node in failing_nodes(died) if node not in self.exclude]

    def _give_up(self, name: str, died: Sequence[Attempt]) -> None:
        """What the dead process could not write itself."""
        if self.sweep.status(name) in FINAL:
            return
        cell = self.sweep.cell(name)
        try:
            record = read_record(cell.record_path)
        except (FileNotFoundError, UnreadableRecordError):
            record = opening_record(cell)
        where = ", ".join(attempt.node for attempt in died)
        reason = f"Died {len(died)} times without a word, on {where}; last: {died[-1].reason or 'not seen'}"
        status = "out_of_memory" if (died[-1].reason or "").startswith(OUT_OF_MEMORY) else "failed"
        write_record(cell.record_path, {**record, "status": status, "reason": reason, "finished": timestamp()})
