"""Any folder of images: `data.root` holds `train/` and `val/` (or `validation/`), each with one folder per class.

Classes are numbered in the alphabetical order of their folders. Images may lie at any depth inside a class folder.
"""

import os
from pathlib import Path

from ..settings import DataSettings
from .images import ImageFiles, Split, labels_tensor

EXTENSIONS = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"))
SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {"train": ("train",), "validation": ("val", "validation")}


def check(data: DataSettings, split: Split) -> None:
    """Raises FileNotFoundError or ValueError naming a missing folder or a wrong number of classes."""
    classes = class_names(data)
    if data.num_classes is not None and data.num_classes != len(classes):
        raise ValueError(f"data.num_classes={data.num_classes}, but data.root={data.root} has {len(classes)} classes")
    unknown = sorted(set(folders(split_folder(data, split))) - set(classes))
    if unknown:
        raise ValueError(f"{split_folder(data, split) / unknown[0]}: no class of this name among the training images")


def load(data: DataSettings, split: Split) -> ImageFiles:
    """Raises ValueError naming a class folder without images."""
    check(data, split)
    folder = split_folder(data, split)
    label_of = {name: label for label, name in enumerate(class_names(data))}
    paths: list[str] = []
    labels: list[int] = []
    for name in folders(folder):
        members = images_under(folder / name)
        if not members:
            raise ValueError(f"{folder / name} holds no images ({', '.join(sorted(EXTENSIONS))})")
        paths += members
        labels += [label_of[name]] * len(members)
    return ImageFiles(paths, labels_tensor(labels))


def class_names(data: DataSettings) -> list[str]:
    """The training images' class folders; the validation images' where there is no `train/`, for evaluation only."""
    has_training_images = data.root is not None and (Path(data.root) / "train").is_dir()
    folder = split_folder(data, "train" if has_training_images else "validation")
    names = folders(folder)
    if not names:
        raise ValueError(f"{folder} holds no class folders")
    return names


def split_folder(data: DataSettings, split: Split) -> Path:
    """The first of the split's usual folder names that exists."""
    if data.root is None:
        raise ValueError("data.root is not set: name the folder that holds train/ and val/")
    if not Path(data.root).is_dir():
        raise FileNotFoundError(f"data.root={data.root} is not there: name the folder that holds train/ and val/")
    for name in SPLIT_FOLDERS[split]:
        if (folder := Path(data.root) / name).is_dir():
            return folder
    raise FileNotFoundError(f"data.root={data.root} has no folder {' or '.join(SPLIT_FOLDERS[split])}")


def folders(folder: Path) -> list[str]:
    """Names of the folders in `folder`, in alphabetical order."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def images_under(folder: Path) -> list[str]:
    """Paths of the images at any depth in `folder`, in alphabetical order."""
    return sorted(
        os.path.join(parent, name)
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
        if os.path.splitext(name)[1].lower() in EXTENSIONS
    )
