"""Run one cell from start to record: whatever happens to it, its record says so.

A cell has one process, or several ranks (see `training.distributed`), of which the first leads: it alone holds the
lock, writes files and speaks. Another rank that fails leaves word in `CELL/failure-rankN.json` and exits; the leader
puts that into the record, even when it hangs itself, waiting for the dead.
"""

import json
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from analysis.record import UnreadableRecordError, read_record, timestamp, write_record
from analysis.record_check import SCHEMA
from tasks import Hooks, task_of
from tasks.hooks import VIEWS
from training.distributed import Ranks, from_first, join, ranks_of

from .cell import Cell
from .code import code_of, version_of
from .failures import WORDS_OF_RANKS, failure, word_of_a_rank
from .interruption import Preempted, interruptible
from .lock import CellBusyError, CellLock
from .reserve import Reserve
from .tracking import track

UNFINISHED = (".record.json.*", ".metrics.jsonl.*", ".timings.jsonl.*", ".outcomes*.npy.*")
"""What a process that was killed while it wrote has left."""
SECONDS_TO_END = 5.0
"""How long the leader may take to notice by itself that another rank failed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a cell ended: its record, and whether that record was already there."""

    cell: Cell
    record: Mapping[str, Any]
    skipped: bool = False

    @property
    def status(self) -> str:
        return self.record["status"]

    @property
    def is_elsewhere(self) -> bool:
        """Whether the cell was left alone because another process works on it; that is no failure."""
        return self.status == "running"


def finished_record(cell: Cell) -> Mapping[str, Any] | None:
    """The record of a cell that needs no further run, or None; one that is damaged is no record."""
    if not cell.record_path.exists():
        return None
    try:
        record = read_record(cell.record_path)
    except UnreadableRecordError as error:
        log.warning("%s: the cell is run again", error)
        return None
    return record if record["status"] == "completed" else None


def execute(cell: Cell, rerun: bool = False, show_progress: bool = True) -> Outcome:
    """Run `cell` here unless its record says completed, and return how it ended.

    An error of the cell is its outcome (status `failed` or `out_of_memory`, with reason and traceback) and is not
    raised. A cell that another process works on is left alone: its outcome is that process's record, status `running`.

    Raises:
        Preempted, KeyboardInterrupt: asked to stop (see `launch.interruption`); the record says `preempted`.
        SystemExit: one of several ranks failed, so that the others cannot go on either.
    """
    ranks = ranks_of()
    join(ranks)
    if not ranks.first:
        return from_first(None, ranks) or _follow(cell, ranks)
    with ExitStack() as stack:
        done = threading.Event()
        record = opening_record(cell)
        try:
            outcome = None if rerun else _finished(cell)
            if outcome is None:
                cell.write_config()
                lock = stack.enter_context(CellLock(cell.directory, on_beat=lambda: _check_ranks(cell, record, done)))
                outcome = None if rerun else _finished(cell)  # another process may have completed it just now
            if outcome is None:
                reserve = stack.enter_context(Reserve(cell.directory))
                write_record(cell.record_path, record)
        except CellBusyError as busy:
            outcome = Outcome(cell, record | {"reason": f"Another process works on this cell: {busy}"})
        except OSError as error:
            outcome = Outcome(cell, record | failure(error))
        from_first(outcome, ranks)
        if outcome is not None:
            return outcome
        stack.enter_context(_cell_log(cell))
        stack.callback(done.set)
        outcome = Outcome(cell, _run(cell, record, lock, reserve, ranks, rerun=rerun, show_progress=show_progress))
    if ranks.count > 1 and outcome.status != "completed":
        sys.exit(1)
    from_first(outcome, ranks)
    return outcome


def _finished(cell: Cell) -> Outcome | None:
    record = finished_record(cell)
    return None if record is None else Outcome(cell, record, skipped=True)


def _run(
    cell: Cell,
    record: dict[str, Any],
    lock: CellLock,
    reserve: Reserve,
    ranks: Ranks,
    *,
    rerun: bool,
    show_progress: bool,
) -> dict[str, Any]:
    """Perform the cell and complete its record, here and on the disk."""
    started = time.monotonic()

    def tell(progress: Mapping[str, Any]) -> None:
        lock.progress = progress

    try:
        with interruptible() as interruption, track(cell) as on_epoch:
            from mixers.kernels.used import by_operation, missing, used_implementations

            from .perform import perform

            record["environment"] = _environment(cell)
            for pattern in (WORDS_OF_RANKS, *UNFINISHED):
                for leftover in cell.directory.glob(pattern):
                    leftover.unlink()
            if rerun:
                for kept in ("checkpoints", VIEWS):
                    shutil.rmtree(cell.directory / kept, ignore_errors=True)
            hooks = Hooks(interruption, on_epoch, tell, show_progress, ranks, version_of(cell.config))
            with used_implementations() as used:
                record |= perform(cell, hooks)
            record["environment"] |= {"kernels": by_operation(used), "missing_kernels": missing(used)}
            record["status"] = "completed"
    except (KeyboardInterrupt, Preempted):
        record |= {"status": "preempted", "reason": "Stopped before the end; the same command continues it."}
        record |= word_of_a_rank(cell.directory)
        if record["status"] == "preempted":
            raise
    except Exception as error:
        record |= failure(error) | word_of_a_rank(cell.directory, patience=ranks.count > 1)
        log.exception("%s failed", cell.name)
    finally:
        record |= {"finished": timestamp(), "seconds": round(time.monotonic() - started, 3)}
        reserve.release()
        if not lock.lost:
            _write_last(cell, record)
    # Only now: whoever is killed before the record says completed continues from these.
    if record["status"] == "completed" and cell.task == "train" and not lock.lost:
        _remove_trainer_state(cell)
    return record


def _remove_trainer_state(cell: Cell) -> None:
    """A completed cell keeps its weights; what only further steps would need takes three quarters of its room."""
    from training.checkpoint import remove_states
    from training.settings import TrainSettings

    if TrainSettings(**cell.config["task"]).keep_trainer_state:
        return
    try:
        remove_states(cell.directory / "checkpoints")
    except OSError as error:
        log.warning("%s is completed, but its trainer state cannot be removed: %s", cell.name, error)


def _write_last(cell: Cell, record: dict[str, Any]) -> None:
    """On a disk that cannot be written to, the outcome is at least told."""
    try:
        write_record(cell.record_path, record)
    except OSError as error:
        reason = f"{record['reason'] or ''} The record cannot be written: {error}".strip()
        record |= {"status": "failed", "reason": reason}
        log.error("%s: %s", cell.name, record["reason"])


def _follow(cell: Cell, ranks: Ranks) -> Outcome:
    """Do a rank's part of a cell that another one leads."""
    if task_of(cell.config).uses_ranks:
        from .perform import perform

        with interruptible() as interruption:
            try:
                perform(cell, Hooks(interruption, show_progress=False, ranks=ranks))
            except Exception as error:
                log.exception("rank %d: %s failed", ranks.rank, cell.name)
                path = cell.directory / WORDS_OF_RANKS.replace("*", str(ranks.rank))
                path.write_text(json.dumps(failure(error)), encoding="utf-8")
                logging.shutdown()
                os._exit(1)  # an orderly end would wait for the other ranks, which wait for this one
    return from_first(None, ranks)


def _check_ranks(cell: Cell, record: dict[str, Any], done: threading.Event) -> None:
    """Called with each heartbeat: ends a leader that waits for a rank that failed."""
    if word_of_a_rank(cell.directory) and not done.wait(SECONDS_TO_END):
        _write_last(cell, record | word_of_a_rank(cell.directory) | {"finished": timestamp()})
        os._exit(1)  # the main thread waits in a collective operation, where no exception reaches it


def opening_record(cell: Cell) -> dict[str, Any]:
    """What stands in the record of a cell that has just started."""
    return {
        "schema": SCHEMA,
        "cell": cell.id,
        "name": cell.name,
        "sweep": cell.config["sweep"],
        "task": cell.task,
        "status": "running",
        "reason": None,
        "traceback": None,
        "code": code_of(cell.config),
        "config": dict(cell.config),
        "results": {},
        "rows": [],
        "details": {},
        "environment": {},
        "started": timestamp(),
        "finished": None,
        "seconds": None,
    }


def _environment(cell: Cell) -> dict[str, Any]:
    from analysis.environment import environment

    return environment(cell.config["device"])


@contextmanager
def _cell_log(cell: Cell) -> Iterator[None]:
    """Copy what the program logs during the cell into the cell's own file `log`; what it goes without is also said on
    the terminal."""
    handler = logging.FileHandler(cell.directory / "log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root, kernels = logging.getLogger(), logging.getLogger("mixers.kernels")
    level = root.level
    if not root.handlers:  # else these say it
        kernels.addHandler(logging.lastResort)
    root.addHandler(handler)
    root.setLevel(min(level, logging.INFO))
    try:
        yield
    finally:
        root.removeHandler(handler)
        kernels.removeHandler(logging.lastResort)
        root.setLevel(level)
        with suppress(OSError):  # the last lines did not fit on a full disk
            handler.close()
