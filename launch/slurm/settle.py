"""Put down what is known by now of jobs that ended, or never began: everything that submits does this first."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launch import attempts
from launch.standing import Slurm, ask_slurm, jobs_of_cells
from launch.submission import Submission, Sweep

from .commands import JobTask, Queued, SlurmError

# Slurm's states of jobs that were ended on purpose: no fault of the cell, or of the node.
ON_PURPOSE = ("CANCELLED", "PREEMPTED", "REQUEUED", "TIMEOUT", "DEADLINE")


@dataclass(frozen=True)
class Live:
    """What Slurm has not finished with: the cells, and of each array how many jobs may run at once from now on."""

    cells: set[str]
    arrays: Mapping[int, int]
    pending: bool  # whether any of the jobs has not begun


def settle(sweep: Sweep) -> Live:
    """Return what is at work or still to come. Call it with the sweep's lock held.

    A submission whose driver was killed gets its job id from Slurm, or is removed if it never arrived. An attempt
    whose process is gone gets its end.

    Raises:
        SlurmError: squeue does not answer, so it is not known what runs.
    """
    submissions = sweep.submissions()
    statuses = sweep.statuses()
    slurm = ask_slurm(submissions, statuses)
    if slurm.queued is None:
        raise SlurmError(" ".join(slurm.problems))
    _complete_submissions(sweep, slurm)
    live = live_jobs(submissions, slurm.queued)
    jobs = jobs_of_cells(submissions, slurm)
    for name, status in statuses.items():
        if status == "completed" or name in live.cells or name not in jobs:
            continue
        submission, task = jobs[name]
        seen = attempts.read_attempts(sweep.folder / name)
        if seen and seen[-1].ended is None and seen[-1].job == f"{submission.name}/{task[1]}":
            accounted = slurm.accounted.get(task)
            on_purpose = accounted is not None and accounted.state in ON_PURPOSE
            reason = f"Slurm's state of the job: {accounted.state}" if accounted is not None else None
            attempts.end(sweep.folder / name, "preempted" if on_purpose else attempts.DIED, reason)
    return live


def live_jobs(submissions: Sequence[Submission], queued: Mapping[JobTask, Queued]) -> Live:
    """The part of the queue that belongs to these submissions."""
    by_name = {submission.name: submission for submission in submissions}
    cells = {cell for (_, index), job in queued.items() for cell in by_name[job.name].jobs[index]}
    arrays = Counter(array for array, _ in queued)
    throttles = {array: by_name[job.name].throttle for (array, _), job in queued.items()}
    pending = any(job.state == "PENDING" for job in queued.values())
    return Live(cells, {array: min(count, throttles[array] or count) for array, count in arrays.items()}, pending)


def _complete_submissions(sweep: Sweep, slurm: Slurm) -> None:
    arrived = {job.name: task[0] for task, job in [*slurm.accounted.items(), *slurm.queued.items()]}
    for submission in sweep.submissions():
        if submission.job_id is not None or submission.platform["name"] != "slurm":
            continue
        folder = sweep.submission_folder(submission.name)
        if submission.name in arrived:
            submission.with_job_id(arrived[submission.name]).write(folder)
        elif not any(folder.glob("*.log")):
            shutil.rmtree(folder)
