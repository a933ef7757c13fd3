"""Measures settings one after another; each leaves a record like those of cells."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from analysis.environment import environment
from analysis.record import Record, UnreadableRecordError, read_record, timestamp, write_record
from analysis.settings import SpeedSettings
from analysis.speed import measure
from launch import Cell
from launch.execute import opening_record
from launch.failures import failure

from .candidates import BASELINE, OURS, candidates_of, network_config
from .entries import OPERATOR, Setting
from .memory import training_peak_mib

SWEEP = "benchmarks"


def cell_of(setting: Setting, settings: SpeedSettings, device: str, output: Path) -> Cell:
    """What identifies the measurement, laid out like a cell of task=speed."""
    alone = setting.channels is not None
    return Cell(
        {
            **network_config(setting.entry, OURS),
            "mixer_module": None,
            "subject": "mixer" if alone else "network",
            "dim": setting.channels,
            "resolution": setting.side if alone else None,
            "data": {"name": "imagenet", "resolution": 224, "num_classes": 1000},
            "recipe": {"name": None},
            "task": asdict(settings) | {"implementations": [setting.implementation] if alone else []},
            "seed": 0,
            "precision": setting.precision,
            "device": device,
            "sweep": SWEEP,
            "output": str(output),
        }
    )


def speed_settings(setting: Setting, *, threads: int | None, seconds: float) -> SpeedSettings:
    """At least seven turns of each candidate, and for `seconds` where steps are short; the machine's rates beside."""
    return SpeedSettings(
        against=BASELINE,
        modes=[setting.mode],
        compiled=list(setting.compiled),
        precisions=[setting.precision],
        batch_sizes=[setting.batch_size],
        resolutions=[setting.side],
        machine_rates=True,
        warmup_seconds=min(1.0, seconds),
        warmup_steps=1,  # and the step that shows the peak of the memory
        seconds=seconds,
        threads=threads,
    )


def record_path(setting: Setting, cell: Cell) -> Path:
    return Path(cell.config["output"]) / SWEEP / f"{setting.name}-{cell.id}" / "record.json"


def measured_before(path: Path, fingerprint: str, commit: str | None) -> Record | None:
    """The record at `path` if it is complete and of the same environment and commit."""
    if not path.exists():
        return None
    try:
        record = read_record(path)
    except UnreadableRecordError:  # as good as none
        return None
    done_here = record["environment"].get("fingerprint") == fingerprint
    same_code = record["environment"].get("commit") == commit
    return record if record["status"] == "completed" and done_here and same_code else None


def run(
    setting: Setting,
    settings: SpeedSettings,
    device: str,
    output: Path,
    tell: Callable[[str], None] = lambda text: None,
) -> Record:
    """Measures `setting` and writes its record; `tell` is called with what is being done.

    An error is its outcome (status `failed`, with the reason) and is not raised.
    """
    cell = cell_of(setting, settings, device, output)
    record: dict[str, Any] = opening_record(cell) | {"name": setting.name, "environment": environment(device)}
    path = record_path(setting, cell)
    write_record(path, record)
    started = time.monotonic()
    try:
        rows = measure(candidates_of(setting), settings, device=device, tell=tell)
        if setting.mode == "training" and setting.entry != OPERATOR and device == "cpu":
            tell("peak memory")
            rows = [row | _peak(setting, row) for row in rows]
        record |= {"status": "completed", "rows": rows}
    except Exception as error:
        record |= failure(error)
    record |= {"finished": timestamp(), "seconds": round(time.monotonic() - started, 3)}
    write_record(path, record)
    return record


def _peak(setting: Setting, row: Mapping[str, Any]) -> dict[str, float | None]:
    """Peak memory by a process of its own; that of a compiled step stays as it was measured beside the others."""
    if row["compiled"] or row["status"] != "completed":
        return {}
    peak = training_peak_mib(setting.entry, row["candidate"], setting.batch_size, torch.get_num_threads())
    return {"peak_memory_mib": peak}
