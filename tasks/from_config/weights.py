"""Which weights a network starts from: a run's, a file of the authors', or their release (`weights=official`)."""

import hashlib
from functools import cache
from pathlib import Path

from torch import nn

from architectures import NetworkSpec, is_published, registered_name
from architectures.checkpoints import (
    check_release,
    into_detection_form,
    is_detection_form,
    load_official,
    official_weights,
    release_digest,
)
from training.weights import find_weights, load_tensors, read_weights

OFFICIAL = "official"
# What every official network tells apart, those of ImageNet-1k.
OFFICIAL_CLASSES = 1000


def check_weights(spec: NetworkSpec, weights: str, *, fine_tuning: bool, average: bool = False) -> None:
    """Refuses weights that cannot be loaded, as far as that is known without reading or fetching them.

    Raises:
        FileNotFoundError: `weights` is a path at which there are none.
        ValueError: there are no official weights of this network, or they are for other classes.
        UnavailableError: a person has to fetch them first; says from where.
    """
    if weights != OFFICIAL or average:
        find_weights(Path(weights), average=average)
        return
    check_release(_released_name(spec))
    if spec.num_classes != OFFICIAL_CLASSES and not fine_tuning:
        raise ValueError(
            f"official weights tell the {OFFICIAL_CLASSES} classes of ImageNet apart, not {spec.num_classes} others: "
            f"train them on this data first (task=train)"
        )


def weights_digest(spec: NetworkSpec, weights: str, *, average: bool = False) -> str:
    """Tells weights from others by the content of their file, wherever it lies; 12 hexadecimal digits.

    Raises: as `check_weights`.
    """
    if weights == OFFICIAL and not average:
        return release_digest(_released_name(spec))
    file = find_weights(Path(weights), average=average)
    found = file.stat()
    return _sha256(file, found.st_size, found.st_mtime_ns, found.st_ino)[:12]


@cache
def _sha256(file: Path, *state: int) -> str:
    """Read once a process, while nothing in its `state` changes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load(
    network: nn.Module,
    spec: NetworkSpec,
    weights: str,
    *,
    fine_tuning: bool,
    show_progress: bool,
    average: bool = False,
) -> None:
    """Loads `weights` into `network`, which `spec` describes; all of them must fit.

    Args:
        weights: "official", or a path: a run's directory, a .safetensors file of ours, any other file of the authors'.
        average: of a run's directory, the moving average of the weights.
        fine_tuning: keep the network's own classifier where the weights have one for another number of classes.

    Raises:
        FileNotFoundError: nothing at that path.
        ValueError: a damaged file, or weights of another network; names the file and the first wrong entry.
        UnavailableError: see `architectures.checkpoints.official_weights`.
    """
    if weights == OFFICIAL:
        name = _released_name(spec)
        file = official_weights(name, options=spec.options, show_progress=show_progress)
    else:
        file = find_weights(Path(weights), average=average)
        if file.suffix == ".safetensors":
            tensors = read_weights(file)
            if is_detection_form(spec):
                tensors = into_detection_form(spec, tensors, file)
            load_tensors(network, tensors, file, fine_tuning=fine_tuning)
            return
        name = _released_name(spec)
    tensors = load_official(
        file,
        name,
        img_size=spec.img_size,
        in_chans=spec.in_chans,
        num_classes=OFFICIAL_CLASSES if fine_tuning else spec.num_classes,
        options=spec.options,
        mixer_options=spec.mixer_options,
    )
    load_tensors(network, tensors, file, fine_tuning=fine_tuning)


def _released_name(spec: NetworkSpec) -> str:
    """The name under which authors may have released the network."""
    name = registered_name(spec)
    if name is None or not is_published(spec):
        mixers = spec.mixer if isinstance(spec.mixer, str) else ", ".join(spec.mixer)
        how = "" if name is None else f", of other dims and depths than published (budget={spec.budget}),"
        raise ValueError(f"the unified network with mixer {mixers} at scale {spec.scale}{how} has no official weights")
    return name
