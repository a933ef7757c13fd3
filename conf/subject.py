"""The keys by which task=speed is asked for a mixer alone: subject, dim and resolution."""

from collections.abc import Mapping
from typing import Any

from .errors import ConfigurationError


def check_subject(config: Mapping[str, Any]) -> None:
    """Raises: ConfigurationError naming the key that is missing, superfluous or impossible."""
    if config["subject"] == "network":
        for key in ("dim", "resolution"):
            if config[key] is not None:
                raise ConfigurationError(f"{key}={config[key]}: it is for subject=mixer; images have data.resolution")
        return
    if config["task"]["name"] != "speed":
        raise ConfigurationError(f"subject=mixer: it is for task=speed, not task={config['task']['name']}")
    for key, value in (("network.name", config["network"]["name"] != "unified"), ("scale", config["scale"])):
        if value:
            raise ConfigurationError(
                f"{key}: a mixer alone (subject=mixer) has no network and no scale, but dim=CHANNELS"
            )
    for key in ("budget", "dims", "depths"):
        if config["network"].get(key) is not None:
            raise ConfigurationError(f"network.{key}: a mixer alone (subject=mixer) has no network, but dim=CHANNELS")
    if config["network"]["mixers"]:
        raise ConfigurationError("network.mixers: a mixer alone (subject=mixer) is mixer=NAME, or task.compare=[NAMES]")
    if config["dim"] is None or config["dim"] < 1:
        raise ConfigurationError(f"dim={config['dim']}: subject=mixer needs the number of channels, e.g. dim=96")
    _check_resolution(config["resolution"], config["task"]["resolutions"])


def _check_resolution(resolution: Any, sides: list[int]) -> None:
    if resolution is None:
        if not sides:
            raise ConfigurationError(
                "resolution: subject=mixer needs the size of its map, resolution=[56,56], or for a curve the sides of "
                "several square ones, task.resolutions=[14,28,56]"
            )
        return
    if sides:
        raise ConfigurationError("resolution: give either resolution=[ROWS,COLUMNS] or task.resolutions=[SIDES]")
    numbers = [resolution] if isinstance(resolution, int) else resolution
    fits = isinstance(numbers, list) and len(numbers) <= 2 and all(type(side) is int and side >= 1 for side in numbers)
    if not fits or (isinstance(resolution, list) and len(resolution) != 2):
        raise ConfigurationError(f"resolution={resolution}: must be [ROWS,COLUMNS] or one side, in pixels")
