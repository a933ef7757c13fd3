"""What is inside a checkpoint file, read without running anything that is in it."""

import argparse
import errno
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

# Where training scripts keep the weights, in the order in which the authors' evaluation looks for them.
CONTAINERS = ("model", "model_ema", "state_dict")


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or is not one of the network that it should be."""


class _Settings(dict):
    """Stands for the settings that some authors pickled beside the weights; they are never looked at."""


# Plain containers of values, which authors saved beside their weights; nothing else may be unpickled.
HARMLESS = [argparse.Namespace, (_Settings, "yacs.config.CfgNode")]

# How files begin that people take for checkpoints.
OTHER_FILES = {
    b"\x1f\x8b": "it is compressed (gzip): unpack it first",
    b"BZh": "it is compressed (bzip2): unpack it first",
    b"\xfd7zXZ": "it is compressed (xz): unpack it first",
    b"\x28\xb5\x2f\xfd": "it is compressed (zstandard): unpack it first",
    b"<": "it is a web page, perhaps the one with the link to the file",
    b"version https://git-lfs": "it only stands for a file that Git LFS keeps: fetch that",
}
TAR_MAGIC = slice(257, 262)

WEIGHT_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# More batches than anybody trains with; what is beyond was no count when it was stored.
MOST_BATCHES = 2**53


def read_checkpoint(path: str | Path) -> Mapping[str, Any]:
    """What a .safetensors file, or any file of `torch.save`, holds; tensors on the CPU.

    Raises:
        FileNotFoundError: there is no such file; OSError: it cannot be read.
        CheckpointError: the file is truncated, or no checkpoint, or holds objects other than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    try:
        contents = load_file(path) if path.suffix == ".safetensors" else _load_pickled(path)
    except Exception as error:  # In damaged bytes the readers stumble over anything.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # which torch calls an archive without its end
            raise
        raise CheckpointError(f"{path} is damaged or not a checkpoint: {_reason(path, error)}") from error
    if not isinstance(contents, Mapping):
        raise CheckpointError(f"{path} holds a {type(contents).__name__}, not a dictionary of weights")
    return contents


def _load_pickled(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        # torch does not notice flipped bits; the archive's checksums do.
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
    with torch.serialization.safe_globals(HARMLESS):
        return torch.load(path, map_location="cpu", weights_only=True)


def _reason(path: Path, error: Exception) -> str:
    """What is wrong with a file, never in torch's words: these advise to run whatever code is in it."""
    with path.open("rb") as file:
        start = file.read(TAR_MAGIC.stop)
    if not start:
        return "it is empty"
    for beginning, kind in OTHER_FILES.items():
        if start.startswith(beginning):
            return kind
    if start[TAR_MAGIC] == b"ustar":
        return "it is a tar archive: unpack it first"
    if isinstance(error, SafetensorError | zipfile.BadZipFile):
        return str(error)
    if unknown := re.search(r"GLOBAL (\S+)", str(error)):
        return (
            f"it holds objects beside tensors and plain values ({unknown[1]}), which could run code and are not loaded"
        )
    if start.startswith(b"PK"):
        whole = zipfile.is_zipfile(path)
        return "it is an archive of something else than weights" if whole else "it is an archive whose end is missing"
    return "it cannot be read as one"


def weights_in(contents: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights by name, out of the authors' containers and without the prefix of a parallel wrapper.

    Raises: CheckpointError when there are none, or an entry has no name or is not a tensor.
    """
    for container in CONTAINERS:
        if isinstance(contents.get(container), Mapping):
            contents = contents[container]
            break
    if not contents:
        raise CheckpointError("there are no weights in it")
    for key, value in contents.items():
        if not isinstance(key, str):
            raise CheckpointError(f"an entry is called {key!r}, which is a {type(key).__name__} and no name")
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{key} is a {type(value).__name__}, not a tensor")
    prefix = "module."
    if all(key.startswith(prefix) for key in contents):
        return {key.removeprefix(prefix): value for key, value in contents.items()}
    return dict(contents)


def check_entry(key: str, tensor: Tensor, like: Tensor) -> None:
    """Refuses what cannot be the values of `like`, an entry of the network, whatever its shape.

    Raises: CheckpointError naming `key`: another kind of number, or one that is not finite in the network's precision.
    """
    if tensor.is_meta or tensor.layout != torch.strided:
        raise CheckpointError(f"{key} is no plain tensor of values")
    stored = str(tensor.dtype).removeprefix("torch.")
    if like.is_floating_point():
        if tensor.dtype not in WEIGHT_TYPES:
            raise CheckpointError(f"{key} is stored as {stored}, but the network's is a floating-point number")
        if wrong := int((~tensor.to(like.dtype).isfinite()).sum()):
            raise CheckpointError(f"{key} holds NaN or infinite values ({wrong:,} of {tensor.numel():,})")
        if key.endswith("running_var") and (tensor < 0).any():
            raise CheckpointError(f"{key} holds negative values, which no variance has")
    elif like.is_complex() or like.dtype == torch.bool:
        if tensor.dtype != like.dtype or not tensor.isfinite().all():
            raise CheckpointError(f"{key} is stored as {stored}, or not finite; the network's is {like.dtype}")
    elif tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise CheckpointError(f"{key} is stored as {stored}, but the network's is an integer")
    elif key.endswith("num_batches_tracked") and not 0 <= tensor.long().sum() <= MOST_BATCHES:
        raise CheckpointError(f"{key} is {tensor.tolist()}, which is no number of batches")
