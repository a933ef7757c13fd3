"""The launch folder of a sweep, `runs/<sweep>/.launch/`: what was submitted, from which code, and who may submit now.

    lock                      held while somebody submits
    code/<hash>/              copies of the code (see launch.snapshot)
    mixer_modules/<hash>/     copies of users' mixer files; task_modules/<hash>/ of their tasks
    submissions/<name>/       one folder an array of jobs: submission.json, the sbatch script, N.log of each job

A submission is written before it goes to Slurm and completed with its job id afterwards. Whoever is killed in between
leaves one without an id: Slurm knows whether it got there, by the name, which no other job has.
"""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from analysis.record import read_record, read_status, write_record

from .cell import Cell
from .settings import PlatformSettings, platform_settings


class LaunchError(Exception):
    """Cells cannot be started; the message says why, in words for whoever asked for it."""


class SweepBusyError(LaunchError):
    """Somebody else is submitting cells of the sweep at this moment."""


@dataclass(frozen=True)
class Submission:
    """Jobs that were handed over together; job number i runs the cells `jobs[i]`."""

    name: str
    jobs: Sequence[Sequence[str]]  # names of cells' directories
    platform: Mapping[str, Any]
    code: str  # the folder that the jobs import from
    working_directory: str  # what relative paths of the configuration are relative to
    submitted: str  # ISO 8601, UTC
    rerun: bool = False  # also cells that are completed
    throttle: int | None = None  # jobs of it that may run at once
    job_id: int | None = None  # of the array; None until Slurm has it, and outside of Slurm

    @property
    def settings(self) -> PlatformSettings:
        return platform_settings(self.platform)

    @classmethod
    def read(cls, folder: Path) -> "Submission":
        path = folder / "submission.json"
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise LaunchError(f"{path} is damaged ({error}): delete its folder to do without its jobs") from error

    def write(self, folder: Path) -> None:
        """Whole or not at all, like a record."""
        write_record(folder / "submission.json", asdict(self))

    def with_job_id(self, job_id: int) -> "Submission":
        return replace(self, job_id=job_id)


def pack(cells: Sequence[str], cells_per_job: int) -> list[Sequence[str]]:
    """The cells of each job."""
    return [cells[start : start + cells_per_job] for start in range(0, len(cells), cells_per_job)]


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder, `runs/<sweep>`."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def launch_folder(self) -> Path:
        return self.folder / ".launch"

    def has_cells(self) -> bool:
        return any(self._has_config(name) for name in self._folders())

    def cell_names(self) -> list[str]:
        """The directory of each cell that was planned: it left its `config.yaml` before the first one started."""
        return [name for name in sorted(self._folders()) if self._has_config(name)]

    def statuses(self) -> dict[str, str | None]:
        """What the record of each cell says, None where there is none; one look at most files."""
        found = {name: self.status(name) for name in sorted(self._folders())}
        return {name: status for name, status in found.items() if status is not None or self._has_config(name)}

    def _folders(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        with os.scandir(self.folder) as entries:
            return [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]

    def _has_config(self, name: str) -> bool:
        return (self.folder / name / "config.yaml").exists()

    def cell(self, name: str) -> Cell:
        return Cell.read(self.folder / name)

    def status(self, name: str) -> str | None:
        """What the cell's record says; None where there is none."""
        return read_status(os.path.join(self.folder, name, "record.json"))

    def record(self, name: str) -> Mapping[str, Any]:
        return read_record(self.folder / name / "record.json")

    def submission_folder(self, name: str) -> Path:
        return self.launch_folder / "submissions" / name

    def submissions(self) -> list[Submission]:
        """All, the oldest first."""
        folders = (self.launch_folder / "submissions").glob("*/submission.json")
        return sorted((Submission.read(path.parent) for path in folders), key=lambda submission: submission.submitted)

    def new_submission_name(self) -> str:
        """For people who read `squeue`, and like no other."""
        readable = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in self.name)
        return f"{readable}-{secrets.token_hex(4)}"

    @contextmanager
    def lock(self, patience_seconds: float = 120.0) -> Iterator[None]:
        """Submit alone. The kernel gives the lock back when this process ends, however it ends.

        Raises:
            SweepBusyError: another process, on this machine or over NFS on another, keeps it for longer than that.
            LaunchError: the folder cannot be written to, at any time until the lock is given back.
        """
        try:
            self.launch_folder.mkdir(parents=True, exist_ok=True)
            with self._held(patience_seconds):
                yield
        except OSError as error:  # a full disk, a folder of somebody else
            raise LaunchError(f"{error}; nothing is lost: `python -m launch resume {self.name}` continues") from error

    @contextmanager
    def _held(self, patience_seconds: float) -> Iterator[None]:
        with open(self.launch_folder / "lock", "a+b") as file:
            deadline = time.monotonic() + patience_seconds
            while not _try_lock(file):
                if time.monotonic() > deadline:
                    raise SweepBusyError(f"somebody else has been submitting cells of {self.name} for minutes")
                time.sleep(0.1)
            yield


def _try_lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
