"""ImageNet-1k, as class folders or in the layout of STM-Evaluation's authors.

The latter: `meta/train.txt` and `meta/val.txt` list `relative/path label` a line, the images lie under `train/` and
`val/`. Where `meta/` lists a split, the list decides; otherwise the folders do.
"""

from pathlib import Path

from ..settings import DataSettings
from . import image_folder
from .images import ImageFiles, Split, labels_tensor

LISTS: dict[Split, str] = {"train": "meta/train.txt", "validation": "meta/val.txt"}


def check(data: DataSettings, split: Split) -> None:
    """Raises FileNotFoundError or ValueError naming what is missing."""
    if _list_of(data, split).is_file():
        image_folder.split_folder(data, split)
    else:
        image_folder.check(data, split)


def load(data: DataSettings, split: Split) -> ImageFiles:
    """Raises ValueError naming the list and line that cannot be understood."""
    list_path = _list_of(data, split)
    if not list_path.is_file():
        return image_folder.load(data, split)
    folder = image_folder.split_folder(data, split)
    paths: list[str] = []
    labels: list[int] = []
    for number, line in enumerate(
        list_path.read_text(encoding="utf-8", errors="surrogateescape").splitlines(), start=1
    ):
        relative, separator, label = line.rpartition(" ")
        if not separator or not label.isdecimal():
            raise ValueError(f"{list_path}, line {number}: expected 'relative/path label', found {line!r}")
        paths.append(f"{folder}/{relative}")
        labels.append(int(label))
    return ImageFiles(paths, labels_tensor(labels))


def _list_of(data: DataSettings, split: Split) -> Path:
    return Path(str(data.root)) / LISTS[split]
