"""Hand cells over to Slurm as arrays. What there is no room for stays in the sweep's backlog, for jobs to submit later.

The backlog is written before the first array and shrinks with each. So whoever is refused, or killed, in the middle
leaves behind what is still to be done: the jobs that did get through submit it when they end, or `resume` does.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from analysis.record import write_record
from launch.settings import SlurmSettings, platform_settings
from launch.submission import LaunchError, Submission, Sweep, now, pack

from .arrays import Array, split
from .commands import SlurmError
from .limits import limits
from .script import ArrayScript
from .settle import Live


class SubmissionRefusedError(LaunchError):
    """Slurm took only some of the arrays, or none; what it took before stays submitted."""


@dataclass(frozen=True)
class Order:
    """Cells of one sweep that are to run alike."""

    sweep: Sweep
    cells: Sequence[str]  # names of their directories
    settings: SlurmSettings
    code: str
    working_directory: str
    rerun: bool = False

    @property
    def platform(self) -> dict[str, Any]:
        return asdict(self.settings) | {"packing": self.settings.packing.value}


def submit(order: Order, live: Live, within_job: bool = False) -> list[Submission]:
    """Submit arrays for the cells of `order`, as many as there is room for. Call it with the sweep's lock held.

    Raises:
        SubmissionRefusedError: sbatch said no.
        SlurmError: the controller does not answer; nothing was submitted.
    """
    jobs = pack(order.cells, order.settings.cells_per_job)
    parallel, after_live = share_of_parallel(order.settings.parallel, live)
    arrays = split(jobs, limits(order.settings.account, order.settings.qos), parallel, within_job)
    backlog = _Backlog.new(order)
    done: list[Submission] = []
    for array in arrays:
        after = [done[array.after].job_id] if array.after is not None else after_live
        try:
            done.append(_submit_array(order, array, after))
        except SlurmError as error:
            if not done:
                backlog.path.unlink()
            counts = f"{len(done)} of {len(arrays)} arrays are submitted"
            raise SubmissionRefusedError(f"{error}\n{counts}; `python -m launch resume` submits the rest") from error
        backlog = backlog.without(array)
    return done


def share_of_parallel(parallel: int | None, live: Live) -> tuple[int | None, list[int]]:
    """How many of the new jobs may run at once beside those that live, or after which arrays if none may."""
    if parallel is None:
        return None, []
    free = parallel - sum(live.arrays.values())
    return (free, []) if free > 0 else (parallel, sorted(live.arrays))


def submit_backlog(sweep: Sweep, live: Live) -> tuple[list[Submission], int]:
    """What is still to be submitted, as far as there is room now; and for how many cells there was none.

    Call it from a job that is about to end, with the sweep's lock held.
    """
    done: list[Submission] = []
    for path in backlog_files(sweep):
        order = _Backlog.read(path, sweep).order
        path.unlink()
        wanted = [name for name in order.cells if name not in live.cells and sweep.status(name) != "completed"]
        if wanted:
            done += submit(replace(order, cells=wanted), live, within_job=True)
    return done, sum(len(_Backlog.read(path, sweep).order.cells) for path in backlog_files(sweep))


def backlog_files(sweep: Sweep) -> list[Path]:
    return sorted((sweep.launch_folder / "backlog").glob("*.json"))


def script(order: Order, array: Array, name: str, dependency: str | None = None) -> ArrayScript:
    """The sbatch script of an array; `dependency` as Slurm writes it."""
    return ArrayScript(
        order.sweep.submission_folder(name).absolute(),
        name,
        len(array.jobs),
        order.settings,
        order.code,
        order.working_directory,
        throttle=array.throttle,
        dependency=dependency,
    )


def _submit_array(order: Order, array: Array, after: Sequence[int | None]) -> Submission:
    """One array. Its folder is written first, so that nothing runs of which there is no trace."""
    submission = Submission(
        name=order.sweep.new_submission_name(),
        jobs=array.jobs,
        platform=order.platform,
        code=order.code,
        working_directory=order.working_directory,
        submitted=now(),
        rerun=order.rerun,
        throttle=array.throttle,
    )
    folder = order.sweep.submission_folder(submission.name)
    submission.write(folder)
    dependency = ":".join(["afterany", *map(str, after)]) if after else None
    submission = submission.with_job_id(script(order, array, submission.name, dependency).submit())
    submission.write(folder)
    return submission


@dataclass(frozen=True)
class _Backlog:
    """The part of an order that is not submitted yet."""

    path: Path
    order: Order

    @classmethod
    def new(cls, order: Order) -> "_Backlog":
        backlog = cls(order.sweep.launch_folder / "backlog" / f"{secrets.token_hex(4)}.json", order)
        backlog._write()
        return backlog

    @classmethod
    def read(cls, path: Path, sweep: Sweep) -> "_Backlog":
        values = json.loads(path.read_text(encoding="utf-8"))
        settings = platform_settings(values.pop("platform"))
        return cls(path, Order(sweep=sweep, settings=settings, **values))

    def without(self, array: Array) -> "_Backlog":
        submitted = {name for cells in array.jobs for name in cells}
        rest = [name for name in self.order.cells if name not in submitted]
        backlog = replace(self, order=replace(self.order, cells=rest))
        backlog._write()
        return backlog

    def _write(self) -> None:
        if not self.order.cells:
            self.path.unlink(missing_ok=True)
            return
        order = self.order
        values = {"platform": order.platform} | {
            key: getattr(order, key) for key in ("cells", "code", "working_directory", "rerun")
        }
        write_record(self.path, values)
