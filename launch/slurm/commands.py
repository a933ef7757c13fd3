"""Slurm's own commands, and what they answer. Each call has a time limit: some of them wait for ever."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from launch.submission import LaunchError

SECONDS = 60

JobTask = tuple[int, int]
"""A job of an array: the array's id and the job's index."""


class SlurmError(LaunchError):
    """Slurm does not answer or says no; the message is what it said."""


@dataclass(frozen=True)
class Queued:
    """A job that Slurm has not finished with, as squeue tells it."""

    name: str
    state: str
    reason: str
    node: str
    time_left: str


@dataclass(frozen=True)
class Accounted:
    """A job as the accounting database remembers it."""

    name: str
    state: str
    exit_code: str
    node: str


def call(*command: str) -> str:
    """What a command of Slurm's prints.

    Raises:
        SlurmError: it is not there, fails or does not answer.
    """
    if shutil.which(command[0]) is None:
        raise SlurmError(f"{command[0]} is not on this machine: platform=slurm works where Slurm's commands are")
    try:
        # Within a job, its own variables must not become options of other commands.
        process = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=clean_environment())
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{command[0]} has not answered for {SECONDS} s") from error
    if process.returncode:
        said = " ".join(process.stderr.split()) or f"exit status {process.returncode}"
        raise SlurmError(f"{command[0]}: {said.removeprefix(f'{command[0]}: ')}")
    return process.stdout


def clean_environment() -> dict[str, str]:
    """The environment without what Slurm tells a job about itself."""
    own, kept = ("SLURM_", "SBATCH_", "SRUN_"), ("SLURM_CONF", "SLURM_TIME_FORMAT")
    if "SLURM_JOB_ID" in os.environ:
        own += ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
    return {name: value for name, value in os.environ.items() if not name.startswith(own) or name in kept}


def queue(names: Sequence[str]) -> dict[JobTask, Queued]:
    """The jobs of these names that wait or run, whoever submitted them."""
    if not names:
        return {}
    fields = "%F|%K|%j|%T|%r|%N|%L"
    return parse_queue(call("squeue", "--noheader", "--array", f"--name={','.join(names)}", f"--format={fields}"))


def parse_queue(text: str) -> dict[JobTask, Queued]:
    jobs = {}
    for line in text.splitlines():
        array, index, name, state, reason, node, time_left = line.strip().split("|")
        jobs[int(array), int(index) if index.isdigit() else 0] = Queued(name, state, reason, node, time_left)
    return jobs


def accounting(arrays: Mapping[str, int | None], since: str) -> dict[JobTask, Accounted]:
    """The jobs of these names, each with the id of its array if that is known, submitted after `since` (ISO 8601).

    Raises:
        SlurmError: the cluster keeps no accounts, or its database does not answer.
    """
    if not arrays:
        return {}
    ids = list(arrays.values())
    # Asked for names, sacct leaves out jobs that never began; asked for ids, it has them.
    which = f"--name={','.join(arrays)}" if None in ids else f"--jobs={','.join(map(str, ids))}"
    fields = "--format=JobID,JobName,State,ExitCode,NodeList"
    options = ("--allusers", "--allocations", "--noheader", "--parsable2", f"--starttime={slurm_time(since)}", fields)
    jobs = parse_accounting(call("sacct", *options, which))
    return {task: job for task, job in jobs.items() if job.name in arrays}


def slurm_time(moment: str) -> str:
    """The second of `moment` (ISO 8601), as Slurm's commands take it: local time, without saying so."""
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%dT%H:%M:%S")


def parse_accounting(text: str) -> dict[JobTask, Accounted]:
    """Jobs that have not started yet stand in one line, `17_[3-9]`; these are left to squeue."""
    jobs = {}
    for line in text.splitlines():
        job, name, state, exit_code, node = line.split("|")
        array, _, index = job.partition("_")
        if "[" in index:
            continue
        # "CANCELLED by 1000": the first word is the state.
        task = int(array), int(index or 0)
        jobs[task] = Accounted(name, state.split()[0], exit_code, "" if node == "None assigned" else node)
    return jobs
