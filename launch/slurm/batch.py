"""What Slurm runs: `python -m launch.slurm.batch SUBMISSION_FOLDER` is one job of an array; Slurm tells it which.

This is the batch step. srun starts the processes that compute as another step, on all nodes of the job; Slurm's signal
before preemption or the time limit goes to these. Exit status: 0 when all cells are completed, 1 when one is not, so
that Slurm's state of the job is FAILED.
"""

import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from launch.job import Job
from launch.place import current_place, slurm_job
from launch.settings import Packing, SlurmSettings
from launch.submission import LaunchError, Submission, Sweep

from .commands import SlurmError, call
from .settle import settle
from .submit import backlog_files, submit_backlog

SECONDS_TO_BE_REQUEUED = 120
# Jobs that end together each wait a moment for the one before to leave; not all at the same moment.
LOOKS_FOR_ROOM, SECONDS_BETWEEN_LOOKS = 20, (5.0, 20.0)

log = logging.getLogger(__name__)


def main(folder: Path) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    submission = Submission.read(folder)
    settings = submission.settings
    index, place = int(os.environ["SLURM_ARRAY_TASK_ID"]), current_place()
    log.info("job %s on %s, start %d: %s", place["job"], place["node"], place["restarts"] + 1, submission.jobs[index])
    job = Job(
        name=f"{submission.name}/{index}",
        sweep=Sweep(folder.parents[2]),
        cells=submission.jobs[index],
        node=place["node"],
        start=lambda arguments: subprocess.Popen(srun(arguments, settings)),
        log=folder / f"{index}.log",
        retries=settings.retries,
        rerun=submission.rerun,
    )
    signal.signal(signal.SIGTERM, job.note_stop)
    signal.signal(signal.SIGUSR2, job.note_stop)
    try:
        if not job.run():
            return requeue(settings, place["restarts"], job.exclude)
    except LaunchError as error:
        log.error("%s", error)
    top_up(job.sweep)
    failed = job.failed()
    log.info("%d of %d cells completed", len(job.cells) - len(failed), len(job.cells))
    return 1 if failed else 0


def top_up(sweep: Sweep) -> None:
    """Submit what there was no room for in the queue: this job will soon leave it."""
    for _ in range(LOOKS_FOR_ROOM):
        if not backlog_files(sweep):
            return
        try:
            with sweep.lock():
                live = settle(sweep)
                submissions, left = submit_backlog(sweep, live)
        except LaunchError as error:
            log.warning("cells that wait for room in the queue are not submitted: %s", error)
            return
        if submissions or not left:
            log.info("submitted %d jobs, %d cells wait for room", sum(len(one.jobs) for one in submissions), left)
            return
        if live.pending:  # one of those will do it
            return
        time.sleep(random.uniform(*SECONDS_BETWEEN_LOOKS))


def srun(arguments: Sequence[str], settings: SlurmSettings) -> list[str]:
    """The step in which cells are computed: the ranks of each cell, or one cell on each GPU."""
    command = ["srun"]
    if settings.packing is Packing.gpus:
        # A cell that dies leaves the others alone.
        command += ["--kill-on-bad-exit=0", "--wait=0"]
    else:
        # A rank that dies takes the others along, instead of leaving them to wait for it.
        command += ["--kill-on-bad-exit=1"]
    if settings.cpus_per_task is not None:
        command += [f"--cpus-per-task={settings.cpus_per_task}"]  # which srun does not take over from sbatch
    command += [sys.executable, "-P", "-m", "launch.worker", *arguments]
    return command + (["--share"] if settings.packing is Packing.gpus else [])


def requeue(settings: SlurmSettings, restarts: int, exclude: Sequence[str]) -> int:
    """Put this job back into the queue, and wait for Slurm to end it; the exit status where that is not possible."""
    job = slurm_job()
    try:
        state = call("squeue", "--noheader", f"--jobs={job}", "--states=all", "--format=%T").strip()
        if state != "RUNNING":
            # Preempted without grace, requeued by hand, cancelled: Slurm does already what is to be done.
            log.info("stopped; Slurm's state of the job is %s", state)
            return 1
        if restarts >= settings.max_requeues:
            log.error("interrupted %d times, as often as platform.max_requeues allows", restarts + 1)
            return 1
        # Slurm answers with SIGTERM to all processes of the job: not for the commands that tell it what to do.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        call("scontrol", "requeue", job)
        log.info("requeued")
        if exclude:
            nodes = ",".join([*filter(None, [settings.exclude]), *exclude])
            call("scontrol", "update", f"JobId={job}", f"ExcNodeList={nodes}")
            log.info("without %s", nodes)
    except SlurmError as error:
        log.error("not requeued: %s; `python -m launch resume` continues", error)
        return 1
    time.sleep(SECONDS_TO_BE_REQUEUED)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
