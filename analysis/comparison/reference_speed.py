"""One speed for each row: all under the same conditions, or not at all."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..records import SPEED_CONDITIONS, SPEED_RESULTS, read_speed
from .identity import CONTROLS, key_of, network_identity

# The network decides the resolution, and inference and training are columns of their own.
FREE_CONDITIONS = [name for name in SPEED_CONDITIONS if name not in ("mode", "resolution")]
MODES = ("inference", "training")


@dataclass(frozen=True)
class ReferenceSpeed:
    """The measurements of one mode under the conditions that most networks were measured under.

    Attributes:
        conditions: SPEED_CONDITIONS without mode and resolution; None where nothing was measured.
        measurements: one for each network, by the key of its identity.
    """

    mode: str
    conditions: Mapping[str, Any] | None
    measurements: Mapping[str, Mapping[str, Any]]

    def describe(self) -> str:
        """E.g. `eager, fp32, channels_last, batch 8`."""
        conditions = self.conditions or {}
        parts = ["compiled" if conditions.get("compiled") is True else "eager"]
        parts += [str(conditions[name]) for name in ("precision", "memory_format") if _given(conditions.get(name))]
        parts += [f"batch {conditions['batch_size']}"] if _given(conditions.get("batch_size")) else []
        parts += ["TF32"] if conditions.get("tf32") is True else []
        threads = conditions.get("threads")
        parts += [f"{threads} thread{'s' * (threads != 1)}"] if _given(threads) else []
        return ", ".join(parts)


def _given(value: Any) -> bool:
    return not pd.isna(value)


def measured_speeds(records: pd.DataFrame) -> pd.DataFrame:
    """Every measurement in `records` with its network; of the same one twice in one environment, the latest."""
    speed = read_speed(records)
    columns = ["network", "mixer", "control", "scale", "sweep", "device", "finished"]
    records = records.assign(control=records["mixer"].isin(CONTROLS))
    speed = speed.join(records[[*columns, "config"]], on="record")
    own_resolution = records["resolution"].reindex(speed["record"]).to_numpy()
    speed["resolution"] = speed["resolution"].fillna(pd.Series(own_resolution, index=speed.index))
    speed["network_key"] = [
        key_of(network_identity(json.loads(config), int(resolution)))
        for config, resolution in zip(speed["config"], speed["resolution"], strict=True)
    ]
    speed = speed.sort_values("finished", kind="stable", na_position="first")
    speed = speed.drop_duplicates(["network_key", "fingerprint", *SPEED_CONDITIONS], keep="last")
    order = [*columns, "fingerprint", "network_key", *SPEED_CONDITIONS, *SPEED_RESULTS]
    return speed.sort_index()[order].reset_index(drop=True)


def reference_speed(speed: pd.DataFrame, mode: str) -> ReferenceSpeed:
    """The conditions shared by most networks; of equals, eager before compiled, fp32 before others, the larger batch.

    A network measured in several environments shows the one in which most networks were measured.
    """
    speed = speed[speed["mode"] == mode]
    if speed.empty:
        return ReferenceSpeed(mode, None, {})

    def preference(group: tuple[tuple[Any, ...], pd.DataFrame]) -> tuple[Any, ...]:
        conditions = dict(zip(FREE_CONDITIONS, group[0], strict=True))
        batch_size = conditions["batch_size"] if _given(conditions["batch_size"]) else 0
        covered = group[1]["network_key"].nunique()
        return covered, not conditions["compiled"], conditions["precision"] == "fp32", batch_size

    conditions, chosen = max(speed.groupby(FREE_CONDITIONS, dropna=False, sort=False), key=preference)
    coverage = chosen.groupby("fingerprint", dropna=False)["network_key"].nunique()
    chosen = chosen.assign(coverage=chosen["fingerprint"].map(coverage)).sort_values("coverage", kind="stable")
    measurements = {row["network_key"]: row for row in chosen.to_dict("records")}
    return ReferenceSpeed(mode, dict(zip(FREE_CONDITIONS, conditions, strict=True)), measurements)
