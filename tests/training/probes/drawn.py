"""Probes as their files in conf/data/ describe them."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from training.data import SOURCES, check_data
from training.data.images import Split
from training.settings import DataSettings

CONF = Path(__file__).parents[3] / "conf" / "data"


def settings(name: str, options: dict[str, Any] | None = None, **changes: Any) -> DataSettings:
    data = yaml.safe_load((CONF / f"probe_{name}.yaml").read_text(encoding="utf-8"))
    data["options"] |= options or {}
    return DataSettings(**data | changes)


def draw(name: str, count: int, split: Split = "train", **changes: Any) -> tuple[np.ndarray, np.ndarray]:
    """Pixels around 0, int N, C, H, W, and labels."""
    data = settings(name, **changes, train_images=count, validation_images=count)
    check_data(data)
    images = SOURCES[data.source].load(data, split)
    return images.pixels.numpy().astype(np.int16) - 128, images.labels.numpy()
