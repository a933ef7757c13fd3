"""Weights from a run of this project into a network."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Loads `path` into `network`, strictly: every tensor must be there, none besides, all of the right shape.

    `path` is a safetensors file (its suffix may be left out), a run's directory, or its `checkpoints` folder; of these
    the weights after the last epoch are taken.

    Raises:
        FileNotFoundError: nothing of this kind at `path`.
        ValueError: the file is damaged, or does not fit; names the file and the first tensor that does not.
    """
    file = find_weights(Path(path))
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} is not a whole safetensors file: {error}") from error
    expected = network.state_dict()
    for name, value in expected.items():
        if name not in tensors:
            raise ValueError(f"{file} has no {name}, which the network needs")
        if tensors[name].shape != value.shape:
            raise ValueError(
                f"{file} has {name} of shape {tuple(tensors[name].shape)}, the network's is {tuple(value.shape)}"
            )
    for name in tensors:
        if name not in expected:
            raise ValueError(f"{file} has {name}, which the network does not know")
    network.load_state_dict(tensors)


def find_weights(path: Path) -> Path:
    """The safetensors file that `path` stands for; see `load_weights`."""
    candidates = (
        path,
        path.with_name(f"{path.name}.safetensors"),
        path / "last.safetensors",
        path / "checkpoints" / "last.safetensors",
    )
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"no weights at {path}: neither a safetensors file nor the directory of a run")
