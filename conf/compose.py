"""Composing the many cells of a sweep: each group once, not once a cell."""

from collections.abc import Sequence
from copy import deepcopy

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, open_dict


class SweepComposer:
    """Composes as Hydra does, some twenty times faster where cells differ in values.

    Hydra reads and merges all groups for each cell (a tenth of a second), then sets the values that the command line
    gives. Cells with the same choice of groups share the first part here; the second is done by Hydra's own function.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self.loader = loader
        self.master = master
        self._parser = OverridesParser.create(config_loader=loader)
        self._bases: dict[tuple[str, ...], DictConfig] = {}
        self._is_group: dict[str, bool] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The configuration of one cell, without its `hydra` node.

        Raises: what Hydra raises for a group, key or value that does not exist.
        """
        parsed = [one for one in self._parser.parse_overrides(list(overrides)) if not one.is_hydra_override()]
        groups = tuple(one.input_line for one in parsed if self._chooses_group(one))
        if groups not in self._bases:
            base = self.loader.load_sweep_config(self.master, list(groups))
            with open_dict(base):
                base.pop("hydra")
            self._bases[groups] = base
        config = deepcopy(self._bases[groups])
        values = [one for one in parsed if not self._chooses_group(one)]
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        return config

    def _chooses_group(self, override: Override) -> bool:
        key = override.key_or_group
        if key not in self._is_group:
            self._is_group[key] = bool(self.loader.get_group_options(key))
        return self._is_group[key]
