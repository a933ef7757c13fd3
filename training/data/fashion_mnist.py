"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747): 70,000 grey images of 28×28, ten classes.

`data.root` holds the four idx files under their usual names, plain or gzip-compressed.
"""

from pathlib import Path

from ..settings import DataSettings
from .idx import read_idx
from .images import Split, StoredImages

FILE_PREFIX: dict[Split, str] = {"train": "train", "validation": "t10k"}


def check(data: DataSettings, split: Split) -> None:
    """Raises FileNotFoundError naming a missing file and where to get it."""
    _find(data, f"{FILE_PREFIX[split]}-images-idx3-ubyte")
    _find(data, f"{FILE_PREFIX[split]}-labels-idx1-ubyte")


def load(data: DataSettings, split: Split) -> StoredImages:
    """Raises ValueError naming a damaged file."""
    pixels_path = _find(data, f"{FILE_PREFIX[split]}-images-idx3-ubyte")
    labels_path = _find(data, f"{FILE_PREFIX[split]}-labels-idx1-ubyte")
    pixels, labels = read_idx(pixels_path), read_idx(labels_path)
    if pixels.ndim != 3 or labels.shape != pixels.shape[:1]:
        raise ValueError(
            f"{pixels_path} ({tuple(pixels.shape)}) and {labels_path} ({tuple(labels.shape)}) do not belong together"
        )
    return StoredImages(pixels[:, None], labels.long())


def _find(data: DataSettings, name: str) -> Path:
    for candidate in (name, f"{name}.gz"):
        if data.root is not None and (path := Path(data.root) / candidate).is_file():
            return path
    raise FileNotFoundError(
        f"{name} or {name}.gz is not in data.root={data.root}; Debian's package dataset-fashion-mnist puts it in "
        "/usr/share/datasets/fashion-mnist, and https://github.com/zalandoresearch/fashion-mnist offers it"
    )
