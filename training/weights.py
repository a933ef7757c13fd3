"""Weights from a run of this project, or any with our names, into a network."""

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from architectures.checkpoints import CheckpointError, check_entry, read_checkpoint, weights_in
from architectures.resizing import resized

log = logging.getLogger(__name__)


def load_weights(network: nn.Module, path: str | Path, *, fine_tuning: bool = False) -> None:
    """Loads `path` into `network`, strictly: see `load_tensors`.

    `path` is a safetensors file (its suffix may be left out), a run's directory, or its `checkpoints` folder; of these
    the weights after the last epoch are taken.

    Raises:
        FileNotFoundError: nothing of this kind at `path`.
        ValueError: the file is damaged, or does not fit; names the file and the first tensor that does not.
    """
    file = find_weights(Path(path))
    load_tensors(network, read_weights(file), file, fine_tuning=fine_tuning)


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a file by name.

    Raises: CheckpointError when it is damaged, or holds something else; names the file.
    """
    contents = read_checkpoint(file)
    try:
        return weights_in(contents)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from error


def load_tensors(
    network: nn.Module, tensors: Mapping[str, Tensor], source: str | Path, *, fine_tuning: bool = False
) -> None:
    """Loads `tensors`, strictly: every one must be there, none besides, all of the right shape and kind, and finite.

    Tables that were learned for another window or image size are resized by the module that has them. With
    `fine_tuning`, the classifier is another exception: where theirs is for another number of classes, or they have
    none, the network keeps its own.

    Raises: ValueError when they do not fit; names `source` and the first tensor that does not. Nothing is loaded then.
    """
    expected = network.state_dict()
    if fine_tuning:
        tensors = _with_own_classifier(network, tensors, source)
    for name, value in expected.items():
        if name in tensors:
            try:
                check_entry(name, tensors[name], value)
            except CheckpointError as error:
                raise CheckpointError(f"{source}: {error}") from error
    saved, tensors = tensors, resized(network, tensors)
    changed = [name for name, tensor in tensors.items() if tensor is not saved[name]]
    if changed:
        log.info("%s is of another window or image size: %d tables resized, %s, ...", source, len(changed), changed[0])
    for name, value in expected.items():
        if name not in tensors:
            raise ValueError(f"{source} has no {name}, which the network needs")
        if tensors[name].shape != value.shape:
            raise ValueError(
                f"{source} has {name} of shape {tuple(tensors[name].shape)}, the network's is {tuple(value.shape)}"
            )
    for name in tensors:
        if name not in expected:
            raise ValueError(f"{source} has {name}, which the network does not know")
    network.load_state_dict(tensors)


def _with_own_classifier(network: nn.Module, tensors: Mapping[str, Tensor], source: str | Path) -> dict[str, Tensor]:
    """`tensors` with the network's own classifiers in place of those that differ in the number of classes only, or are
    not there at all.
    """
    own = network.state_dict()
    classifiers = network.pretrained_cfg["classifier"]
    names = [classifiers] if isinstance(classifiers, str) else classifiers
    mine = {key: value for key, value in own.items() if key.rpartition(".")[0] in names}
    if not mine.keys() & tensors.keys():
        what, fresh = "without a classifier", mine
    else:
        what, fresh = (
            "for another number of classes",
            {
                key: value
                for key, value in mine.items()
                if key in tensors and len(tensors[key]) != len(value) and tensors[key].shape[1:] == value.shape[1:]
            },
        )
    if fresh:
        log.info("%s is %s: %s left as initialised", source, what, ", ".join(fresh))
    return dict(tensors) | fresh


def find_weights(path: Path, *, average: bool = False) -> Path:
    """The file that `path` stands for; see `load_weights`. With `average`, the moving average in a run's directory."""
    name = "last_ema.safetensors" if average else "last.safetensors"
    in_directory = (path / name, path / "checkpoints" / name)
    candidates = in_directory if average else (path, path.with_name(f"{path.name}.safetensors"), *in_directory)
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if average:
        raise FileNotFoundError(f"no moving average of weights at {path}, which must be the directory of a run")
    raise FileNotFoundError(f"no weights at {path}: neither a file of weights nor the directory of a run")
