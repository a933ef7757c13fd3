"""How each cell of a sweep stands: what its record says, and what Slurm knows of its job where the record cannot say.

A record ends with its process; a job that was killed, or has not begun, left none. So the two are put together, with at
most one call of squeue and one of sacct, however many cells there are.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from analysis.record import UnreadableRecordError, read_record

from .lock import PATIENCE_SECONDS, Owner, owner_of
from .slurm.commands import Accounted, JobTask, Queued, SlurmError, accounting, queue
from .submission import Submission, Sweep
from .sweep import headline

# In the order in which people want to see them.
STATES = ("running", "starting", "failed", "out_of_memory", "lost", "cancelled", "preempted", "pending", "waiting")
FINAL = ("completed", "failed", "out_of_memory")


@dataclass(frozen=True)
class Standing:
    """One cell. `state` is a record's status, or one of

    pending: its job waits; starting: its job runs, but it has not begun; waiting: no job has it; lost: its process or
    job ended without a word; cancelled: its job was.
    """

    directory: Path
    state: str
    reason: str = ""
    job: str = ""  # "17_3"
    node: str = ""
    has_record: bool = field(default=True, repr=False)

    @property
    def name(self) -> str:
        return self.directory.name

    @cached_property
    def progress(self) -> Mapping[str, Any]:
        """What is known of epoch, epochs, best_top1_percent, images_per_second and seconds_left."""
        return _progress(self.directory) if self.has_record else {}


@dataclass(frozen=True)
class Slurm:
    """What Slurm knows of the sweep's jobs. `queued` is None where it does not answer; `problems` says why."""

    queued: Mapping[JobTask, Queued] | None
    accounted: Mapping[JobTask, Accounted]
    problems: Sequence[str] = ()


def standings(sweep: Sweep, slurm: Slurm | None = None) -> tuple[list[Standing], Sequence[str]]:
    """Every cell of the sweep, by name, and sentences about what could not be found out."""
    submissions = sweep.submissions()
    statuses = sweep.statuses()
    if slurm is None:
        slurm = ask_slurm(submissions, statuses)
    jobs = jobs_of_cells(submissions, slurm)
    return [_standing(sweep, name, statuses[name], jobs.get(name), slurm) for name in statuses], slurm.problems


def jobs_of_cells(submissions: Sequence[Submission], slurm: Slurm) -> dict[str, tuple[Submission, JobTask]]:
    """The newest job of each cell that Slurm has got."""
    ids = {submission.name: submission.job_id for submission in submissions}
    # Of a submission without an id, only Slurm can tell whether it arrived.
    for task, job in [*slurm.accounted.items(), *(slurm.queued or {}).items()]:
        if ids.get(job.name, 0) is None:
            ids[job.name] = task[0]
    return {
        name: (submission, (ids[submission.name], index))
        for submission in submissions
        if ids[submission.name] is not None
        for index, cells in enumerate(submission.jobs)
        for name in cells
    }


def ask_slurm(submissions: Sequence[Submission], statuses: Mapping[str, str | None]) -> Slurm:
    """One look at the queue and, only where a cell's end is not known, one into the accounts."""
    ours = [submission for submission in submissions if submission.platform["name"] == "slurm"]
    names = [submission.name for submission in ours]
    if not ours or (set(statuses.values()) <= {"completed"} and not any(submission.rerun for submission in ours)):
        return Slurm({}, {})
    try:
        queued = queue(names)
    except SlurmError as error:
        return Slurm(None, {}, [f"Slurm's queue is not known ({error}): states are those of the records"])
    by_name = {submission.name: submission for submission in ours}
    live = {cell for (_, index), job in queued.items() for cell in by_name[job.name].jobs[index]}
    planned = {cell for submission in ours for cells in submission.jobs for cell in cells}
    if not any(statuses.get(cell) not in FINAL for cell in planned - live):
        return Slurm(queued, {})
    try:
        known = {job.name: task[0] for task, job in queued.items()}
        arrays = {submission.name: submission.job_id or known.get(submission.name) for submission in ours}
        return Slurm(queued, accounting(arrays, ours[0].submitted))
    except SlurmError as error:
        return Slurm(queued, {}, [f"Slurm's accounts are not known ({error}): why a job ended is not either"])


def _standing(
    sweep: Sweep, name: str, status: str | None, at: tuple[Submission, JobTask] | None, slurm: Slurm
) -> Standing:
    directory = sweep.folder / name
    if at is None:
        return _without_job(directory, status)
    submission, task = at
    job = f"{task[0]}_{task[1]}"
    queued = (slurm.queued or {}).get(task)
    if queued is not None:
        if status in FINAL and not _is_older(directory, submission):
            return Standing(directory, status, _reason(directory) if status != "completed" else "", job, queued.node)
        if queued.state == "PENDING":
            again = "again, " if status is not None else ""
            return Standing(directory, "pending", f"{again}{queued.reason}", job, has_record=status is not None)
        if queued.state == "COMPLETING":
            return Standing(directory, "running", "its job is ending", job, queued.node, status is not None)
        if status == "running" and owner_of(directory) is not None:
            return Standing(directory, "running", "", job, queued.node)
        return Standing(directory, "starting", "", job, queued.node, has_record=status is not None)
    if status == "completed":
        return Standing(directory, status, "", job)
    if status in FINAL:
        return Standing(directory, status, _reason(directory), job)
    accounted = slurm.accounted.get(task)
    if accounted is None:
        return _without_job(directory, status, job)
    if accounted.state == "CANCELLED":
        return Standing(directory, "cancelled", "its job was cancelled", job, accounted.node, status is not None)
    if accounted.state == "PENDING":  # requeued, and squeue looked a moment too early
        return Standing(directory, "pending", "again", job, has_record=status is not None)
    reason = f"Slurm's state of its job: {accounted.state}, exit code {accounted.exit_code}"
    if status == "preempted":
        return Standing(directory, "preempted", reason, job, accounted.node)
    return Standing(directory, "lost", reason, job, accounted.node, status is not None)


def _without_job(directory: Path, status: str | None, job: str = "") -> Standing:
    """As the record and the lock say, where Slurm has nothing to say."""
    if status is None and (directory / "record.json").exists():
        return Standing(directory, "lost", "its record is damaged: `resume` runs it again", job, "", False)
    if status is None:
        return Standing(directory, "waiting" if not job else "lost", "" if not job else "never began", job, "", False)
    if status == "completed":
        return Standing(directory, status, "", job)
    if status != "running":
        return Standing(directory, status, _reason(directory), job)
    owner = owner_of(directory)
    if owner is not None and _age_seconds(owner) < PATIENCE_SECONDS:
        return Standing(directory, "running", "", job, owner.host)
    last = f"last sign of life {owner.beat} on {owner.host}" if owner is not None else "no sign of life"
    return Standing(directory, "lost", last, job, owner.host if owner is not None else "")


def _is_older(directory: Path, submission: Submission) -> bool:
    """Whether the record is from before the job was submitted; a cell that failed may be tried again."""
    try:
        started = _record(directory)["started"]
    except UnreadableRecordError:
        return True
    return datetime.fromisoformat(started).timestamp() < int(datetime.fromisoformat(submission.submitted).timestamp())


def _reason(directory: Path) -> str:
    try:
        return _record(directory)["reason"] or ""
    except UnreadableRecordError as error:
        return str(error)


def _record(directory: Path) -> Mapping[str, Any]:
    return read_record(directory / "record.json")


def _age_seconds(owner: Owner) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(owner.beat)).total_seconds()


def _progress(directory: Path) -> dict[str, Any]:
    """From the results of what is completed, else from the epochs so far and the heartbeat."""
    try:
        record = _record(directory)
    except (FileNotFoundError, UnreadableRecordError):
        return {}
    epochs = (record["config"].get("recipe") or {}).get("epochs") if record["task"] == "train" else None
    results = record["results"]
    if record["status"] == "completed" and record["task"] != "train":
        return {"result": headline(results)}
    if record["status"] == "completed":
        best = results.get("best_top1_percent", results.get("top1_percent"))
        speed = results.get("train_images_per_second")
        return {"epoch": results.get("epochs"), "epochs": epochs, "best_top1_percent": best, "images_per_second": speed}
    if epochs is None:
        return {}
    rows = read_epochs(directory)
    owner = owner_of(directory)
    now = owner.progress if owner is not None else {}
    found: dict[str, Any] = {"epoch": now.get("epoch", len(rows)), "epochs": epochs}
    if rows:
        found["best_top1_percent"] = max(row["top1_percent"] for row in rows)
        found["images_per_second"] = rows[-1]["images_per_second"]
    found["images_per_second"] = now.get("images_per_second", found.get("images_per_second"))
    if rows or now:
        found["seconds_left"] = _seconds_left(record["config"]["recipe"], rows, now)
    return found


def _seconds_left(recipe: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], now: Mapping[str, Any]) -> float:
    """From the pace of the last steps where they are known, else of the last epoch."""
    validation = rows[-1].get("validation_seconds", 0.0) if rows else 0.0
    rest = (recipe["epochs"] - len(rows)) * validation
    if now.get("images_per_second"):
        return rest + (now["steps"] - now["step"]) * recipe["batch_size"] / now["images_per_second"]
    return rest + (recipe["epochs"] - len(rows)) * (rows[-1]["train_seconds"] if rows else 0.0)


def read_epochs(directory: Path) -> list[Mapping[str, Any]]:
    """The epochs that a training cell has finished, with what was learned and how long it took; else none.

    What comes after a damaged line is not known to belong together, and left out.
    """
    metrics, timings = (_rows(directory / f"{name}.jsonl") for name in ("metrics", "timings"))
    return [row | timing for row, timing in zip(metrics, timings, strict=False)]


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            rows.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            break
    return rows
