"""Hand cells over to Slurm: all of them, or those that still need it, and none twice."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from launch.settings import SlurmSettings
from launch.submission import Submission, Sweep, now

from .arrays import Array, pack, split
from .commands import SlurmError
from .limits import Limits, limits
from .script import ArrayScript


@dataclass(frozen=True)
class Order:
    """What all arrays of one submission have in common."""

    sweep: Sweep
    settings: SlurmSettings
    code: Path
    working_directory: str
    rerun: bool = False


class SubmissionRefusedError(Exception):
    """Slurm took only some of the arrays; `submitted` are those it took."""

    def __init__(self, message: str, submitted: Sequence[Submission]) -> None:
        super().__init__(message)
        self.submitted = submitted


def submit(order: Order, cells: Sequence[str]) -> list[Submission]:
    """Submit jobs for `cells` (names of their directories). Call it with the sweep's lock held.

    What there is no room for is not in the result: the jobs themselves submit it as room comes free.

    Raises:
        SubmissionRefusedError: sbatch said no. What it took before stays submitted.
        SlurmError: the controller does not answer; nothing was submitted.
    """
    arrays = plan(order, cells, limits(order.settings.account, order.settings.qos))
    done: list[Submission] = []
    for array in arrays:
        try:
            done.append(submit_array(order, array, done))
        except SlurmError as error:
            raise SubmissionRefusedError(str(error), done) from error
    return done


def plan(order: Order, cells: Sequence[str], allowed: Limits) -> list[Array]:
    return split(pack(cells, order.settings.cells_per_job), allowed, order.settings.parallel)


def submit_array(order: Order, array: Array, earlier: Sequence[Submission]) -> Submission:
    """One array. Its folder is written first, so that nothing runs of which there is no trace."""
    submission = Submission(
        name=order.sweep.new_submission_name(),
        jobs=array.jobs,
        platform=asdict(order.settings) | {"packing": order.settings.packing.value},
        code=str(order.code),
        working_directory=order.working_directory,
        submitted=now(),
        rerun=order.rerun,
    )
    folder = order.sweep.submission_folder(submission.name).absolute()
    submission.write(folder)
    after = None if array.after is None else f"afterany:{earlier[array.after].job_id}"
    submission = submission.with_job_id(script(order, array, submission.name, after).submit())
    submission.write(folder)
    return submission


def script(order: Order, array: Array, name: str, dependency: str | None = None) -> ArrayScript:
    return ArrayScript(
        order.sweep.submission_folder(name).absolute(),
        name,
        len(array.jobs),
        order.settings,
        str(order.code),
        order.working_directory,
        throttle=array.throttle,
        dependency=dependency,
        exclude=order.settings.exclude,
    )
