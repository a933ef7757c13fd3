"""The config groups that are derived from code: one choice per registered mixer, one per task."""

from dataclasses import field, make_dataclass
from inspect import Parameter
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from analysis.settings import CheckSettings, ComplexitySettings, LedgerSettings, SpeedSettings, TableSettings
from launch.settings import PLATFORMS
from training.settings import EvaluateSettings, LoaderSettings, RecipeSettings, TrainSettings

from .schema import CellConfig, CheckConfig, NetworkConfig, OverviewConfig

CELL_TASKS = {
    "complexity": ComplexitySettings,
    "speed": SpeedSettings,
    "train": TrainSettings,
    "evaluate": EvaluateSettings,
    "loader": LoaderSettings,
}
# Tasks about a mixer, which need no network and leave no record.
MIXER_TASKS = {
    "check": CheckSettings,
}
# Tasks about everything there is, not about one cell.
OVERVIEW_TASKS = {
    "table": TableSettings,
    "ledger": LedgerSettings,
}


def register_groups(mixer_module: str | None) -> None:
    """Tell Hydra the typed root of a cell, the tasks, and every mixer with its options.

    `mixer_module` is a user's file that registers mixers of its own; it is imported first. This imports torch.
    """
    store = ConfigStore.instance()
    store.store(name="cell_schema", node=_cell_schema())
    for name, settings in CELL_TASKS.items():
        store.store(group="task", name=name, node=settings)
    for name, settings in PLATFORMS.items():
        schema = OmegaConf.structured(settings)
        _open(schema, "sbatch")
        store.store(group="platform/schema", name=name, node=schema)
    _register_mixers(mixer_module)


def register_mixer_groups(mixer_module: str | None) -> None:
    """Tell Hydra the root and the tasks that have a mixer and no network; else as `register_groups`."""
    store = ConfigStore.instance()
    store.store(name="check_schema", node=CheckConfig)
    for name, settings in MIXER_TASKS.items():
        store.store(group="task", name=name, node=settings)
    _register_mixers(mixer_module)


def register_overview_groups() -> None:
    """Tell Hydra the root and the tasks that have no cell. This imports no torch."""
    store = ConfigStore.instance()
    store.store(name="overview_schema", node=OverviewConfig)
    for name, settings in OVERVIEW_TASKS.items():
        store.store(group="task", name=name, node=settings)


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
