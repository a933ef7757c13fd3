"""Where weights come from, as far as their files say: so that networks that were trained alike are told from others."""

import hashlib
import json
from pathlib import Path
from typing import Any

from analysis.record import PLACE_KEYS, UnreadableRecordError, read_record

TRAINING = ("network", "mixer", "scale", "data", "recipe", "precision")


def origin_of(weights: str | None) -> dict[str, Any]:
    """Of a run's directory: its `cell`, `seed`, `recipe`, and `training`, equal for runs that differ in the seed only.

    Nothing is known of weights that are no run's.
    """
    if weights is None or not (Path(weights) / "record.json").is_file():
        return {}
    try:
        record = read_record(Path(weights) / "record.json")
    except UnreadableRecordError:  # its weights are there all the same
        return {}
    config = record["config"]
    defining = {key: config.get(key) for key in TRAINING}
    defining["data"] = {key: value for key, value in config["data"].items() if key not in PLACE_KEYS}
    text = json.dumps(defining, sort_keys=True, default=str)
    return {
        "cell": record["cell"],
        "seed": config["seed"],
        "recipe": config["recipe"]["name"],
        "training": hashlib.sha256(text.encode()).hexdigest()[:12],
    }
