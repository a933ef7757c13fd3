"""Cells to be run on Slurm: composed on the command line, or left over by an earlier submission of their sweep."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from launch import attempts
from launch.cell import Cell
from launch.code import other_code
from launch.settings import SlurmSettings
from launch.snapshot import freeze
from launch.submission import Submission, Sweep

from .settle import Live, settle
from .submit import Order, backlog_files, submit


@dataclass(frozen=True)
class Submitted:
    """What became of cells that were to be submitted."""

    submissions: Sequence[Submission]
    completed: int = 0
    other_code: int = 0  # of the completed ones
    live: int = 0
    given_up: Sequence[str] = ()
    waiting: int = 0  # there is no room for them yet

    @property
    def cells(self) -> int:
        return sum(len(cells) for submission in self.submissions for cells in submission.jobs)


def submit_cells(sweep: Sweep, cells: Sequence[Cell], settings: SlurmSettings, rerun: bool) -> Submitted:
    """Freeze code and configuration of composed `cells`, and submit those that are neither completed nor in a job.

    Raises:
        SlurmError, SubmissionRefusedError: see `launch.slurm.submit`.
        SweepBusyError: see `Sweep.lock`.
    """
    with sweep.lock():
        live = settle(sweep)
        completed = set() if rerun else {cell.directory.name for cell in cells if _is_completed(sweep, cell)}
        wanted = [cell for cell in cells if cell.directory.name not in live.cells | completed]
        names = [cell.directory.name for cell in wanted]
        code = freeze(sweep, wanted) if wanted else ""
        done = submit_order(Order(sweep, names, settings, code, os.getcwd(), rerun), live)
        return replace(
            done,
            completed=len(completed),
            other_code=sum(bool(other_code(sweep.record(name))) for name in completed),
            live=len(cells) - len(wanted) - len(completed),
        )


def resubmit(sweep: Sweep, settings: Mapping[str, SlurmSettings], *, insist: bool, new_code: bool) -> Submitted:
    """Submit what is not completed of the cells that `settings` names, each from the code that it was submitted with.

    Args:
        insist: also cells that died more often than `retries` allows.
        new_code: from the code that is running now.

    Raises: what `submit_cells` raises.
    """
    with sweep.lock():
        live = settle(sweep)
        completed = {name for name in settings if sweep.status(name) == "completed"}
        wanted = [name for name in settings if name not in live.cells | completed]
        died = {name: attempts.deaths(attempts.read_attempts(sweep.folder / name)) for name in wanted}
        given_up = [] if insist else [name for name in wanted if len(died[name]) > settings[name].retries]
        for path in backlog_files(sweep):  # everything in it is wanted here
            path.unlink()
        origin = {cell: one for one in sweep.submissions() for cells in one.jobs for cell in cells}
        fresh = freeze(sweep) if wanted else ""
        orders: dict[str, Order] = {}
        for name in wanted:
            if name in given_up:
                continue
            before = origin.get(name)
            order = Order(
                sweep,
                [],
                without_nodes(settings[name], attempts.failing_nodes(died[name])),
                code=before.code if before is not None and not new_code else fresh,
                working_directory=before.working_directory if before is not None else os.getcwd(),
            )
            key = repr(order)
            orders[key] = replace(order, cells=[*orders.get(key, order).cells, name])
        done = [submit_order(order, live) for order in orders.values()]
        return Submitted(
            [submission for part in done for submission in part.submissions],
            completed=len(completed),
            live=len(live.cells & set(settings)),
            given_up=given_up,
            waiting=sum(part.waiting for part in done),
        )


def submit_order(order: Order, live: Live) -> Submitted:
    if not order.cells:
        return Submitted([])
    done = Submitted(submit(order, live))
    return replace(done, waiting=len(order.cells) - done.cells)


def without_nodes(settings: SlurmSettings, nodes: Sequence[str]) -> SlurmSettings:
    """The settings with further nodes that jobs must not run on."""
    excluded = [*([settings.exclude] if settings.exclude else []), *nodes]
    return replace(settings, exclude=",".join(excluded) or None)


def _is_completed(sweep: Sweep, cell: Cell) -> bool:
    return sweep.status(cell.directory.name) == "completed"
