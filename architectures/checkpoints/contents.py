"""What is inside a checkpoint file, read without running anything that is in it."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
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
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(HARMLESS):
            contents = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # In damaged bytes the unpickler stumbles over anything.
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(f"{path} is damaged or not a checkpoint: {reason}") from error
    if not isinstance(contents, Mapping):
        raise CheckpointError(f"{path} holds a {type(contents).__name__}, not a dictionary of weights")
    return contents


def weights_in(contents: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights by name, out of the authors' containers and without the prefix of a parallel wrapper.

    Raises: CheckpointError when there are none, or an entry is not a tensor.
    """
    for container in CONTAINERS:
        if isinstance(contents.get(container), Mapping):
            contents = contents[container]
            break
    if not contents:
        raise CheckpointError("there are no weights in it")
    for key, value in contents.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{key} is a {type(value).__name__}, not a tensor")
    prefix = "module."
    if all(key.startswith(prefix) for key in contents):
        return {key.removeprefix(prefix): value for key, value in contents.items()}
    return dict(contents)
