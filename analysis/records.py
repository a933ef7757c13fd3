"""What every cell left behind: one `record.json` each, written atomically, and all of them read into one table.

Cells lie at ROOT/<sweep>/<name>-<cell>/, with `record.json` and, where something was trained, `metrics.jsonl`.
"""

import glob
import json
import logging
import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

import duckdb
import pandas as pd

log = logging.getLogger(__name__)

SCHEMA = 1
STATUSES = ("completed", "failed", "out_of_memory", "preempted", "running")


class Record(TypedDict):
    """What is known of a cell. Names of results and of columns of rows end in their unit where they have one."""

    schema: int  # SCHEMA
    cell: str  # 12 hexadecimal digits, a hash of what defines the result
    name: str  # for people; two cells may share it
    sweep: str
    task: str
    status: Literal["completed", "failed", "out_of_memory", "preempted", "running"]
    reason: str | None  # one sentence, unless completed
    traceback: str | None
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
        UnreadableRecordError: the file is half-written, damaged or of another schema.
    """
    try:
        record = json.loads(path.read_bytes())
    except ValueError as error:  # also a UnicodeDecodeError
        raise UnreadableRecordError(f"{path} is not JSON: {error}") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or record.get("status") not in STATUSES:
        raise UnreadableRecordError(f"{path} is not a record of schema {SCHEMA}")
    return record


# What the tables need of a record. Keys that are not named here are not read, so a record may have more of them;
# a value of another type than said here reads as empty.
STRUCTURE: Mapping[str, Any] = {
    "schema": "BIGINT",
    "cell": "VARCHAR",
    "name": "VARCHAR",
    "sweep": "VARCHAR",
    "task": "VARCHAR",
    "status": "VARCHAR",
    "reason": "VARCHAR",
    "started": "VARCHAR",
    "finished": "VARCHAR",
    "seconds": "DOUBLE",
    "config": {
        "network": {"name": "VARCHAR", "mixers": ["VARCHAR"]},
        "mixer": {"name": "VARCHAR"},
        "scale": "VARCHAR",
        "data": {"name": "VARCHAR", "resolution": "BIGINT", "num_classes": "BIGINT"},
        "recipe": {"name": "VARCHAR"},
        "task": {"rule": "VARCHAR"},
        "precision": "VARCHAR",
        "seed": "BIGINT",
    },
    "results": {
        "params": "BIGINT",
        "macs": "BIGINT",
        "activations": "BIGINT",
        "top1_percent": "DOUBLE",
        "top5_percent": "DOUBLE",
        "best_top1_percent": "DOUBLE",
        "ema_top1_percent": "DOUBLE",
        "train_images_per_second": "DOUBLE",
    },
    "environment": {"fingerprint": "VARCHAR", "device": "VARCHAR"},
}

# Column of the data frame -> where it is in a record, and its type.
COLUMNS: Mapping[str, tuple[str, str]] = {
    "cell": ("record.cell", "object"),
    "name": ("record.name", "object"),
    "sweep": ("record.sweep", "object"),
    "task": ("record.task", "object"),
    "status": ("record.status", "object"),
    "reason": ("record.reason", "object"),
    "network": ("record.config.network.name", "object"),
    # Four mixers, one a stage, are one mixture for the tables.
    "mixer": ("coalesce(record.config.mixer.name, array_to_string(record.config.network.mixers, '+'))", "object"),
    "scale": ("record.config.scale", "object"),
    "data": ("record.config.data.name", "object"),
    "resolution": ("record.config.data.resolution", "Int64"),
    "num_classes": ("record.config.data.num_classes", "Int64"),
    "recipe": ("record.config.recipe.name", "object"),
    "precision": ("record.config.precision", "object"),
    "seed": ("record.config.seed", "Int64"),
    "counting_rule": ("record.config.task.rule", "object"),
    **{name: (f"record.results.{name}", "Int64") for name in ("params", "macs", "activations")},
    **{
        name: (f"record.results.{name}", "float64")
        for name in (
            "top1_percent",
            "top5_percent",
            "best_top1_percent",
            "ema_top1_percent",
            "train_images_per_second",
        )
    },
    "fingerprint": ("record.environment.fingerprint", "object"),
    "device": ("record.environment.device", "object"),
    "started": ("record.started", "object"),
    "finished": ("record.finished", "object"),
    "seconds": ("record.seconds", "float64"),
    "path": ("path", "object"),
    # As JSON texts, for whoever needs all of them.
    "config": ("text -> 'config'", "object"),
    "rows": ("text -> 'rows'", "object"),
    "environment": ("text -> 'environment'", "object"),
}

# A file that is no UTF-8 or no JSON has no text and no record, instead of ending the query.
RECORDS_QUERY = """
    WITH files AS (SELECT filename AS path, TRY(decode(content)) AS content FROM read_blob($paths)),
    texts AS (SELECT path, CASE WHEN json_valid(content) THEN content END AS text FROM files),
    parsed AS (SELECT path, text, json_transform(text, $structure) AS record FROM texts)
    SELECT {expressions}, record.schema AS schema, text IS NOT NULL AS whole FROM parsed ORDER BY path
"""


def read_records(root: Path | str, sweep: str | None = None) -> pd.DataFrame:
    """All records under `root`, one a row, of one sweep or of all; COLUMNS names the columns.

    Files that are not whole records are left out: a warning in the log counts and names them, and so does
    `frame.attrs["unreadable"]`, a list of sentences.
    """
    paths = sorted(Path(root).rglob("record.json"))
    expressions = ", ".join(f"{source} AS {name}" for name, (source, _) in COLUMNS.items())
    found = _query(RECORDS_QUERY.format(expressions=expressions), paths, structure=json.dumps(STRUCTURE))
    found = found.astype({name: dtype for name, (_, dtype) in COLUMNS.items()})
    good = (found["schema"] == SCHEMA) & found["status"].isin(STATUSES) & found["cell"].notna()
    good &= found["network"].notna()
    unreadable = [
        f"{path}: {f'not a record of schema {SCHEMA}' if whole else 'half-written or damaged'}"
        for path, whole in found.loc[~good, ["path", "whole"]].itertuples(index=False)
    ]
    if unreadable:
        log.warning("%d unreadable records left out: %s", len(unreadable), "; ".join(unreadable))
    records = found.loc[good, list(COLUMNS)]
    if sweep is not None:
        records = records[records["sweep"] == sweep]
    records = records.reset_index(drop=True)
    records.attrs["unreadable"] = unreadable
    return records


# One measurement of speed. The conditions say how it was taken: measurements compare where all of these are equal.
SPEED_CONDITIONS: Mapping[str, str] = {
    "mode": "object",
    "compiled": "object",
    "precision": "object",
    "batch_size": "Int64",
    "resolution": "Int64",
    "memory_format": "object",
    "tf32": "object",
    "cudnn_benchmark": "object",
    "threads": "Int64",
}
SPEED_RESULTS: Mapping[str, str] = {
    "status": "object",
    "reason": "object",
    "latency_ms": "float64",
    "latency_iqr_ms": "float64",
    "images_per_second": "float64",
    "peak_memory_mib": "float64",
}


def read_speed(records: pd.DataFrame) -> pd.DataFrame:
    """The measurements of speed in `records`, one a row.

    Columns are `record` (the row of `records`), `fingerprint` (of the environment), SPEED_CONDITIONS and SPEED_RESULTS.
    """
    types = {"record": "int64", "fingerprint": "object", **SPEED_CONDITIONS, **SPEED_RESULTS}
    measurements = [
        {**{name: row.get(name) for name in types}, "record": index, "fingerprint": row.get("fingerprint", fingerprint)}
        for index, text, fingerprint in records[["rows", "fingerprint"]].itertuples()
        for row in json.loads(text or "null") or ()
    ]
    return pd.DataFrame(measurements, columns=list(types), dtype="object").astype(types)


METRICS: Mapping[str, str] = {
    "train_loss": "DOUBLE",
    "validation_loss": "DOUBLE",
    "top1_percent": "DOUBLE",
}

METRICS_QUERY = f"""
    SELECT filename, epoch, {", ".join(METRICS)}
    FROM read_json(
        $paths, format = 'newline_delimited', ignore_errors = true, filename = true,
        columns = {{epoch: 'BIGINT', {", ".join(f"{name}: '{dtype}'" for name, dtype in METRICS.items())}}}
    )
    WHERE epoch IS NOT NULL ORDER BY filename, epoch
"""


def read_metrics(records: pd.DataFrame) -> pd.DataFrame:
    """Every epoch of the trainings in `records`, one a row: `record` (the row of `records`), `epoch` and METRICS.

    A line that is not whole, as a cell that was killed may leave, is passed over.
    """
    files = {str(Path(path).with_name("metrics.jsonl")): index for index, path in records["path"].items()}
    existing = [path for path in files if Path(path).exists()]
    if existing:
        metrics = _query(METRICS_QUERY, existing)
        metrics.insert(0, "record", metrics.pop("filename").map(files))
    else:
        metrics = pd.DataFrame(columns=["record", "epoch", *METRICS])
    return metrics.astype({"record": "int64", "epoch": "int64"} | dict.fromkeys(METRICS, "float64"))


def _query(query: str, paths: Iterable[Path | str], **parameters: Any) -> pd.DataFrame:
    """What `query` selects from the files at `paths`, which must not be taken for wildcards."""
    with duckdb.connect() as connection:
        connection.execute(query, {"paths": [glob.escape(str(path)) for path in paths], **parameters})
        columns = [column[0] for column in connection.description]
        return pd.DataFrame(connection.fetchall(), columns=columns, dtype="object")
