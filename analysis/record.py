"""What one cell leaves behind: `record.json`, written whole or not at all.

It lies at ROOT/<sweep>/<name>-<cell>/record.json. Importing this costs next to nothing, so that a command starts fast.
"""

import json
import math
import os
import re
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypedDict

from .record_check import STATUSES, what_is_wrong

# Keys of `config.data` that change nothing in a result: where the files lie or come from, and how many processes
# read them.
PLACE_KEYS = ("root", "download", "workers")
# Of `write_record`, which puts the status before everything that may be long.
BEGINNING_BYTES = 1024
STATUS_LINE = re.compile(rb'^ "status": "(\w+)",$', re.MULTILINE)


class Record(TypedDict):
    """What is known of a cell. Names of results and of columns of rows end in their unit where they have one."""

    schema: int  # analysis.record_check.SCHEMA
    cell: str  # 12 hexadecimal digits, a hash of what defines the result
    name: str  # for people; two cells may share it
    sweep: str
    task: str
    status: Literal["completed", "failed", "out_of_memory", "preempted", "running"]
    reason: str | None  # one sentence, unless completed
    traceback: str | None
    code: Mapping[str, Any]  # digests of the code that decided the result, in parts: see launch.code
    config: Mapping[str, Any]  # resolved: enough to run the cell again
    results: Mapping[str, Any]  # one number each: params, macs, top1_percent, ...
    rows: list[Mapping[str, Any]]  # one measurement of speed each
    details: Mapping[str, Any]
    environment: Mapping[str, Any]  # versions, device, commit; `fingerprint` is their hash
    started: str  # ISO 8601, UTC
    finished: str | None
    seconds: float | None


class UnreadableRecordError(ValueError):
    """A file that is not a whole record of this schema; the message names it and says why."""


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write `record` so that a reader finds the old file or the new one, whole, even after a power failure.

    JSON knows no NaN and no infinity, and neither is a measurement: they are written as null, an empty cell.

    Raises:
        OSError: the disk is full or not writable; what was at `path` before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_finite(record), indent=1, allow_nan=False, default=str)
    # Beside the target, because a rename is atomic within one file system only.
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp lets only the owner read
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def timestamp() -> str:
    """The time, as records have it: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_record(path: Path) -> Record:
    """The record at `path`, with whatever further keys a newer version has put into it.

    Raises:
        FileNotFoundError: there is none.
        UnreadableRecordError: the file is half-written, damaged or of another schema, or says what cannot be.
    """
    try:
        record = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # also a UnicodeDecodeError
        raise UnreadableRecordError(f"{path} is not JSON: {error}") from error
    if problem := what_is_wrong(record):
        raise UnreadableRecordError(f"{path}: {problem}")
    return record


def read_status(path: Path | str) -> str | None:
    """The status of the record at `path`, None where there is no whole record.

    Only the beginning of the file is read, which is several times faster than `read_record`: files appear whole.
    """
    try:
        with open(path, "rb") as file:
            found = STATUS_LINE.search(file.read(BEGINNING_BYTES))
    except FileNotFoundError:
        return None
    status = found[1].decode() if found else None
    if status in STATUSES:
        return status
    try:  # written by something else, or damaged
        return read_record(Path(path))["status"]
    except UnreadableRecordError:
        return None
