"""One process of a job: runs cells from their frozen `config.yaml`, one after another. No configuration is composed.

`python -m launch.worker SWEEP_FOLDER CELL...`; exit status 0 when all are completed, 1 when one failed, 75 when it was
asked to stop before the end. srun starts as many as the job has tasks: together they are the ranks of each cell, or,
with `--share`, each takes its own part of the cells.
"""

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from . import attempts
from .cell import Cell
from .execute import Outcome, execute, finished_record
from .interruption import PREEMPTED_EXIT_STATUS, Preempted
from .place import current_place

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR2)
TRIES_OF_A_BUSY_CELL = 12
SECONDS_BETWEEN_TRIES = 10.0

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m launch.worker", description="Run cells of a sweep.")
    parser.add_argument("sweep", type=Path)
    parser.add_argument("cells", nargs="+")
    parser.add_argument("--job", required=True, help="under which name the cells' attempts are noted")
    parser.add_argument("--share", action="store_true", help="each task of the step runs other cells, on its own GPU")
    parser.add_argument("--rerun", action="store_true", help="run them even when completed")
    options = parser.parse_args(arguments)
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    cells = own_share(options.cells) if options.share else options.cells
    # Only the first of several ranks writes.
    leads = options.share or os.environ.get("SLURM_PROCID", "0") == "0"
    statuses = [run(options.sweep / name, options.job if leads else None, options.rerun) for name in cells]
    return 0 if all(status == "completed" for status in statuses) else 1


def run(directory: Path, job: str | None, rerun: bool) -> str:
    """Run the cell in `directory` and return how it ended; `job` also notes that among the cell's attempts."""
    cell = Cell.read(directory)
    # What was interrupted in the middle is continued, not begun again.
    rerun = rerun and finished_record(cell) is not None
    if job is not None:
        attempts.begin(directory, job, current_place())
    log.info("%s starts", directory.name)
    status, reason = "preempted", None
    try:
        outcome = _execute_when_free(cell, rerun)
        status = attempts.BUSY if outcome.status == "running" else outcome.status
        reason = outcome.record["reason"]
    except (KeyboardInterrupt, Preempted) as stop:
        raise SystemExit(PREEMPTED_EXIT_STATUS) from stop
    except SystemExit:
        status, reason = "failed", "one of its ranks failed"
        raise
    except Exception as error:
        status, reason = "failed", f"{type(error).__name__}: {error}"
        log.exception("%s left no record", directory.name)
    finally:
        if job is not None:
            attempts.end(directory, status, reason)
        log.info("%s: %s%s", directory.name, status, f": {reason}" if reason else "")
    return status


def _execute_when_free(cell: Cell, rerun: bool) -> Outcome:
    """Slurm may give a node up, and start its jobs elsewhere, while their processes still run there: not for long."""
    outcome = execute(cell, rerun=rerun, show_progress=False)
    # Counted, not timed, because all ranks have to do the same.
    for _ in range(TRIES_OF_A_BUSY_CELL):
        if outcome.status != "running":
            break
        log.info("%s: %s", cell.directory.name, outcome.record["reason"])
        time.sleep(SECONDS_BETWEEN_TRIES)
        outcome = execute(cell, rerun=rerun, show_progress=False)
    return outcome


def own_share(cells: Sequence[str]) -> Sequence[str]:
    """This task's cells and its GPU. The step's other tasks are no ranks of its cells, so their number is hidden."""
    task, tasks = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_STEP_NUM_TASKS"])
    if gpus := os.environ.get("CUDA_VISIBLE_DEVICES"):
        visible = gpus.split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[task % len(visible)]
    for variable in ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_LOCALID"):
        os.environ.pop(variable, None)
    return cells[task::tasks]


def _stop(number: int, frame: FrameType | None) -> None:
    """Between cells there is nothing to save; during one, `execute` has its own handler."""
    raise SystemExit(PREEMPTED_EXIT_STATUS)


if __name__ == "__main__":
    sys.exit(main())
