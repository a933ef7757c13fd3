"""One speed for each row: all under the same conditions, or not at all."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..records import MIXER_ALONE, SPEED_CONDITIONS, SPEED_RESULTS, read_speed
from .candidates import names_of
from .identity import CONTROLS, content_key, network_identity, shared_code

# The network decides the resolution, inference and training are columns of their own, and no mixer alone is among them.
FREE_CONDITIONS = [name for name in SPEED_CONDITIONS if name not in ("mode", "resolution", "subject", "dim", "columns")]
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
    speed = speed.join(records[["sweep", "device", "finished", "config", "code"]], on="record")
    configs = [
        json.loads(config) | (of_candidate or {})
        for config, of_candidate in zip(speed["config"], speed["candidate_config"], strict=True)
    ]
    names = pd.DataFrame([names_of(config) for config in configs], index=speed.index, dtype="object")
    speed = speed.join(names.reindex(columns=["network", "mixer", "scale"]))
    speed["control"] = speed["mixer"].isin(CONTROLS)
    own_resolution = records["resolution"].reindex(speed["record"]).to_numpy()
    speed["resolution"] = speed["resolution"].fillna(pd.Series(own_resolution, index=speed.index))
    codes = [json.loads(text or "null") for text in speed["code"]]
    speed["network_key"] = [
        content_key(network_identity(config, int(resolution), code))
        for config, resolution, code in zip(configs, speed["resolution"], codes, strict=True)
    ]
    speed["code"] = pd.Series([shared_code({"code": code}) for code in codes], index=speed.index, dtype="object")
    speed = speed.sort_values("finished", kind="stable", na_position="first")
    speed = speed.drop_duplicates(["network_key", "fingerprint", "code", *SPEED_CONDITIONS], keep="last")
    columns = ["network", "mixer", "control", "scale", "candidate", "sweep", "device", "finished"]
    order = [*columns, "fingerprint", "code", "network_key", *SPEED_CONDITIONS, *SPEED_RESULTS]
    return speed.sort_index()[order].reset_index(drop=True)


def reference_speed(speed: pd.DataFrame, mode: str) -> ReferenceSpeed:
    """The conditions shared by most networks; of equals, eager before compiled, fp32 before others, the larger batch.

    A network measured in several environments shows the one in which most networks were measured.
    """
    speed = speed[(speed["mode"] == mode) & (speed["subject"] != MIXER_ALONE)]
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


class SpeedEnvironmentError(ValueError):
    """Speeds of several environments would be ranked, or of one in which there are none; the message names them."""


def refuse_mixed_environments(speed: pd.DataFrame, references: Iterable[ReferenceSpeed]) -> None:
    """Raises: SpeedEnvironmentError if one of `references` puts speeds of several environments beside each other."""
    for reference in references:
        fingerprints = sorted({row["fingerprint"] or "unknown" for row in reference.measurements.values()})
        if len(fingerprints) > 1:
            where = [_describe_environment(speed, fingerprint) for fingerprint in fingerprints]
            raise SpeedEnvironmentError(
                f"{reference.mode} was measured in {len(fingerprints)} environments, {'; '.join(where)}: a ranking of "
                "speeds over different ones would say nothing. Measure again in one of them (rerun=true), choose one "
                f"(task.fingerprint={fingerprints[0]}), or ask for all of them (task.mixed_fingerprints=true)"
            )


def of_environment(speed: pd.DataFrame, fingerprint: str) -> pd.DataFrame:
    """The measurements of one environment.

    Raises: SpeedEnvironmentError when there is none.
    """
    chosen = speed[speed["fingerprint"] == fingerprint]
    if chosen.empty:
        known = ", ".join(sorted(speed["fingerprint"].dropna().unique())) or "none"
        raise SpeedEnvironmentError(f"task.fingerprint={fingerprint}: no speed was measured there; there are {known}")
    return chosen.reset_index(drop=True)


def _describe_environment(speed: pd.DataFrame, fingerprint: str) -> str:
    """E.g. `0123456789ab (cpu: halo, sra)`."""
    there = speed[speed["fingerprint"].fillna("unknown") == fingerprint]
    names = dict.fromkeys(mixer or network for mixer, network in zip(there["mixer"], there["network"], strict=True))
    return f"{fingerprint} ({', '.join(there['device'].dropna().unique())}: {', '.join(names)})"
