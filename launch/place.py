"""Which job of a cluster this process belongs to, as its environment says."""

import os
import socket
from collections.abc import Mapping
from typing import TypedDict


class Place(TypedDict):
    """Where a cell ran."""

    job: str | None  # "17_3": task 3 of array 17
    restarts: int  # how often Slurm started this job again
    node: str


def slurm_job(environment: Mapping[str, str] = os.environ) -> str | None:
    """The job as Slurm's commands name it, `17_3` for a task of an array; None outside of Slurm."""
    if "SLURM_ARRAY_JOB_ID" in environment:
        return f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    return environment.get("SLURM_JOB_ID")


def current_place() -> Place:
    return {
        "job": slurm_job(),
        "restarts": int(os.environ.get("SLURM_RESTART_COUNT", 0)),
        "node": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
    }
