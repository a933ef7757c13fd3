"""End the jobs of cells. What they have saved stays; `resume` continues it."""

from collections.abc import Sequence

from launch.submission import Sweep

from .commands import call, queue
from .submit import backlog_files

JOBS_PER_CALL = 500
"""As many as a command line takes without trouble."""


def cancel(sweep: Sweep, names: Sequence[str]) -> int:
    """Cancel the jobs of these cells, and what was still to be submitted; returns how many cells that concerns.

    A job is cancelled with all the cells it has: those are counted too.

    Raises:
        SlurmError: Slurm does not answer.
        SweepBusyError: somebody is submitting all the while.
    """
    with sweep.lock():
        for path in backlog_files(sweep) if set(names) == set(sweep.cell_names()) else []:
            path.unlink()
        submissions = {submission.name: submission for submission in sweep.submissions()}
        slurm = [name for name, submission in submissions.items() if submission.platform["name"] == "slurm"]
        wanted, cells = [], set()
        for (array, index), job in queue(slurm).items():
            of_job = submissions[job.name].jobs[index]
            if set(of_job) & set(names):
                wanted.append(f"{array}_{index}")
                cells |= set(of_job)
        for start in range(0, len(wanted), JOBS_PER_CALL):
            call("scancel", *wanted[start : start + JOBS_PER_CALL])
        return len(cells)
