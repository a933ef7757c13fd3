"""What can be set about where cells run. Their values live in conf/platform/, each written once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from .nearest import did_you_mean


class Packing(Enum):
    """How the cells of one job share it."""

    sequence = "sequence"
    gpus = "gpus"


@dataclass
class HereSettings:
    """One cell after another in the process of the command."""

    name: str


@dataclass
class LocalSettings:
    """Processes on this machine."""

    name: str
    processes: int | None
    """How many run at once; None: one per GPU, or one where there is none."""
    cells_per_job: int
    """Cells that one process runs, one after another."""
    retries: int
    """How often a cell starts again whose process died without a word, e.g. killed for memory."""
    dry_run: bool


@dataclass
class SlurmSettings:
    """Jobs of a cluster. What is None is not asked for, so the cluster's own default holds."""

    name: str
    partition: str | None
    account: str | None
    qos: str | None
    constraint: str | None
    exclude: str | None
    nodes: int
    gpus_per_node: int
    tasks_per_node: int | None
    """Processes a node; None: one per GPU, or one where there is none."""
    cpus_per_task: int | None
    memory_gib: float | None
    """Per node."""
    hours: float
    """Time limit of a job; a training that needs longer is continued in the next."""
    signal_seconds: int
    """How long before the time limit a job is told to save."""
    parallel: int | None
    """Jobs of the sweep that may run at once; None: as many as Slurm starts."""
    cells_per_job: int
    packing: Packing
    """Whether the cells of a job run in sequence, each on all its GPUs, or at once, each on one GPU."""
    max_requeues: int
    """How often a job may be interrupted (preempted, out of time) and continued."""
    retries: int
    """How often a cell starts again that died without a word: killed, out of memory, node failure."""
    wait: bool
    """Stay until the last cell has ended."""
    dry_run: bool
    """Print what would be submitted, and submit nothing."""
    setup: list[str]
    """Lines of shell at the beginning of a job."""
    sbatch: dict[str, Any]
    """Further options of sbatch, `platform.sbatch.reservation=deadline`; true for those without a value."""

    @property
    def tasks_on_each_node(self) -> int:
        return self.tasks_per_node or max(1, self.gpus_per_node)

    @property
    def tasks(self) -> int:
        """Processes of one job."""
        return self.nodes * self.tasks_on_each_node


PlatformSettings = HereSettings | LocalSettings | SlurmSettings
PLATFORMS: Mapping[str, type[PlatformSettings]] = {"here": HereSettings, "local": LocalSettings, "slurm": SlurmSettings}

LEAST: Mapping[str, float] = {
    "processes": 1,
    "cells_per_job": 1,
    "retries": 0,
    "nodes": 1,
    "gpus_per_node": 0,
    "tasks_per_node": 1,
    "cpus_per_task": 1,
    "signal_seconds": 0,
    "parallel": 1,
    "max_requeues": 0,
}
ABOVE_ZERO = ("hours", "memory_gib")
MOST_PROCESSES = 1024


KINDS: Mapping[type, str] = {
    NoneType: "null",
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    Packing: f"one of {', '.join(packing.value for packing in Packing)}",
    list: "a list of texts",
    dict: "options with their values",
}


def _is_a(value: Any, kind: Any) -> bool:
    """Exactly, because True is an int to isinstance."""
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    if kind is Packing:
        return isinstance(value, Packing) or value in [packing.value for packing in Packing]
    if get_origin(kind) is list:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return type(value) is (get_origin(kind) or kind)


def platform_settings(values: Mapping[str, Any]) -> PlatformSettings:
    """The settings in `values`, the `platform` of a cell's configuration.

    Raises:
        ValueError: an unknown platform or key, or a value that cannot work; names the key and what it may be.
    """
    name = values.get("name")
    if name not in PLATFORMS:
        raise ValueError(f"platform={name}: choose from {', '.join(PLATFORMS)}")
    known = {field.name for field in fields(PLATFORMS[name])}
    if set(values) != known:
        unknown, absent = sorted(set(values) - known), sorted(known - set(values))
        problem = f"has no key {', '.join(unknown)}" if unknown else f"needs a value for {', '.join(absent)}"
        question = did_you_mean(unknown[0], known) if unknown else ""
        raise ValueError(f"platform={name} {problem}; its keys are {', '.join(sorted(known))}{question}")
    hints = get_type_hints(PLATFORMS[name])
    for key, value in values.items():
        kinds = get_args(hints[key]) if isinstance(hints[key], UnionType) else (hints[key],)
        if not any(_is_a(value, kind) for kind in kinds):
            words = " or ".join(KINDS[get_origin(kind) or kind] for kind in kinds)
            raise ValueError(f"platform.{key}={value}: must be {words}")
        if value is None:
            continue
        if key in LEAST and value < LEAST[key]:
            raise ValueError(f"platform.{key}={value}: must be at least {LEAST[key]}")
        if key == "processes" and value > MOST_PROCESSES:
            raise ValueError(f"platform.{key}={value}: must be at most {MOST_PROCESSES}")
        if key in ABOVE_ZERO and value <= 0:
            raise ValueError(f"platform.{key}={value}: must be above 0")
    if name != "slurm":
        return PLATFORMS[name](**values)
    settings = SlurmSettings(**{**values, "packing": Packing(values["packing"])})
    if settings.packing is Packing.gpus and (settings.gpus_per_node == 0 or settings.nodes > 1):
        raise ValueError("platform.packing=gpus shares out the GPUs of one node: it needs gpus_per_node, and nodes=1")
    if settings.signal_seconds >= settings.hours * 3600:
        raise ValueError(
            f"platform.signal_seconds={settings.signal_seconds}: must be less than the time limit, "
            f"{settings.hours * 3600:.0f} s (platform.hours={settings.hours})"
        )
    return settings
