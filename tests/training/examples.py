"""Settings, files and networks that tests share."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from training.settings import DataSettings, RecipeSettings

CONF = Path(__file__).parents[2] / "conf"


def data_settings(name: str, **changes: Any) -> DataSettings:
    """What conf/data/NAME.yaml says, with changes, as for a network whose authors evaluate it like ours."""
    values = yaml.safe_load((CONF / "data" / f"{name}.yaml").read_text())
    authors = {"crop_pct": 0.875, "interpolation": "bicubic"}
    authors = {key: value for key, value in authors.items() if values[key] is None}
    return DataSettings(**(values | authors | changes))


def recipe_settings(name: str = "short", **changes: Any) -> RecipeSettings:
    """What conf/recipe/NAME.yaml says, with changes."""
    return RecipeSettings(**(yaml.safe_load((CONF / "recipe" / f"{name}.yaml").read_text()) | changes))


def small_digits(**changes: Any) -> DataSettings:
    return data_settings("digits", **({"resolution": 8} | changes))


def brief(**changes: Any) -> RecipeSettings:
    """Two epochs of three steps of the digits."""
    return recipe_settings("short", **({"epochs": 2, "batch_size": 480, "warmup_epochs": 1} | changes))


def idx_bytes(values: np.ndarray) -> bytes:
    """An idx file of bytes, as MNIST and Fashion-MNIST come in."""
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


class TinyNetwork(nn.Module):
    """Convolution, batch norm, dropout (so that random draws matter) and a classifier; learns digits in seconds."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.head = nn.Linear(16 * 16, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = nn.functional.relu(self.norm(self.convolution(images)))
        return self.head(nn.functional.dropout(features.flatten(1), 0.1, self.training))


def tiny_network(seed: int = 0) -> TinyNetwork:
    torch.manual_seed(seed)
    return TinyNetwork()
