"""The authors' released checkpoints: where each is, and how it gets onto this machine.

`releases.csv` has a row per public file:

    network     our name
    detector    what the network is the backbone of, and how long that was trained; empty: it classifies ImageNet-1k
    fetched_by  `program`: the address can be downloaded; `hand`: it is a page for people (Google Drive)
    address     of the file, or of that page
    page        where the authors point to it
    sha256      of the file, or how it begins, where it is published (torch.hub's file names end with 8 digits of it)
    remark      what a user should know beforehand

A classification network's file is asked for by the network's name, a detector's by `detector-network`, as in
`mask_rcnn_1x-unified_halo_tiny`.

Sources: the READMEs of OpenGVLab/STM-Evaluation, Atten4Vis/DemystifyLocalViT, yan-hao-tian/ConTNet and
pengzhiliang/Conformer, and of their detection code (there also Conformer-S/32); for ResNet and DeiT the addresses that
timm knows for its tags tv_in1k (torchvision, the plain recipe of the papers) and fb_in1k.

What is cached are the authors' weights under the authors' names, as safetensors: other image sizes are converted from
the tables as they were trained, and no later version of this project meets an outdated conversion.
"""

import csv
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import safe_open
from safetensors.torch import save

from .contents import CheckpointError, read_checkpoint, weights_in
from .conversion import convert
from .download import DownloadError, download

log = logging.getLogger(__name__)


class UnavailableError(OSError):
    """Official weights that cannot be had without help; the message says what to fetch and where to put it."""


@dataclass(frozen=True)
class Release:
    """A row of releases.csv."""

    network: str
    detector: str
    fetched_by: str
    address: str
    page: str
    sha256: str
    remark: str

    @property
    def name(self) -> str:
        return f"{self.detector}-{self.network}" if self.detector else self.network


def _read_releases() -> list[Release]:
    with Path(__file__).with_name("releases.csv").open(newline="", encoding="utf-8") as file:
        return [Release(**row) for row in csv.DictReader(file, strict=True)]


_ALL = _read_releases()
RELEASES = {release.name: release for release in _ALL if not release.detector}
DETECTORS = {release.name: release for release in _ALL if release.detector}


def default_cache() -> Path:
    """`~/.cache/stmbench/checkpoints`, or below XDG_CACHE_HOME where that is set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stmbench" / "checkpoints"


def check_release(name: str, cache: Path | None = None) -> None:
    """Refuses, without using the network, what `official_weights` cannot give.

    Raises:
        ValueError: the authors of `name` released no weights.
        UnavailableError: a person has to fetch them first.
    """
    release = release_of(name)
    cache = cache or default_cache()
    if release.fetched_by == "hand" and not (_kept(name, cache).is_file() or _by_hand(name, cache).is_file()):
        remark = f"; {release.remark}" if release.remark else ""
        raise UnavailableError(
            f"the official weights of {name} cannot be downloaded by a program: fetch them from {release.address} "
            f"(linked at {release.page}{remark}) and save the file as {_by_hand(name, cache)}"
        )


def release_of(name: str) -> Release:
    """Raises: ValueError when the authors of `name` released no weights."""
    release = RELEASES.get(name) or DETECTORS.get(name)
    if release is None:
        known = ", ".join(DETECTORS if "-" in name else RELEASES)
        raise ValueError(f"no official weights of {name} were released; there are some of {known}")
    return release


def official_weights(
    name: str, *, options: Mapping[str, Any] | None = None, cache: Path | None = None, show_progress: bool = True
) -> Path:
    """The authors' weights of `name` as a safetensors file for `load_official`, from the cache once they are there.

    Otherwise from the file that a person put into the cache, or from the authors' address. Before it is cached, a file
    is converted once for the network with `options` at 224 pixels and 1000 classes (a detector's for the network's
    detection form), so that only weights that fit are kept. Beside the cached file stands its SHA-256 in the format of
    `sha256sum`, and every later call holds the file against it; its metadata, `origin`, has the source and the SHA-256
    of the original.

    Raises:
        ValueError: the authors released no weights.
        UnavailableError: no network, or a file that only a person can fetch; says from where and whereto.
        CheckpointError: a damaged file, one of another network or with another hash than published; names the source.
    """
    release, cache = release_of(name), cache or default_cache()
    kept = _kept(name, cache)
    if kept.is_file():
        if _is_unchanged(kept):
            return kept
        log.warning("%s has changed since it was written, so the original is fetched again", kept)
        kept.unlink(missing_ok=True)
    check_release(name, cache)
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=cache, prefix=".") as folder:
        original, source = _by_hand(name, cache), str(_by_hand(name, cache))
        if not original.is_file():
            original, source = Path(folder) / original.name, release.address
            try:
                download(release.address, original, show_progress)
            except DownloadError as error:
                message = f"{error}; fetch it by hand and save it as {_by_hand(name, cache)}"
                raise UnavailableError(message) from error
        try:
            _keep(release, original, source, options, kept, Path(folder))
        except CheckpointError as error:
            # Whoever reads this never saw the temporary file.
            raise CheckpointError(str(error).replace(str(original), source)) from error
    log.info("the official weights of %s are kept in %s", name, kept)
    return kept


def release_digest(name: str, cache: Path | None = None) -> str:
    """12 hexadecimal digits for the authors' weights of `name`; the network is not used.

    Of a file that a program can fetch it is made of its address and what is published of its hash, so that it is the
    same before and after it was fetched; of one that only a person can fetch, of the file's own hash.

    Raises: as `check_release`.
    """
    check_release(name, cache)
    release, cache = release_of(name), cache or default_cache()
    text = f"{release.address} {release.sha256}"
    if release.fetched_by == "hand":
        original = _by_hand(name, cache)
        text = _sha256(original) if original.is_file() else _origin(_kept(name, cache))["sha256"]
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _origin(kept: Path) -> dict[str, str]:
    """What `_keep` has written into the file about where it comes from."""
    with safe_open(kept, "pt") as file:
        return json.loads(file.metadata()["origin"])


def _kept(name: str, cache: Path) -> Path:
    return cache / f"{name}.safetensors"


def _by_hand(name: str, cache: Path) -> Path:
    """Where a person puts the authors' file."""
    return cache / f"{name}.pth"


def _record(kept: Path) -> Path:
    return kept.with_name(f"{kept.name}.sha256")


def _keep(
    release: Release, original: Path, source: str, options: Mapping[str, Any] | None, kept: Path, folder: Path
) -> None:
    """Moves the weights in `original` to `kept`, by way of the temporary `folder`, if they are the network's."""
    digest = _sha256(original)
    if not digest.startswith(release.sha256):
        published = f"that of the published file begins with {release.sha256}"
        raise CheckpointError(f"{original} has the SHA-256 {digest}, {published}")
    contents = read_checkpoint(original)
    options = dict(options or {}) | ({"detection": True} if release.detector else {})
    try:
        convert(release.network, contents, options=options)
    except CheckpointError as error:
        raise CheckpointError(f"{original}: {error}") from error
    weights = {key: value.contiguous().clone() for key, value in weights_in(contents).items()}
    written = folder / kept.name
    # One entry, because several are written in random order, and equal weights must be equal files: when processes
    # fetch them at the same time, the record may be of one and the weights of another.
    origin = json.dumps({"network": release.network, "source": source, "sha256": digest})
    # Not `save_file`, whose files nobody else may read, also in a cache that people share.
    written.write_bytes(save(weights, metadata={"origin": origin}))
    _record(written).write_text(f"{_sha256(written)}  {kept.name}\n", encoding="utf-8")
    # The record first: weights without one are fetched again.
    os.replace(_record(written), _record(kept))
    os.replace(written, kept)


def _is_unchanged(kept: Path) -> bool:
    record = _record(kept)
    return record.is_file() and record.read_text(encoding="utf-8").split()[:1] == [_sha256(kept)]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
