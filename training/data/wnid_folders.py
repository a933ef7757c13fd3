"""ImageNet's relatives for evaluation, with a folder per class: `data.root` holds folders named by WordNet ids.

ImageNet-A, ImageNet-R (200 of the 1000 classes each) and ImageNet-Sketch. The folders say which classes there are; only
these are compared, as the papers do, so that the network cannot answer with one that does not occur.
"""

from timm.data import ImageNetInfo

from ..settings import DataSettings
from .evaluation_only import evaluation_root, refuse_training
from .image_folder import Visited, folders, images_under
from .images import ImageFiles, Split, labels_tensor


def check(data: DataSettings, split: Split) -> None:
    """Raises FileNotFoundError saying what to download, or ValueError naming a folder that is no class of ImageNet."""
    refuse_training(data, split)
    labels = imagenet_labels()
    names = folders(evaluation_root(data))
    if not names:
        raise FileNotFoundError(f"data.root={data.root} holds no class folders: {data.download}")
    for name in names:
        if name not in labels:
            raise ValueError(f"{evaluation_root(data) / name}: no class of ImageNet-1k has this WordNet id")


def load(data: DataSettings, split: Split) -> ImageFiles:
    """Labels are those of ImageNet-1k; `classes` are the ones that occur. Raises as `check`."""
    check(data, split)
    root, label_of = evaluation_root(data), imagenet_labels()
    paths: list[str] = []
    labels: list[int] = []
    visited: Visited = {}
    for name in folders(root):
        members = images_under(root / name, visited)
        paths += members
        labels += [label_of[name]] * len(members)
    present = labels_tensor(sorted(set(labels)))
    return ImageFiles(paths, labels_tensor(labels), classes=present)


def imagenet_labels() -> dict[str, int]:
    """WordNet id -> label of ImageNet-1k, which is its place in alphabetical order."""
    return {name: label for label, name in enumerate(ImageNetInfo("imagenet-1k").label_names())}
