"""Run one cell from start to record: whatever happens to it, its record says so."""

import logging
import shutil
import signal
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from analysis.record import SCHEMA, read_record, write_record

from .cell import Cell
from .tracking import track

log = logging.getLogger(__name__)


class Preempted(BaseException):
    """The process was asked to stop. Not an `Exception`, so that no handler of ordinary failures takes it for one."""


@dataclass(frozen=True)
class Outcome:
    """How a cell ended: its record, and whether that record was already there."""

    cell: Cell
    record: Mapping[str, Any]
    skipped: bool = False

    @property
    def status(self) -> str:
        return self.record["status"]


def finished_record(cell: Cell) -> Mapping[str, Any] | None:
    """The record of a cell that needs no further run, or None."""
    if not cell.record_path.exists():
        return None
    record = read_record(cell.record_path)
    return record if record["status"] == "completed" else None


def execute(cell: Cell, rerun: bool = False, show_progress: bool = True) -> Outcome:
    """Run `cell` here unless its record says completed, and return how it ended.

    An error of the cell is its outcome (status `failed` or `out_of_memory`, with reason and traceback) and is not
    raised. Ctrl-C and SIGTERM leave status `preempted` and then stop the caller as usual (KeyboardInterrupt).
    """
    record = finished_record(cell)
    if record is not None and not rerun:
        return Outcome(cell, record, skipped=True)
    cell.write_config()
    started = time.monotonic()
    record = _opening_record(cell)
    write_record(cell.record_path, record)
    with _cell_log(cell):
        try:
            with _termination_as_preemption(), track(cell) as on_epoch:
                from .tasks import perform

                record["environment"] = _environment(cell)
                if rerun:
                    shutil.rmtree(cell.directory / "checkpoints", ignore_errors=True)
                record |= perform(cell, on_epoch=on_epoch, show_progress=show_progress)
                record["status"] = "completed"
        except (KeyboardInterrupt, Preempted) as stop:
            record |= {"status": "preempted", "reason": "Stopped before the end; the same command continues it."}
            raise KeyboardInterrupt from stop
        except Exception as error:
            record |= _failure(error)
            log.exception("%s failed", cell.name)
        finally:
            record["finished"] = _now()
            record["seconds"] = round(time.monotonic() - started, 3)
            write_record(cell.record_path, record)
    return Outcome(cell, record)


def _opening_record(cell: Cell) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "cell": cell.id,
        "name": cell.name,
        "sweep": cell.config["sweep"],
        "task": cell.task,
        "status": "running",
        "reason": None,
        "traceback": None,
        "config": dict(cell.config),
        "results": {},
        "rows": [],
        "details": {},
        "environment": {},
        "started": _now(),
        "finished": None,
        "seconds": None,
    }


def _failure(error: Exception) -> dict[str, Any]:
    import torch

    exhausted = isinstance(error, torch.OutOfMemoryError | MemoryError)
    sentence = str(error).strip() or "no message"
    return {
        "status": "out_of_memory" if exhausted else "failed",
        "reason": f"{type(error).__name__}: {sentence}",
        "traceback": "".join(traceback.format_exception(error)),
    }


def _environment(cell: Cell) -> dict[str, Any]:
    from analysis.environment import environment

    return environment(cell.config["device"])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _cell_log(cell: Cell) -> Iterator[None]:
    """Copy what the program logs during the cell into the cell's own file `log`."""
    handler = logging.FileHandler(cell.directory / "log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(min(level, logging.INFO))
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()


@contextmanager
def _termination_as_preemption() -> Iterator[None]:
    """Let SIGTERM unwind the cell like Ctrl-C does, so that its record is written."""

    def stop(signal_number: int, frame: FrameType | None) -> None:
        raise Preempted(signal.Signals(signal_number).name)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
