"""What every cell left behind, read into one table.

Cells lie at ROOT/<sweep>/<name>-<cell>/, with `record.json` and, where something was trained, `metrics.jsonl`.
"""

import glob
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from .record_check import what_is_wrong

log = logging.getLogger(__name__)

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
        "top1_without_mixers_percent": "DOUBLE",
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
            "top1_without_mixers_percent",
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
    "code": ("text -> 'code'", "object"),
    "config": ("text -> 'config'", "object"),
    "rows": ("text -> 'rows'", "object"),
    "environment": ("text -> 'environment'", "object"),
}

# A file that is no UTF-8 or no JSON has no text and no record, instead of ending the query.
RECORDS_QUERY = """
    WITH files AS (SELECT filename AS path, TRY(decode(content)) AS content FROM read_blob($paths)),
    texts AS (SELECT path, CASE WHEN json_valid(content) THEN content END AS text FROM files),
    parsed AS (SELECT path, text, json_transform(text, $structure) AS record FROM texts)
    SELECT {expressions}, text FROM parsed ORDER BY path
"""


def read_records(root: Path | str, sweep: str | None = None) -> pd.DataFrame:
    """All records under `root`, one a row, of one sweep or of all; COLUMNS names the columns.

    Files that are not whole records, or say what cannot be (see `record_check`), are left out: a line in the log
    counts and names them, and so does `frame.attrs["unreadable"]`, a list of sentences.
    """
    paths = sorted(Path(root).rglob("record.json"))
    expressions = ", ".join(f"{source} AS {name}" for name, (source, _) in COLUMNS.items())
    found = _query(RECORDS_QUERY.format(expressions=expressions), paths, structure=json.dumps(STRUCTURE))
    found = found.astype({name: dtype for name, (_, dtype) in COLUMNS.items()})
    problems = [_problem(text) for text in found["text"]]
    unreadable = [f"{path}: {problem}" for path, problem in zip(found["path"], problems, strict=True) if problem]
    if unreadable:
        # Not a warning: whoever makes tables of them says so beneath, once.
        log.info("%d unreadable records left out: %s", len(unreadable), "; ".join(unreadable))
    records = found.loc[[problem is None for problem in problems], list(COLUMNS)]
    if sweep is not None:
        records = records[records["sweep"] == sweep]
    records = records.reset_index(drop=True)
    records.attrs["unreadable"] = unreadable
    return records


def _problem(text: str | None) -> str | None:
    """Why a file is no record that a table can use; None where it is one."""
    if text is None:
        return "half-written or damaged"
    try:
        return what_is_wrong(json.loads(text))
    except (ValueError, RecursionError):
        return "half-written or damaged"


# One measurement of speed. The conditions say how it was taken: measurements compare where all of these are equal.
SPEED_CONDITIONS: Mapping[str, str] = {
    "subject": "object",
    "dim": "Int64",
    "mode": "object",
    "compiled": "object",
    "precision": "object",
    "batch_size": "Int64",
    "resolution": "Int64",
    "columns": "Int64",
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
    "iqr_percent": "float64",
    "images_per_second": "float64",
    "gmacs_per_second": "float64",
    "product_share_percent": "float64",
    "gb_per_second": "float64",
    "copy_share_percent": "float64",
    "peak_memory_mib": "float64",
    "implementation": "object",
    "speedup": "float64",
    "speedup_low": "float64",
    "speedup_high": "float64",
    "speedup_over": "object",
}
# The mixer alone; rows without a subject, from before there was one, are of networks.
MIXER_ALONE = "mixer"


def read_speed(records: pd.DataFrame) -> pd.DataFrame:
    """The measurements of speed in `records`, one a row.

    Columns are `record` (the row of `records`), `fingerprint` (of the environment), `candidate`, `candidate_config`
    (what of the record's configuration is another for this row), SPEED_CONDITIONS and SPEED_RESULTS.
    """
    types = {"record": "int64", "fingerprint": "object", "candidate": "object", "candidate_config": "object"}
    types |= {**SPEED_CONDITIONS, **SPEED_RESULTS}
    measurements = [
        {name: row.get(name) for name in types}
        | {"record": index, "fingerprint": row.get("fingerprint", fingerprint), "candidate_config": row.get("config")}
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
