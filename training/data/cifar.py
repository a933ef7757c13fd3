"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 60,000 colour images of 32×32, through torchvision.

`data.root` holds torchvision's folder (`cifar-10-batches-py`, `cifar-100-python`); what is missing is downloaded there.
"""

from pathlib import Path

import torch
from torchvision.datasets import CIFAR10, CIFAR100

from ..settings import DataSettings
from .images import Split, StoredImages, labels_tensor

DATASETS: dict[str, type[CIFAR10]] = {"cifar10": CIFAR10, "cifar100": CIFAR100}


def check(data: DataSettings, split: Split) -> None:
    """Raises ValueError when `data.root` is not set. The files may still be missing: `load` would download them."""
    if data.root is None:
        folder = DATASETS[data.source].base_folder
        raise ValueError(f"data.root is not set: name the folder that holds {folder}, or where it may be downloaded to")


def load(data: DataSettings, split: Split) -> StoredImages:
    """Raises OSError where files are missing and cannot be downloaded, saying where to put them."""
    dataset = DATASETS[data.source]
    try:
        images = dataset(data.root, train=split == "train", download=True)
    except (OSError, RuntimeError) as error:
        raise OSError(
            f"{data.source} is not complete under data.root={data.root} and could not be downloaded ({error}); "
            f"unpack {dataset.url} there, so that {Path(str(data.root)) / dataset.base_folder} exists"
        ) from error
    return StoredImages(torch.from_numpy(images.data).permute(0, 3, 1, 2).contiguous(), labels_tensor(images.targets))


def digest(data: DataSettings, split: Split) -> str:
    """That of the files as published: torchvision takes no others. So they need not be here yet."""
    dataset = DATASETS[data.source]
    return " ".join(md5 for _, md5 in (dataset.train_list if split == "train" else dataset.test_list))
