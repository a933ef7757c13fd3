"""Images in tar archives, in WebDataset's layout: `data.root` holds `train*.tar` and `val*.tar`, or folders of them.

A member `key.jpg` belongs to the label in `key.cls`. WebDataset itself, and timm's reader of it, stream archives in an
order that depends on the number of workers, and cannot enter an epoch in its middle. Here archives are indexed once
(offset, size and label of each image, kept in the user's cache) and images are read by their place, so that a run is
repeated and resumed exactly, like one from files.
"""

import hashlib
import io
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from ..settings import DataSettings
from ..whole_file import write_whole
from .image_folder import EXTENSIONS, SPLIT_FOLDERS
from .images import Split, labels_tensor

LABEL_EXTENSION = ".cls"
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
DECOMPRESS = "decompress it (gunzip, bunzip2, unxz, unzstd), images are read by their place in the archive"


@dataclass(frozen=True)
class TarImages:
    """Image `index` lies in archive `archives[index]`, `sizes[index]` bytes from `offsets[index]` on."""

    paths: list[str]
    archives: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    labels: Tensor
    classes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> bytes:
        # Not kept open: there may be more archives than a process may have files.
        with open(self.paths[self.archives[index]], "rb", buffering=0) as archive:
            return os.pread(archive.fileno(), int(self.sizes[index]), int(self.offsets[index]))

    def name(self, index: int) -> str:
        return f"{self.paths[self.archives[index]]} at byte {self.offsets[index]}"


def check(data: DataSettings, split: Split) -> None:
    """Raises FileNotFoundError where there are no archives."""
    archives(data, split)


def archives(data: DataSettings, split: Split) -> list[Path]:
    """In alphabetical order."""
    if data.root is None:
        raise FileNotFoundError("data.root is not set: name the folder that holds train*.tar and val*.tar")
    found = [
        path
        for name in SPLIT_FOLDERS[split]
        for pattern in (f"{name}*.tar", f"{name}/*.tar")
        for path in Path(data.root).glob(pattern)
    ]
    if not found:
        names = " or ".join(f"{name}*.tar" for name in SPLIT_FOLDERS[split])
        compressed = sorted(path for name in SPLIT_FOLDERS[split] for path in Path(data.root).glob(f"{name}*.t*gz"))
        also = f", but {compressed[0]}: {DECOMPRESS}" if compressed else ""
        raise FileNotFoundError(f"data.root={data.root} holds no {names}{also}")
    for path in found:
        if not path.is_file():
            raise ValueError(f"{path} is not a regular file")
    return sorted(set(found))


def load(data: DataSettings, split: Split) -> TarImages:
    """Raises ValueError naming an archive that is damaged or lacks a label."""
    check(data, split)
    paths = archives(data, split)
    tables = [_index(path) for path in paths]
    whole = np.concatenate(tables)
    archive = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    return TarImages(
        [str(path) for path in paths], archive, whole[:, 0], whole[:, 1], labels_tensor(whole[:, 2].tolist())
    )


def _index(path: Path) -> np.ndarray:
    """Offset, size and label of each image, int64 of N, 3; from the cache, if the archive has not changed since."""
    stat = path.stat()
    identity = hashlib.sha256(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:24]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stmbench" / "shards" / f"{identity}.npy"
    if cache.is_file():
        return np.load(cache)
    table = _scan(path)
    cache.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    np.save(content, table)
    write_whole(cache, content.getvalue())
    return table


def _scan(path: Path) -> np.ndarray:
    with open(path, "rb") as file:
        beginning = file.read(max(map(len, COMPRESSED)))
    for signature, kind in COMPRESSED.items():
        if beginning.startswith(signature):
            raise ValueError(f"{path} is compressed ({kind}): {DECOMPRESS}")
    images: dict[str, tuple[int, int]] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                folder, _, name = member.name.rpartition("/")
                stem, _, extension = name.partition(".")
                key = f"{folder}/{stem}"
                if not member.isfile():
                    continue
                if f".{extension.lower()}" in EXTENSIONS:
                    images[key] = (member.offset_data, member.size)
                elif f".{extension}" == LABEL_EXTENSION:
                    labels[key] = int(archive.extractfile(member).read())
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged or not an archive of images and labels: {error}") from error
    unlabelled = sorted(images.keys() - labels.keys())
    if unlabelled or not images:
        lacking = f"{unlabelled[0].lstrip('/')} has no {LABEL_EXTENSION}" if unlabelled else "it holds no images"
        raise ValueError(f"{path}: {lacking}")
    return np.array([(*images[key], labels[key]) for key in images], dtype=np.int64)
