"""The config groups that are derived from code: one choice per registered mixer, one per task."""

from dataclasses import field, make_dataclass
from inspect import Parameter
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from launch.settings import PLATFORMS
from tasks import MixerTask, OverviewTask, Task, tasks_of
from training.settings import RecipeSettings

from .schema import CellConfig, CheckConfig, NetworkConfig, OverviewConfig


def register_groups(mixer_module: str | None) -> None:
    """Tell Hydra the typed root of a cell, the tasks, and every mixer with its options.

    `mixer_module` is a user's file that registers mixers of its own; it is imported first. This imports torch.
    """
    store = ConfigStore.instance()
    store.store(name="cell_schema", node=_cell_schema())
    _register_tasks(Task)
    for name, settings in PLATFORMS.items():
        schema = OmegaConf.structured(settings)
        _open(schema, "sbatch")
        store.store(group="platform/schema", name=name, node=schema)
    _register_mixers(mixer_module)


def register_mixer_groups(mixer_module: str | None) -> None:
    """Tell Hydra the root and the tasks that have a mixer and no network; else as `register_groups`."""
    ConfigStore.instance().store(name="check_schema", node=CheckConfig)
    _register_tasks(MixerTask)
    _register_mixers(mixer_module)


def register_overview_groups() -> None:
    """Tell Hydra the root and the tasks that have no cell. This imports no torch."""
    ConfigStore.instance().store(name="overview_schema", node=OverviewConfig)
    _register_tasks(OverviewTask)


def _register_tasks(kind: type) -> None:
    for name, task in tasks_of(kind).items():
        ConfigStore.instance().store(group="task", name=name, node=task.settings)


def _register_mixers(mixer_module: str | None) -> None:
    from mixers import MIXERS, load_mixer_module, mixer_options

    if mixer_module:
        load_mixer_module(mixer_module)
    store = ConfigStore.instance()
    for name in MIXERS:
        store.store(group="mixer", name=name, node=_mixer_config(name, mixer_options(name)))


def _cell_schema() -> DictConfig:
    """Closed but for what others check: the network its own options, the optimiser its own."""
    schema = OmegaConf.structured(CellConfig)
    for key, kind, options in (("network", NetworkConfig, "options"), ("recipe", RecipeSettings, "optimizer_options")):
        schema[key] = OmegaConf.structured(kind)
        _open(schema[key], options)
    return schema


def _open(schema: DictConfig, key: str) -> None:
    """Any key may be given in the dictionary at `key`, if there is one, without Hydra's sign for a new one."""
    if key in list(schema):  # `in` alone knows only what has a value
        schema._get_node(key)._set_flag("struct", False)


def _mixer_config(name: str, options: dict[str, Parameter]) -> type:
    """A dataclass of the mixer's keyword-only options. Defaults stay in the mixer's signature: null means that default.

    An option takes one value, or four (one a stage), so its type is checked in `conf.cells`, not here.
    """
    fields: list[Any] = [("name", str, name)]
    fields += [(option, Any, field(default=None)) for option in options]
    return make_dataclass(f"Mixer_{name}", fields)
