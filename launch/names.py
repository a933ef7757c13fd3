"""What people call the cells of a sweep: the short name, and of those that share it what tells them apart."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .cell import Cell

# Where and when a cell runs; its folder says the last two.
NOT_WHAT_IT_COMPUTES = ("platform", "tracking", "rerun", "output", "sweep")


def names_of(cells: Sequence[Cell]) -> dict[Path, str]:
    """By directory, e.g. `shift-micro-digits-train-seed0 mixer.distance=2`."""
    told = differences_of(cells)
    return {cell.directory: f"{cell.name} {told[cell.directory]}".strip() for cell in cells}


def differences_of(cells: Sequence[Cell]) -> dict[Path, str]:
    """By directory what tells a cell from the others of its name, e.g. `mixer.distance=2`; empty where it is alone."""
    alike: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        alike[cell.name].append(cell)
    return {
        cell.directory: difference
        for group in alike.values()
        for cell, difference in zip(group, differences([cell.config for cell in group]), strict=True)
    }


def differences(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each configuration what tells it from the others, e.g. `recipe=dwnet, mixer.distance=2`.

    A group that has another name is told by that name, not by everything that is in it. Empty where there is nothing
    to tell.
    """
    flat = [
        _flat({key: value for key, value in config.items() if key not in NOT_WHAT_IT_COMPUTES}) for config in configs
    ]
    return [", ".join(parts) for parts in _tell_apart(flat)]


def _tell_apart(flat: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    keys = [
        key
        for key in dict.fromkeys(key for one in flat for key in one)
        if len({str(_of(one, key)) for one in flat}) > 1
    ]
    # Digests are for what nothing else tells.
    keys = [key for key in keys if not key.startswith("contents.")] or keys
    names = [key for key in keys if key.endswith(".name")]
    chosen = names or keys
    texts = [[f"{key.removesuffix('.name')}={_of(one, key)}" for key in chosen] for one in flat]
    if not names:
        return texts
    # Those that also have the same names differ in something else.
    alike: dict[str, list[int]] = defaultdict(list)
    for index, text in enumerate(texts):
        alike[str(text)].append(index)
    for indices in alike.values():
        for index, more in zip(indices, _tell_apart([flat[index] for index in indices]), strict=True):
            texts[index] = texts[index] + more
    return texts


def _of(flat: Mapping[str, Any], key: str) -> Any:
    value = flat.get(key)
    return "default" if value is None else value


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
