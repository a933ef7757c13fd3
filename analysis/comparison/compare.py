"""Puts the rows of a comparison together."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..records import read_metrics, read_records
from ..sections import Analysis, Section, section
from ..settings import MARGIN
from .accuracy import COSTS, TRIED, accuracy_columns
from .beside_published import PublishedNumbers
from .candidates import one_record_a_network
from .identity import (
    CONTROLS,
    code_versions,
    content_key,
    is_published_variant,
    network_identity,
    shared_code,
    training_identity,
    variants,
)
from .idle_mixers import WITHOUT_MIXERS, idle_mixers
from .notes import Note, notes
from .reference_speed import (
    MODES,
    ReferenceSpeed,
    measured_speeds,
    of_environment,
    reference_speed,
    refuse_mixed_environments,
)

SCALES = ("nano", "micro", "tiny", "small", "base", "large")
LEARNING_TASKS = ("train", "evaluate")
# The rule by which records count MACs unless their task says otherwise (analysis.settings.CountingRule.macs).
OUR_RULE = "macs"
# What a row takes from a measurement of speed.
MEASURED = ("status", "images_per_second", "latency_ms", "latency_iqr_ms", "peak_memory_mib")

# The columns of a comparison's rows, with their types.
ROW_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("network", "mixer", "scale", "budget", "variant"), "object"),
    "control": "bool",
    **dict.fromkeys(("task", "data"), "object"),
    **dict.fromkeys(("resolution", "num_classes"), "Int64"),
    **dict.fromkeys(("recipe", "precision", "code", "sweep"), "object"),
    "params": "Int64",
    "published_params": "object",
    "params_difference_percent": "float64",
    "macs": "Int64",
    **dict.fromkeys(("published_macs", "published_macs_rule"), "object"),
    "macs_difference_percent": "float64",
    **dict.fromkeys(("activations", "seeds", "attempted"), "Int64"),
    "diverged": "object",
    **dict.fromkeys(("top1_percent", "top1_spread"), "float64"),
    "verdict": "object",
    **dict.fromkeys(("difference_to_best", "difference_low", "difference_high"), "float64"),
    **dict.fromkeys(("verdict_in_words", "error_of"), "object"),
    **dict.fromkeys(("top5_percent", "best_top1_percent", "ema_top1_percent", WITHOUT_MIXERS), "float64"),
    **dict.fromkeys(("published_top1_percent", "top1_difference"), "float64"),
    "published_source": "object",
    "train_images_per_second": "float64",
    **{
        f"{mode}_{quantity}": "object" if quantity == "status" else "float64" for mode in MODES for quantity in MEASURED
    },
    **dict.fromkeys(("speed_environment", "unfinished"), "object"),
    **{f"front_{cost}": "object" for cost in COSTS},
    **dict.fromkeys(("regime", "comparison"), "Int64"),
}


class NoRecordsError(FileNotFoundError):
    """There is nothing to compare; the message says where was looked and what makes records."""


@dataclass(frozen=True)
class Comparison:
    """All that was found out by the cells of a sweep, or of all sweeps.

    Attributes:
        sweep: its name, None for all.
        rows: one a network and training (or a network alone, where nothing was trained); columns ROW_TYPES. Accuracy
            is the mean over seeds. A number that was not measured is NaN. Rows of one `regime` differ in network and
            scale only, rows of one `comparison` in the network only; `verdict` is on the latter (see
            `analysis.contrasts`), `front_*` on the former.
        speed: one a measurement of speed, see `measured_speeds`.
        curves: one an epoch of a training: `row` (of `rows`), `seed`, `epoch` and the metrics of `read_metrics`.
        unfinished: the records that are not completed: failed, out of memory, preempted or still running.
        environments: where it was measured; one a fingerprint.
        counts: number of cells by status.
        warnings: what to know before looking at any number.
        notes: how to read the numbers.
        sections: what analyses beyond accuracy and cost found, one each.
    """

    sweep: str | None
    rows: pd.DataFrame
    speed: pd.DataFrame
    curves: pd.DataFrame
    unfinished: pd.DataFrame
    environments: Sequence[Mapping[str, Any]]
    counts: Mapping[str, int]
    notes: Sequence[Note]
    warnings: Sequence[str] = ()
    sections: Sequence[Section] = ()


def compare(
    root: Path | str,
    sweep: str | None = None,
    published: pd.DataFrame | None = None,
    *,
    fingerprint: str | None = None,
    mixed_fingerprints: bool = False,
    mixed_code: bool = False,
    margin: float = MARGIN,
    analyses: Mapping[str, Analysis] | None = None,
) -> Comparison:
    """Compare what the records under `root` say, of one sweep or of all.

    Args:
        published: laid out like `analysis.published.load_published()`, which is taken when it is None.
        fingerprint: of the only environment whose speeds are wanted.
        mixed_fingerprints: whether speeds of several environments may stand in one column.
        mixed_code: whether results of several versions of the code may be averaged and ranked together.
        margin: differences of accuracy up to this, in percentage points, are equivalent.
        analyses: by the name of their task.

    Raises:
        NoRecordsError: there is no readable record of a task that compares networks.
        SpeedEnvironmentError: speeds of several environments would be ranked, and nobody asked for that; or none was
            measured in the environment `fingerprint`.
    """
    records = read_records(root, sweep)
    unreadable = records.attrs["unreadable"]
    if records.empty:
        raise NoRecordsError(_nothing_found(root, sweep, unreadable))
    versions = code_versions(records)
    if mixed_code:
        records["code"] = None
    speed = measured_speeds(records)
    if fingerprint is not None:
        speed = of_environment(speed, fingerprint)
    all_cells = _latest_of_each_cell(records)
    cells = one_record_a_network(all_cells)
    configs = [json.loads(text) for text in cells["config"]]
    codes = [json.loads(text or "null") for text in cells["code"]]
    identities = [network_identity(config, code=code) for config, code in zip(configs, codes, strict=True)]
    cells["network_key"] = [content_key(identity) for identity in identities]
    cells["identity"] = [
        {**identity, **training_identity(config, code)} if task in LEARNING_TASKS else identity
        for identity, config, code, task in zip(identities, configs, codes, cells["task"], strict=True)
    ]
    cells["key"] = [content_key(identity) for identity in cells["identity"]]

    groups = list(_groups(cells))
    named = (analyses or {}).items()
    sections = [found for task, analysis in named if (found := section(task, analysis, records)) is not None]
    if not groups and speed.empty and not sections:
        raise NoRecordsError(_nothing_found(root, sweep, unreadable))
    references = [reference_speed(speed, mode) for mode in MODES]
    if not mixed_fingerprints:
        refuse_mixed_environments(speed, references)
    rows = _rows(groups, cells, references, PublishedNumbers(published), margin)
    order = _order(rows)
    rows = rows.loc[order].reset_index(drop=True)
    return Comparison(
        sweep=sweep,
        rows=rows,
        speed=speed,
        curves=_curves([groups[index] for index in order]),
        unfinished=all_cells[all_cells["status"] != "completed"].reset_index(drop=True),
        environments=_environments(records),
        counts=Counter(all_cells["status"]),
        notes=notes(rows, speed, references, unreadable, margin, versions, mixed_code),
        warnings=idle_mixers(rows),
        sections=sections,
    )


def _nothing_found(root: Path | str, sweep: str | None, unreadable: Sequence[str]) -> str:
    where = f"{root}" if sweep is None else f"{root} for sweep {sweep}"
    damaged = f" ({len(unreadable)} unreadable: {'; '.join(unreadable)})" if unreadable else ""
    return (
        f"no records to compare under {where}{damaged}; a cell leaves one, for example "
        "`python run.py mixer=halo scale=micro task=complexity`"
    )


def _latest_of_each_cell(records: pd.DataFrame) -> pd.DataFrame:
    """Of a cell that ran in several sweeps the completed record, or else the latest; `sweep` names them all.

    Cells of speed stay apart where their environments differ, and all where their code does, since then so do results.
    """
    by_cell = ["cell", records["fingerprint"].where(records["task"] == "speed"), records["code"]]
    sweeps = records.groupby(by_cell, dropna=False)["sweep"].transform(lambda names: ", ".join(sorted(set(names))))
    ordered = records.assign(
        sweep=sweeps,
        speed_environment=by_cell[1],
        completed=records["status"] == "completed",
        time=records["finished"].fillna(records["started"]),
    ).sort_values(["completed", "time"], kind="stable", na_position="first")
    latest = ordered.drop_duplicates(["cell", "speed_environment", "code"], keep="last")
    return latest.drop(columns=["speed_environment", "completed"]).sort_index()


def _groups(cells: pd.DataFrame) -> Iterable[pd.DataFrame]:
    """The cells of each row: seeds of one training, or what describes a network that was not trained."""
    learning = cells["task"].isin(LEARNING_TASKS)
    trained = set(cells.loc[learning, "network_key"])
    describing = cells["task"].isin(("complexity", "speed")) & ~cells["network_key"].isin(trained)
    for _, group in cells[learning | describing].groupby("key", sort=False):
        yield group


def _rows(
    groups: Sequence[pd.DataFrame],
    cells: pd.DataFrame,
    references: Sequence[ReferenceSpeed],
    published: PublishedNumbers,
    margin: float,
) -> pd.DataFrame:
    costs = _costs(cells)
    identities = [group["identity"].iloc[0] for group in groups]
    rows, costs_by_rule = [], []
    for group, identity, variant in zip(groups, identities, variants(identities), strict=True):
        network_key = group["network_key"].iloc[0]
        macs_by_rule, cost = costs[network_key]
        row = _conditions(group) | {"budget": identity["network"].get("budget"), "variant": variant or None} | cost
        row["code"] = shared_code(identity) if group["task"].iloc[0] in LEARNING_TASKS else None
        row |= {"macs": macs_by_rule.get(OUR_RULE)}
        row |= _speed_columns(references, network_key)
        row["unfinished"] = _unfinished(group, cells[cells["network_key"] == network_key])
        rows.append(row)
        costs_by_rule.append(macs_by_rule)
    accuracies = accuracy_columns(rows, identities, [_last_of_each_seed(group) for group in groups], margin)
    for row, accuracy, identity, macs_by_rule in zip(rows, accuracies, identities, costs_by_rule, strict=True):
        row |= accuracy
        if is_published_variant(identity):
            row |= published.beside(row, macs_by_rule)
    columns = {name: [row.get(name) for row in rows] for name in ROW_TYPES}
    return pd.DataFrame({name: pd.Series(values, dtype=ROW_TYPES[name]) for name, values in columns.items()})


def _conditions(group: pd.DataFrame) -> dict[str, Any]:
    first = group.iloc[0]
    learned = first["task"] in LEARNING_TASKS
    names = ("network", "mixer", "scale", "resolution", "num_classes")
    return {
        **{name: None if pd.isna(first[name]) else first[name] for name in names},
        **{name: first[name] for name in ("task", "data", "precision") if learned},
        "recipe": first["recipe"] if first["task"] == "train" else None,
        "sweep": ", ".join(sorted({name for names in group["sweep"] for name in names.split(", ")})),
        "control": first["mixer"] in CONTROLS,
    }


def _costs(cells: pd.DataFrame) -> dict[str, tuple[dict[str, int], dict[str, int]]]:
    """By network: its MACs by the rule that counted them, and its parameters and activations."""
    costs: dict[str, tuple[dict[str, int], dict[str, int]]] = defaultdict(lambda: ({}, {}))
    for cell in cells[cells["status"] == "completed"].sort_values("time", kind="stable").to_dict("records"):
        macs_by_rule, cost = costs[cell["network_key"]]
        if pd.notna(cell["macs"]):
            macs_by_rule[cell["counting_rule"] or OUR_RULE] = cell["macs"]
        cost |= {name: cell[name] for name in ("params", "activations") if pd.notna(cell[name])}
    return costs


def _last_of_each_seed(group: pd.DataFrame) -> pd.DataFrame:
    """A completed record before one that is not, and of equals the latest."""
    learned = group[group["task"].isin(LEARNING_TASKS)]
    learned = learned.assign(completed=learned["status"] == "completed", tried=learned["status"].isin(TRIED))
    ordered = learned.sort_values(["completed", "tried", "time"], kind="stable", na_position="first")
    return ordered.drop_duplicates("seed", keep="last").sort_values("seed")


def _speed_columns(references: Sequence[ReferenceSpeed], network_key: str) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    environments = set()
    for reference in references:
        measurement = reference.measurements.get(network_key)
        if measurement is not None:
            columns |= {f"{reference.mode}_{quantity}": measurement[quantity] for quantity in MEASURED}
            environments.add(measurement["fingerprint"] or "unknown")
    return columns | {"speed_environment": ", ".join(sorted(environments)) or None}


def _unfinished(group: pd.DataFrame, of_network: pd.DataFrame) -> str | None:
    """E.g. `1 failed, 1 running`, and whether speed or complexity could not be measured."""
    states = Counter(status for status in group["status"] if status != "completed")
    parts = [f"{count} {status.replace('_', ' ')}" for status, count in states.items()]
    for task in sorted({"speed", "complexity"} - set(group["task"])):
        statuses = list(of_network.loc[of_network["task"] == task, "status"])
        if statuses and "completed" not in statuses:
            parts.append(f"{task} {statuses[-1].replace('_', ' ')}")
    return ", ".join(parts) or None


def _order(rows: pd.DataFrame) -> pd.Index:
    """Trainings first, by data, recipe and scale; controls after the mixers; the most accurate first."""
    scale = rows["scale"].map({name: index for index, name in enumerate(SCALES)}).fillna(len(SCALES))
    keys = rows.assign(scale=scale, untrained=rows["task"].isna(), worst_first=-rows["top1_percent"])
    by = [
        "untrained",
        "data",
        "resolution",
        "recipe",
        "precision",
        "task",
        "scale",
        "budget",
        "comparison",
        "control",
        "worst_first",
        "mixer",
    ]
    return keys.sort_values([*by, "network"], kind="stable").index


def _curves(groups: Sequence[pd.DataFrame]) -> pd.DataFrame:
    parts = []
    for row, group in enumerate(groups):
        of_seed = _last_of_each_seed(group)
        of_seed = of_seed[of_seed["completed"]]
        metrics = read_metrics(of_seed[of_seed["task"] == "train"])
        parts.append(metrics.assign(row=row, seed=of_seed["seed"].reindex(metrics["record"]).to_numpy()))
    whole = [part for part in parts if not part.empty] or parts[:1] or [read_metrics(pd.DataFrame(columns=["path"]))]
    return pd.concat(whole, ignore_index=True)


def _environments(records: pd.DataFrame) -> list[dict[str, Any]]:
    """The latest environment of each fingerprint, most used first."""
    found: dict[str | None, dict[str, Any]] = {}
    used: Counter[str | None] = Counter()
    for text in records.sort_values("started", kind="stable")["environment"]:
        environment = json.loads(text or "{}")
        if environment:
            found[environment.get("fingerprint")] = environment
            used[environment.get("fingerprint")] += 1
    return [found[fingerprint] for fingerprint, _ in used.most_common()]
