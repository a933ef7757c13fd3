"""Checkpoints that a killed run continues from.

`last.safetensors` and `best.safetensors` hold weights for users. `trainer_epoch_NNNN.pt` holds everything that the next
epoch depends on, weights included, so that one rename makes an epoch final; the newest two are kept, in case the last
one is damaged. There is no random state in it: see `training.seeds`.
"""

import logging
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

KEPT_STATES = 2
STATE_FILES = "trainer_epoch_*.pt"

log = logging.getLogger(__name__)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yields a temporary path; when the block succeeds, what was written there is on the disk and called `path`.

    At any moment `path` is absent, as before, or complete, even across a power cut.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        _flush_to_disk(temporary)
        os.replace(temporary, path)
        _flush_to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def save_weights(network: nn.Module, path: Path) -> None:
    """All parameters and persistent buffers as safetensors, on the CPU."""
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }
    with written_whole(path) as temporary:
        save_file(tensors, temporary)


def save_state(folder: Path, epochs_done: int, state: Mapping[str, Any]) -> None:
    """Makes `epochs_done` final: after this call the run continues behind it."""
    with written_whole(folder / STATE_FILES.replace("*", f"{epochs_done:04d}")) as temporary:
        torch.save(state, temporary)
    for outdated in sorted(folder.glob(STATE_FILES))[:-KEPT_STATES]:
        outdated.unlink()


def newest_state(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The newest undamaged state, with tensors on `device`; None where there is none.

    A damaged one is skipped with a warning that names it.
    """
    for path in sorted(folder.glob(STATE_FILES), reverse=True):
        try:
            # torch.load does not notice flipped bits; the archive's checksums do.
            with zipfile.ZipFile(path) as archive:
                if (damaged := archive.testzip()) is not None:
                    raise zipfile.BadZipFile(f"checksum of {damaged} is wrong")
        except zipfile.BadZipFile as error:
            log.warning("%s is damaged (%s): continuing from the checkpoint before it", path, error)
            continue
        return torch.load(path, map_location=device, weights_only=True)
    return None


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
