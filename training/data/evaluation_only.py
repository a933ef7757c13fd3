"""What the data sets share that are for evaluation only."""

from pathlib import Path

from ..settings import DataSettings
from .images import Split


def refuse_training(data: DataSettings, split: Split) -> None:
    """Raises ValueError for the training images of a data set that has none."""
    if split == "train":
        raise ValueError(f"data={data.name} is for evaluation only: it has no training images")


def evaluation_root(data: DataSettings) -> Path:
    """Raises FileNotFoundError saying what to download and where to put it."""
    if data.root is None or not Path(data.root).is_dir():
        raise FileNotFoundError(f"{data.name} is not in data.root={data.root}: {data.download}")
    return Path(data.root)
