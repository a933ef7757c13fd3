"""The checks of a task about all cells, before it reads anything."""

from omegaconf import DictConfig, OmegaConf

from launch.sweep_name import check_sweep_name

from .errors import ConfigurationError
from .plain_values import check_values


def check_overview(config: DictConfig) -> None:
    """Raises: ConfigurationError naming the key, its value and what it may be."""
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    check_values(plain)
    if plain["sweep"] is not None:
        try:
            check_sweep_name(plain["sweep"])
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
