"""A plain cell configuration, as `conf.cells.to_cell` makes it, to vary in tests."""

from copy import deepcopy
from pathlib import Path
from typing import Any

from launch import Cell

CONFIG: dict[str, Any] = {
    "network": {"name": "unified", "options": {}, "mixers": None, "budget": "params"},
    "mixer": {"name": "halo", "block_size": None},
    "mixer_module": None,
    "scale": "micro",
    "data": {"name": "digits", "root": None, "workers": 0, "resolution": 32, "num_classes": 10},
    "recipe": {"name": "short", "epochs": 1, "drop_path_rate": None},
    "task": {"name": "train"},
    "platform": {"name": "here"},
    "tracking": {"mode": "disabled", "project": "stmbench"},
    "seed": 0,
    "precision": "fp32",
    "device": "cpu",
    "weights": None,
    "sweep": "trial",
    "output": "runs",
    "rerun": False,
}


def make_cell(output: Path | str = "runs", **changes: Any) -> Cell:
    """A cell whose configuration differs by `changes`; `data__root=…` reaches one level down."""
    config = deepcopy(CONFIG) | {"output": str(output)}
    for key, value in changes.items():
        *parents, last = key.split("__")
        node = config
        for parent in parents:
            node = node[parent]
        node[last] = value
    return Cell(config)
