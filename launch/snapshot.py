"""Copies of the code that a sweep's cells run from, so that editing it meanwhile changes nothing."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.environment import REPOSITORY, SNAPSHOT_FILE, commit, uncommitted_changes

from .cell import Cell
from .submission import LaunchError, Sweep

# What a cell imports, and the values it was composed from.
PACKAGES = ("analysis", "architectures", "conf", "launch", "mixers", "tasks", "training")
IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc")


def take_snapshot(folder: Path) -> Path:
    """Copy the packages that are running now to `folder`/<hash of their content>, unless they are there already.

    Works for a git checkout and for an installed package. `snapshot.json` says where it is from (commit, and whether
    files differed from it); if they did, `changes.diff` says how.

    Raises:
        OSError: the disk is full or not writable; no half of a snapshot is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copy = Path(tempfile.mkdtemp(prefix=".copying-", dir=folder))
    try:
        for package in PACKAGES:
            shutil.copytree(REPOSITORY / package, copy / package, ignore=IGNORED)
        place = folder / _digest(copy)
        if place.exists():
            return place
        _describe(copy)
        _put(copy, place)
        return place
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def freeze(sweep: Sweep, cells: Sequence[Cell] = ()) -> str:
    """Write the configuration of each cell, with copies of the user's files and what these import; return our code's.

    Raises:
        OSError: the disk is full or not writable.
        LaunchError: a user's file was edited since its cell was composed.
    """
    for cell in cells:
        config = cell.config
        for key in ("mixer_module", "task_module"):
            config = freeze_module(config, key, sweep.launch_folder / f"{key}s")
        Cell(config, cell.found_in).write_config()
    return str(take_snapshot(sweep.launch_folder / "code").absolute())


def freeze_module(config: Mapping[str, Any], key: str, folder: Path) -> Mapping[str, Any]:
    """`config` with the user's file at `key` replaced by a copy under `folder`, named by the hash of its content.

    The user's modules that the file imports are copied beside it, where the copy finds them.

    Raises:
        LaunchError: the file, or one of these modules, was edited since the cell was composed.
    """
    if config.get(key) is None:
        return config
    source, digest = Path(config[key]), config["contents"][key]
    copy = (folder / digest / source.name).absolute()
    if not copy.exists():
        from mixers import module_digest, own_modules  # which takes seconds

        folder.mkdir(parents=True, exist_ok=True)
        copying = Path(tempfile.mkdtemp(prefix=".copying-", dir=folder))
        try:
            for name, file in own_modules(source).items():
                place = copying.joinpath(*name.split("."))
                place = place / file.name if file.name == "__init__.py" else place.with_name(file.name)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
            shutil.copyfile(source, copying / source.name)
            if module_digest(copying / source.name) != digest:
                raise LaunchError(f"{key}={source} was edited meanwhile: give the whole command again")
            _put(copying, copy.parent)
        finally:
            shutil.rmtree(copying, ignore_errors=True)
    return {**config, key: str(copy)}


def _put(copy: Path, place: Path) -> None:
    """Under its own name once it is complete, unless somebody has just put the same there."""
    copy.chmod(0o755)  # mkdtemp lets only the owner in
    try:
        os.rename(copy, place)
    except OSError:
        if not place.exists():
            raise


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:12]


def _describe(copy: Path) -> None:
    name, dirty = commit()
    origin = {"source": str(REPOSITORY), "commit": name, "dirty": dirty}
    (copy / SNAPSHOT_FILE).write_text(json.dumps(origin, indent=1), encoding="utf-8")
    if dirty:
        (copy / "changes.diff").write_bytes(uncommitted_changes())
