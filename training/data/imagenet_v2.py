"""ImageNetV2 (Recht et al. 2019, arXiv 1902.10811): `data.root` holds folders 0 to 999, named by their label."""

from ..settings import DataSettings
from .evaluation_only import evaluation_root, refuse_training
from .image_folder import Visited, folders, images_under
from .images import ImageFiles, Split, labels_tensor


def check(data: DataSettings, split: Split) -> None:
    """Raises FileNotFoundError saying what to download, or ValueError naming a folder that is no label."""
    refuse_training(data, split)
    root = evaluation_root(data)
    names = folders(root)
    if not names:
        raise FileNotFoundError(f"data.root={data.root} holds no class folders: {data.download}")
    for name in names:
        if not name.isdecimal() or int(name) >= 1000:
            raise ValueError(f"{root / name}: folders of ImageNetV2 are named by their label, 0 to 999")


def load(data: DataSettings, split: Split) -> ImageFiles:
    """Raises as `check`."""
    check(data, split)
    root = evaluation_root(data)
    visited: Visited = {}
    members = {int(name): images_under(root / name, visited) for name in folders(root)}
    labels = [label for label in sorted(members) for _ in members[label]]
    return ImageFiles([path for label in sorted(members) for path in members[label]], labels_tensor(labels))
