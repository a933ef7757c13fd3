"""WHICH values: the typed roots and their groups. The only package, beside run.py and hydra_plugins/, that knows Hydra.

`cell.yaml` is the root of every task about one cell, `overview.yaml` of the tasks about all of them, `check.yaml` of
those about a mixer alone.
"""

from .cells import to_cell
from .compose import SweepComposer
from .errors import ConfigurationError
from .groups import register_groups, register_mixer_groups, register_overview_groups
from .mistakes import refusal
from .overviews import check_overview

__all__ = [
    "ConfigurationError",
    "SweepComposer",
    "check_overview",
    "refusal",
    "register_groups",
    "register_mixer_groups",
    "register_overview_groups",
    "to_cell",
]
