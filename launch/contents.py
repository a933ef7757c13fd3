"""What a cell's result depends on, known by its content: `contents` of the plain configuration, see `launch.cell`.

In a configuration, data, weights and mixer files are paths and options are what somebody typed. Here are digests of
what is behind them, taken when the cell is composed and kept with it, so that its identity is known wherever it is,
and whoever runs it can tell whether it still gets the same.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, TypedDict

from tasks import task_of


class Contents(TypedDict):
    """None is what the task does not look at. Digests have 12 hexadecimal digits."""

    networks: list[str]  # that of each candidate of task=speed, else of the one network
    drop_path_rate: float | None
    mixer_module: str | None  # of the user's file, with the modules that it imports
    task_module: str | None
    data: str | None
    weights: str | None
    device: Mapping[str, Any] | None


def contents_of(config: Mapping[str, Any], look_again: bool = False) -> Contents:
    """Of a complete plain configuration; its `mixer_module` is loaded.

    Args:
        look_again: at data that this process has looked at before.

    Raises: ValueError, OSError for what is impossible or missing; one sentence that names the key or file.
    """
    from mixers import load_mixer_module, loaded_digest, module_digest

    module, task_module = config["mixer_module"], config.get("task_module")
    if module:
        load_mixer_module(module)
    networks, drop_path_rate = _networks(config)
    return {
        "networks": networks,
        "drop_path_rate": drop_path_rate,
        "mixer_module": loaded_digest(module) if module else None,
        "task_module": module_digest(task_module) if task_module else None,
        "data": _data(config, look_again),
        "weights": _weights(config),
        "device": _device(config) if task_of(config).is_timed else None,
    }


def check_contents(config: Mapping[str, Any]) -> None:
    """Refuses a cell that would not compute what its identity says: something has changed since it was composed.

    Raises: ValueError naming what is another.
    """
    then = config.get("contents")
    if then is None:  # composed before cells had contents
        return
    now = contents_of(config, look_again=True)
    for part, words in (
        ("mixer_module", f"mixer_module={config['mixer_module']}"),
        ("task_module", f"task_module={config.get('task_module')}"),
        ("networks", "the network that its options name (by a plug-in or a default)"),
        ("drop_path_rate", "the network's drop path rate"),
        ("data", f"the data in data.root={config['data']['root']}"),
        ("weights", f"what is in weights={config['weights']}"),
    ):
        if part in then and now[part] != then[part]:
            raise ValueError(
                f"{words} has changed since the cell was composed ({then[part]} is now {now[part]}): its result would "
                "be taken for another one; give the whole command again"
            )


def _networks(config: Mapping[str, Any]) -> tuple[list[str], float | None]:
    from architectures.identity import network_identity
    from tasks.from_config.network import network_spec

    task = task_of(config)
    if task.has_candidates:
        from tasks.from_config.candidates import identity_of, variants

        return [identity_of(variant.config) for variant in variants(config)], None
    network = network_identity(network_spec(config))
    return [network.digest], network.drop_path_rate if task.learns else None


_DATA: dict[str, str | None] = {}


def _data(config: Mapping[str, Any], look_again: bool) -> str | None:
    """None also for a dry run, which may be without data. The many cells of a sweep have it looked at once."""
    from training.data import data_digest
    from training.settings import DataSettings

    splits = () if config["task"].get("dry_run") else task_of(config).reads
    data = DataSettings(**config["data"])
    key = repr((data, splits))
    if look_again or key not in _DATA:
        _DATA[key] = data_digest(data, splits)
    return _DATA[key]


def _weights(config: Mapping[str, Any]) -> str | None:
    from tasks.from_config.network import network_spec
    from tasks.from_config.weights import weights_digest

    if config["weights"] is None or "weights" not in task_of(config).uses:
        return None
    average = config["task"].get("average", False)
    return weights_digest(network_spec(config), config["weights"], average=average)


def _device(config: Mapping[str, Any]) -> dict[str, Any]:
    """The kind of device, and which one: here by its model, on a cluster, which is yet to choose one, as asked for.

    `device=auto` on Slurm is a GPU where the job asks for one. The cell then runs there on what is said here, or not
    at all, so that a speed never stands under another device's name.
    """
    platform, device = config["platform"], config["device"]
    if platform["name"] == "slurm":
        kind = device if device != "auto" else "cuda" if platform["gpus_per_node"] else "cpu"
        return {"kind": kind} | {key: platform[key] for key in ("partition", "constraint", "sbatch")}
    return _device_here(device)


@cache
def _device_here(device: str) -> dict[str, Any]:
    from analysis.environment import device_model

    return device_model(device)
