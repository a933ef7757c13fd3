"""Data sets of Hugging Face, through timm's reader: `data.root` is a name on the Hub, or a folder of theirs.

Files from the Hub are kept in Hugging Face's own cache. Needs the package `datasets`, an extra of this project.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..settings import DataSettings
from .digest import files_digest
from .images import Split, labels_tensor

SPLITS: dict[Split, tuple[str, ...]] = {"train": ("train",), "validation": ("validation", "val", "test")}


class HuggingFaceImages:
    """A split as timm's reader gives it: files as they are stored."""

    def __init__(self, reader: Any) -> None:
        self.reader = reader
        self.labels: Tensor = labels_tensor([int(label) for label in reader.dataset[reader.label_key]])
        self.classes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> bytes | np.ndarray:
        file, _ = self.reader[index]
        with file:
            return file.read()

    def name(self, index: int) -> str:
        return f"{self.reader.dataset.builder_name} {self.reader.dataset.split}, image {index}"


def check(data: DataSettings, split: Split) -> None:
    """Raises ValueError where `datasets` is not installed, or something is not set."""
    if find_spec("datasets") is None:
        raise ValueError("data.source=hugging_face needs the package datasets: pip install 'stmbench[hugging-face]'")
    if data.root is None:
        raise ValueError("data.root is not set: a data set's name on the Hub, or a folder")


def load(data: DataSettings, split: Split) -> HuggingFaceImages:
    """Raises OSError where the data set cannot be had, ValueError where it has no such split."""
    check(data, split)
    from datasets import get_dataset_split_names
    from timm.data.readers import create_reader

    try:
        offered = get_dataset_split_names(data.root)
        name = next((name for name in SPLITS[split] if name in offered), None)
        if name is None:
            raise ValueError(
                f"data.root={data.root} has the splits {', '.join(offered)}, no {' or '.join(SPLITS[split])}"
            )
        return HuggingFaceImages(create_reader(f"hfds/{data.root}", split=name))
    except OSError as error:
        raise OSError(f"data.root={data.root}: no such folder, and not to be had from the Hub ({error})") from error


def digest(data: DataSettings, split: Split) -> str:
    """That of all files of a folder; of a data set on the Hub the commit. Raises as `load`."""
    check(data, split)
    if Path(str(data.root)).is_dir():
        return files_digest(str(data.root), sorted(str(path) for path in Path(str(data.root)).rglob("*")))
    from datasets import load_dataset_builder

    try:
        return str(load_dataset_builder(data.root).hash)
    except OSError as error:
        raise OSError(f"data.root={data.root}: no such folder, and not to be had from the Hub ({error})") from error
