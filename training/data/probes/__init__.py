"""Probes: images that are drawn, each set asking for one ability of a spatial mixer. See docs/probes.md.

A new probe is one file that registers a class, and its conf/data/probe_<name>.yaml.
"""

import hashlib
import importlib
import pkgutil
from functools import lru_cache

import numpy as np
import torch

from ...settings import DataSettings
from ..images import Split, StoredImages
from .probe import GREY, MARGIN, PROBES, Probe, build_probe

for _file in pkgutil.iter_modules(__path__):
    if _file.name == "__main__":
        continue
    importlib.import_module(f".{_file.name}", __name__)

__all__ = ["PROBES", "Probe", "ProbeSource", "build_probe"]

CHUNK = 1024
"""Images drawn at once. Each chunk has a seed of its own, so that a smaller set is the beginning of a larger one."""
SPLITS: tuple[Split, Split] = ("train", "validation")


class ProbeSource:
    """A probe as a source of data: `data.train_images` and `data.validation_images` say how many are drawn."""

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self, data: DataSettings, split: Split) -> None:
        """Raises: ValueError for options that the probe does not take or that do not fit the image."""
        for key in ("num_classes", "train_images", "validation_images"):
            if getattr(data, key) is None or getattr(data, key) < 1:
                raise ValueError(f"data.{key}={getattr(data, key)}: images are drawn, so it must be given, at least 1")
        build_probe(self.name, data.resolution, data.num_classes, data.options)

    def load(self, data: DataSettings, split: Split) -> StoredImages:
        count = data.train_images if split == "train" else data.validation_images
        return _draw(self.name, data.resolution, data.num_classes, tuple(sorted(data.options.items())), count, split)

    def digest(self, data: DataSettings, split: Split) -> str:
        """Of how many images there are, and of the first ones: what is drawn follows from the same code and seeds."""
        count = data.train_images if split == "train" else data.validation_images
        options = tuple(sorted(data.options.items()))
        first = _draw(self.name, data.resolution, data.num_classes, options, min(count, CHUNK), split)
        content = f"{options} {count}".encode() + first.pixels.numpy().tobytes() + first.labels.numpy().tobytes()
        return hashlib.sha256(content).hexdigest()[:12]


@lru_cache(maxsize=4)  # the cells of a sweep that one process does share their images
def _draw(
    name: str, size: int, classes: int, options: tuple[tuple[str, int], ...], count: int, split: Split
) -> StoredImages:
    probe, seed = build_probe(name, size, classes, dict(options)), dict(options)["seed"]
    pixels = np.full((count, probe.channels, size, size), GREY, dtype=np.uint8)
    inside = pixels[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]
    labels = np.empty(count, dtype=np.int64)
    for chunk, start in enumerate(range(0, count, CHUNK)):
        rng = np.random.default_rng([seed, SPLITS.index(split), chunk])
        drawn = rng.permutation(np.arange(CHUNK) % classes)
        part = slice(start, start + CHUNK)
        inside[part] = probe.draw(drawn, rng, split)[: count - start]
        labels[part] = drawn[: count - start]
    return StoredImages(torch.from_numpy(pixels), torch.from_numpy(labels))
