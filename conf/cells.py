"""From what Hydra composed to a plain cell, with every check that can be made before anything is allocated."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from launch import Cell
from launch.contents import contents_of
from launch.sweep_name import check_sweep_name
from tasks import load_task_module, task_of

from .errors import ConfigurationError
from .plain_values import check_keys, check_values
from .schema import Scale
from .subject import check_subject
from .sweep_weights import resolve


def to_cell(config: DictConfig) -> Cell:
    """The plain cell of a composed configuration (without its `hydra` node).

    Raises:
        ConfigurationError: a key has a value that cannot work, or one that the task needs has none.
    """
    try:
        plain = _plain(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    except MissingMandatoryValue as error:
        raise ConfigurationError(f"{error.full_key} has no value") from error
    try:
        if plain.get("task_module"):
            load_task_module(plain["task_module"])
    except (FileNotFoundError, ValueError) as error:
        raise ConfigurationError(str(error)) from error
    check_keys(plain)
    check_values(plain)
    _check_choices(plain)
    try:
        check_sweep_name(plain["sweep"])
        _check_seed(plain["seed"])
        plain["weights"] = resolve(plain)
        plain["data"] |= _preprocessing(plain)
        # Values are checked as they were given, where null may stand for the number of class folders.
        complete = plain | {"data": plain["data"] | {"num_classes": _count_classes(plain["data"])}}
        _check_weights(complete)
        _check_values(plain)
        _check_device(plain)
        with _said_in_a_sentence():
            task_of(plain).check_networks(complete)
            return Cell(complete | {"contents": contents_of(complete)})  # which builds its networks without memory
    except (ValueError, OSError) as error:
        raise ConfigurationError(str(error)) from error


def _plain(value: Any) -> Any:
    """Enums to their values, all the way down."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def _check_choices(config: Mapping[str, Any]) -> None:
    """What the parts of a configuration ask of each other."""
    from mixers import MIXERS

    network, mixers, weights = config["network"], config["network"]["mixers"], config["weights"]
    check_subject(config)
    compared = config["task"].get("compare")
    if network["name"] != "unified":
        of_unified = {f"network.{key}": network[key] for key in ("mixers", "budget", "dims", "depths")}
        for key, value in {"mixer": config["mixer"], "scale": config["scale"], **of_unified}.items():
            if value is not None:
                raise ConfigurationError(f"{key} is for network=unified; {network['name']} has a mixer and a size")
    else:
        if (config["mixer"] is not None and mixers is not None) or not (config["mixer"] or mixers or compared):
            raise ConfigurationError(
                "network=unified needs either mixer=NAME or network.mixers=[four names, one a stage]; "
                f"the mixers are {', '.join(sorted(MIXERS))}"
            )
        if config["scale"] is None and config["subject"] == "network":
            raise ConfigurationError(
                f"network=unified needs scale=NAME, one of {', '.join(scale.value for scale in Scale)}"
            )
    if task_of(config).needs_weights and weights is None:
        raise ConfigurationError(
            f"task={config['task']['name']} needs weights=official, or weights=PATH: a cell's directory, a "
            ".safetensors file, or a checkpoint of the network's authors"
        )


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise ConfigurationError(f"seed={seed}: must not be negative")


def _check_device(config: Mapping[str, Any]) -> None:
    """Cells of Slurm run on other machines, and a complexity on none."""
    if config["device"] != "cuda" or config["platform"]["name"] == "slurm" or config["task"]["name"] == "complexity":
        return
    from tasks.from_config.device import device_of

    device_of(config)


def _preprocessing(config: Mapping[str, Any]) -> dict[str, Any]:
    """What is configured, or where that is null what the network's authors use."""
    from architectures import preprocessing

    authors = dict(zip(("crop_pct", "interpolation"), preprocessing(config["network"]["name"]), strict=True))
    return {key: value for key, value in authors.items() if config["data"][key] is None}


def _count_classes(data: Mapping[str, Any]) -> int:
    """What is configured, or the number of class folders."""
    from training.data import count_classes
    from training.settings import DataSettings

    return count_classes(DataSettings(**data))


def _check_values(config: Mapping[str, Any]) -> None:
    """Numbers that no network, data set, recipe or task can have are refused by these themselves."""
    from launch.settings import platform_settings
    from training.data import check_data
    from training.settings import DataSettings

    platform_settings(config["platform"])
    task = task_of(config)
    # The images themselves are not needed to plan, where their number is known.
    planned = config["task"].get("dry_run", False) and config["data"]["train_images"] is not None
    check_data(DataSettings(**config["data"]), splits=() if planned else task.reads)
    task.check(config)


@contextmanager
def _said_in_a_sentence() -> Iterator[None]:
    """Over values that nobody thought of, layers and torch stumble in their own ways; where, is for those who look."""
    try:
        yield
    except (RuntimeError, OverflowError, TypeError) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        said = str(error).strip().partition("\n")[0]
        raise ConfigurationError(
            f"the network cannot be built from these values: {type(error).__name__}: {said} "
            f"({frame.filename}, line {frame.lineno})"
        ) from error


def _check_weights(config: Mapping[str, Any]) -> None:
    """Weights that do not exist, or are nobody's to have, are known before anything is fetched."""
    from tasks.from_config.network import network_spec
    from tasks.from_config.weights import check_weights

    if config["weights"] is not None:
        spec, fine_tuning = network_spec(config), task_of(config).fine_tunes
        try:
            average = config["task"].get("average", False)
            check_weights(spec, config["weights"], fine_tuning=fine_tuning, average=average)
        except (ValueError, OSError) as error:
            raise ConfigurationError(f"weights={config['weights']}: {error}") from error
