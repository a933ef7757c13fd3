"""Any folder of images: `data.root` holds `train/` and `val/` (or `validation/`), each with one folder per class.

Classes are numbered in the alphabetical order of their folders. Images may lie at any depth inside a class folder.
"""

import os
from pathlib import Path

from ..settings import DataSettings
from .images import ImageFiles, Split, labels_tensor

EXTENSIONS = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"))
Visited = dict[str, str]
"""Real path of each folder that was looked into -> the path by which it was reached."""
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
    visited: Visited = {}
    for name in folders(folder):
        members = images_under(folder / name, visited)
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


def images_under(folder: Path, visited: Visited | None = None) -> list[str]:
    """Paths of the images at any depth in `folder`, in alphabetical order; symbolic links are followed.

    Args:
        visited: the folders that were looked into before, to which those of this call are added.

    Raises:
        ValueError: a link leads to a folder that it lies in, or to one that was looked into before: its images would
            be counted twice, or as another class's. The link is named.
    """
    visited = {} if visited is None else visited
    paths: list[str] = []
    waiting = [os.fspath(folder)]
    while waiting:
        parent = waiting.pop()
        place = os.path.realpath(parent)
        if _contains(place, os.path.realpath(os.path.dirname(parent))):
            raise ValueError(f"{parent} is a symbolic link to {place}, which it lies in: remove the link")
        if place in visited:
            raise ValueError(
                f"{parent} and {visited[place]} are the same folder, {place}: its images would be counted twice; "
                "remove the symbolic link"
            )
        visited[place] = parent
        with os.scandir(parent) as entries:
            for entry in entries:
                if entry.is_dir():
                    waiting.append(entry.path)
                elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:
                    paths.append(entry.path)
    return sorted(paths)


def _contains(folder: str, other: str) -> bool:
    """Whether `other` is `folder` or lies in it, at any depth; both are real paths."""
    return folder == other or other.startswith(folder.rstrip(os.sep) + os.sep)
