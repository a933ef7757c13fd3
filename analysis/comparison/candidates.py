"""Records in which several networks took turns, as one record for each."""

import json
from typing import Any

import pandas as pd

from ..records import MIXER_ALONE
from .identity import Identity, key_of

# What of a record is its candidate's own, where a row has it.
OF_THE_ROW = ("params", "macs")


def names_of(config: Identity) -> dict[str, str | None]:
    """The columns that name what a configuration is about."""
    network, mixer = config["network"], config.get("mixer") or {}
    mixers = network.get("mixers")
    return {
        "network": f"{network['name']} (baseline)" if network.get("baseline") else network["name"],
        "mixer": "+".join(mixers) if mixers else mixer.get("name"),
        "scale": config.get("scale"),
    }


def one_record_a_network(records: pd.DataFrame) -> pd.DataFrame:
    """`records` without those of mixers alone, and each network that took turns in a record of its own.

    Baselines are left out: they are compared with where they were measured, not among networks.
    """
    found: list[dict[str, Any]] = []
    for record in records.to_dict("records"):
        config = json.loads(record["config"])
        if record["task"] != "speed":
            found.append(record)
        elif config.get("subject") != MIXER_ALONE:
            found += _split(record, config)
    return pd.DataFrame(found, columns=records.columns, dtype="object").astype(records.dtypes)


def _split(record: dict[str, Any], config: Identity) -> list[dict[str, Any]]:
    rows_by_candidate: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads(record["rows"] or "null") or ():
        rows_by_candidate.setdefault(key_of(row.get("config") or {}), []).append(row)
    if len(rows_by_candidate) <= 1 and not _is_of_nothing(config):
        return [record]
    parts = []
    for number, (key, rows) in enumerate(rows_by_candidate.items()):
        own = config | json.loads(key)
        if not own["network"].get("baseline"):
            measured = next((row for row in rows if row["status"] == "completed"), {})
            part = record | {"cell": f"{record['cell']}-{number}", "config": json.dumps(own), "rows": json.dumps(rows)}
            part |= names_of(own) | {name: measured[name] for name in OF_THE_ROW if measured.get(name) is not None}
            parts.append(part)
    return parts


def _is_of_nothing(config: Identity) -> bool:
    """Whether a cell has only candidates and no network of its own."""
    return config["network"]["name"] == "unified" and not (config["network"].get("mixers") or config.get("mixer"))
