"""What keys and values must be whatever they are for, so that no task, data set or platform has to check it again."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from tasks import Task, tasks_of

from .errors import ConfigurationError
from .mistakes import unknown_key
from .schema import CellConfig, NetworkConfig, TrackingConfig

# Records, and the generators of random numbers, hold 64 bits.
WHOLE_NUMBERS = 2**63
# Put there by `to_cell`, not by the user.
DERIVED = ("contents",)
# OmegaConf, which knows the types of their lists' members, lets lists among these pass.
FLAT = ("task.", "data.", "recipe.no_decay", "recipe.decay", "recipe.random_crop")


def check_keys(config: Mapping[str, Any]) -> None:
    """Also those that were forced in (`+key=value`) or taken out (`~key`), which Hydra lets through.

    Raises: ConfigurationError naming the key and those that there are.
    """
    from mixers import MIXERS, mixer_options
    from training.settings import DataSettings, RecipeSettings

    _check("", config, _names(CellConfig))
    for key, kind in (
        ("network", NetworkConfig),
        ("data", DataSettings),
        ("recipe", RecipeSettings),
        ("tracking", TrackingConfig),
    ):
        _check(key, config[key], _names(kind))
    tasks = tasks_of(Task)
    _check_choice("task", config["task"], tasks)
    _check("task", config["task"], _names(tasks[config["task"]["name"]].settings))
    if config["mixer"] is not None:
        _check_choice("mixer", config["mixer"], MIXERS)
        _check("mixer", config["mixer"], ["name", *mixer_options(config["mixer"]["name"])])


def check_values(value: Any, key: str = "") -> None:
    """Numbers that a computer and a record can hold, text that a file can: all the way down.

    Raises: ConfigurationError naming the key, its value and the rule.
    """
    if isinstance(value, Mapping):
        for name, item in value.items():
            check_values(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        if key.startswith(FLAT) and any(isinstance(item, Mapping | list) for item in value):
            raise ConfigurationError(f"{key}={value}: must be a list of single values")
        for item in value:
            check_values(item, key)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError(f"{key}={value}: must be a finite number")
    elif isinstance(value, int) and not -WHOLE_NUMBERS <= value < WHOLE_NUMBERS:
        raise ConfigurationError(f"{key}={value}: must be a number of 64 bits, between -2**63 and 2**63 - 1")
    elif isinstance(value, str) and ("\0" in value or not _is_text(value)):
        raise ConfigurationError(f"{key}={value!r}: must be text that is UTF-8, without null characters")


def _check_choice(group: str, chosen: Any, choices: Iterable[str]) -> None:
    if not isinstance(chosen, Mapping) or chosen.get("name") not in choices:
        named = chosen.get("name") if isinstance(chosen, Mapping) else chosen
        raise ConfigurationError(f"{group}={named}: choose from {', '.join(sorted(choices))}")


def _check(group: str, given: Any, names: list[str]) -> None:
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{group}={given}: choose one of its names, or give its keys, {', '.join(names)}")
    prefix = f"{group}." if group else ""
    for name in given:
        if name not in names and name not in DERIVED:
            raise ConfigurationError(unknown_key(f"{prefix}{name}", names, []))
    if absent := [name for name in names if name not in given]:
        raise ConfigurationError(f"{prefix}{absent[0]} has no value: it was taken out, and is needed")


def _names(kind: type) -> list[str]:
    return sorted(field.name for field in fields(kind))


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a byte of the command line that is no UTF-8
        return False
    return True
