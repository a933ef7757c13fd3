"""What tells one data set from another: its images, by name, label and size, not where they lie.

The digest of files is made of each one's path below `data.root`, label and size, so that the same files elsewhere are
the same data. Of a set of at most SMALL_BYTES and SMALL_COUNT files it is also made of what is in them; a file of a
larger one that is replaced by another of the same size is not noticed. Times are no part of a digest: copies have
others.

A set of more than SMALL_COUNT files is listed once: the digest is kept in the user's cache, with the times of all
folders that hold images, of the files beside them (lists, archives), and of SAMPLE images spread evenly over the set.
As long as these are the same, it is taken from there. Files that are added, removed or renamed change the time of their
folder; a set that is rewritten in place is noticed by the sample, a single image of another size that is written in
place is not.
"""

import hashlib
import json
import logging
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..settings import DataSettings
from ..whole_file import write_whole
from .images import ImageFiles, Images, Split, StoredImages
from .tar_shards import TarImages

SMALL_BYTES = 2**26
SMALL_COUNT = 10_000
SAMPLE = 1000
SLOW_COUNT = 100_000

log = logging.getLogger(__name__)


def images_digest(data: DataSettings, split: Split, load: Callable[[DataSettings, Split], Images]) -> str:
    """12 hexadecimal digits for what `load` gives.

    Raises: what `load` raises.
    """
    kept = _Kept(data, split)
    if (digest := kept.read()) is not None:
        return digest
    images = load(data, split)
    labels = hashlib.sha256(images.labels.numpy().tobytes())
    if images.classes is not None:
        labels.update(images.classes.numpy().tobytes())
    if isinstance(images, StoredImages):
        labels.update(f"{tuple(images.pixels.shape)}".encode() + images.pixels.contiguous().numpy().tobytes())
        return labels.hexdigest()[:12]
    if isinstance(images, TarImages):
        labels.update(images.archives.tobytes() + images.offsets.tobytes() + images.sizes.tobytes())
    if not isinstance(images, ImageFiles | TarImages):
        raise TypeError(f"data.source={data.source} needs a digest of its own, for {type(images).__name__} is no file")
    labels.update(files_digest(str(data.root), images.paths).encode())
    if len(images.paths) > SMALL_COUNT:
        kept.write(labels.hexdigest()[:12], images.paths)
    return labels.hexdigest()[:12]


def files_digest(root: str, paths: Sequence[str]) -> str:
    """Of files below `root`, in this order."""
    if len(paths) > SLOW_COUNT:
        log.warning("%s: the sizes of %d files are looked at, which is done once", root, len(paths))
    sizes = [_size(path) for path in paths]
    small = len(paths) <= SMALL_COUNT and sum(sizes) <= SMALL_BYTES
    prefix = os.path.join(root, "")
    digest = hashlib.sha256()
    for path, size in zip(paths, sizes, strict=True):
        digest.update(f"{path.removeprefix(prefix)}\0{size}\0".encode(errors="surrogateescape"))
        if small and size >= 0:
            digest.update(_content(path))
    return digest.hexdigest()


def _size(path: str) -> int:
    """In bytes; -1 for what is no file, or none that can be looked at."""
    try:
        found = os.stat(path)
    except OSError:
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:  # of which reading the images will tell
        return f"unreadable: {error.errno}".encode()


class _Kept:
    """The digest of a large set in the user's cache."""

    def __init__(self, data: DataSettings, split: Split) -> None:
        self.root = str(data.root)
        place = f"{data.source}\0{split}\0{os.path.realpath(self.root)}"
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stmbench" / "data"
        self.path = cache / f"{hashlib.sha256(place.encode()).hexdigest()[:24]}.json"

    def read(self) -> str | None:
        """None where there is none, or where something has changed since."""
        try:
            kept = json.loads(self.path.read_bytes())
            return kept["digest"] if all(_state(path) == state for path, state in kept["watched"].items()) else None
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):  # none, or a damaged one
            return None

    def write(self, digest: str, paths: Sequence[str]) -> None:
        folders = {os.path.dirname(path) for path in paths}
        root = Path(self.root)
        above = {str(parent) for folder in folders for parent in Path(folder).parents if parent.is_relative_to(root)}
        beside = [entry.path for folder in (self.root, os.path.join(self.root, "meta")) for entry in _entries(folder)]
        sample = paths[:: max(1, len(paths) // SAMPLE)]
        watched = {path: _state(path) for path in sorted({*folders, *above, *beside, *sample})}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, json.dumps({"digest": digest, "watched": watched}).encode())
        except OSError as error:
            log.warning("the digest of %s is not kept, and will be made again: %s", self.root, error)


def _entries(folder: str) -> Iterable[os.DirEntry[str]]:
    return os.scandir(folder) if os.path.isdir(folder) else ()


def _state(path: str) -> list[int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]
