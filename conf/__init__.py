"""WHICH values: the typed roots and their groups. The only package, beside run.py and hydra_plugins/, that knows Hydra.

`cell.yaml` is the root of every task about one cell, `overview.yaml` of the tasks about all of them.
"""

from .cells import to_cell
from .compose import SweepComposer
from .errors import ConfigurationError
from .groups import OVERVIEW_TASKS, register_groups, register_overview_groups
from .mistakes import refusal
from .overviews import check_overview

__all__ = [
    "OVERVIEW_TASKS",
    "ConfigurationError",
    "SweepComposer",
    "check_overview",
    "refusal",
    "register_groups",
    "register_overview_groups",
    "to_cell",
]
