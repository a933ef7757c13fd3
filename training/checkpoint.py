"""Checkpoints that a killed run continues from.

`last.safetensors` and `best.safetensors` hold weights for users. `trainer_step_NNNNNNNN.pt` holds everything that the
step NNNNNNNN and those after it depend on, weights included, so that one rename makes the steps before it final; the
newest few are kept, in case the last one is damaged. There is no random state in it: see `training.seeds`. Nothing
depends on the last step of a run, so whoever has noted that it is complete removes them all.
"""

import io
import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from .whole_file import write_whole

STATE_FILES = "trainer_step_*.pt"

log = logging.getLogger(__name__)


def remove_unfinished(folder: Path) -> None:
    """What a process that was killed while it wrote has left. Only for the one that holds the folder now."""
    for leftover in folder.glob(".*.*"):
        leftover.unlink(missing_ok=True)


def save_weights(network: nn.Module, path: Path) -> None:
    """All parameters and persistent buffers as safetensors."""
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }
    write_whole(path, safetensors.torch.save(tensors))


def save_state(folder: Path, steps_done: int, state: Mapping[str, Any], *, kept: int) -> None:
    """Makes `steps_done` final: after this call the run continues behind them. Keeps the newest `kept` states."""
    content = io.BytesIO()  # written straight to a full disk, torch.save raises an error that does not say so
    torch.save(state, content)
    write_whole(folder / STATE_FILES.replace("*", f"{steps_done:08d}"), content.getvalue())
    for outdated in sorted(folder.glob(STATE_FILES))[:-kept]:
        outdated.unlink()


def remove_states(folder: Path) -> None:
    """Raises: OSError where one cannot be removed."""
    for path in folder.glob(STATE_FILES):
        path.unlink(missing_ok=True)


def newest_state(folder: Path) -> Path | None:
    """The newest undamaged state; None where there is none. A damaged one is skipped with a warning that names it."""
    for path in sorted(folder.glob(STATE_FILES), reverse=True):
        try:
            # torch.load does not notice flipped bits; the archive's checksums do.
            with zipfile.ZipFile(path) as archive:
                if (damaged := archive.testzip()) is not None:
                    raise zipfile.BadZipFile(f"checksum of {damaged} is wrong")
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            log.warning("%s is damaged (%s): continuing from the checkpoint before it", path, error)
            continue
        return path
    return None


def load_state(path: Path, device: torch.device) -> dict[str, Any]:
    return torch.load(path, map_location=device, weights_only=True)
