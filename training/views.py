"""Accuracy under changes of the images: every view of every image is answered, kept image by image, and never twice.

A view is a function of pixels; views that share work are a group, answered in one pass over the data. What a group was
answered is written whole when its pass ends, so that a run that was killed goes on with the next group.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .data import Batches
from .evaluate import only
from .outcomes import Outcomes, answers

View = Callable[[Tensor, Tensor], Tensor]
"""Pixel values between 0 and 255 (B, 3, H, W) and labels (B) -> pixel values of the same kind."""


@dataclass(frozen=True)
class Group:
    """Views by name, answered in one pass; the name of a view is a file's."""

    name: str
    views: Mapping[str, View]


def answer_groups(
    groups: Sequence[Group],
    batches: Callable[[], Batches],
    logits: Callable[[Tensor], Tensor],
    *,
    folder: Path,
    on_batch: Callable[[str], None] = lambda group: None,
) -> Iterator[tuple[Group, Mapping[str, np.ndarray]]]:
    """Each group with the outcomes of its views (see `training.outcomes`), computed or read from `folder`.

    Args:
        batches: makes the validation batches, anew for each pass.
        logits: pixel values between 0 and 255 -> logits (B, classes), float32.
        folder: FOLDER/GROUP/VIEW.npy is left there. It must belong to these images, weights and code: nothing is
            checked here.
        on_batch: called with the group's name after each batch.
    """
    for group in groups:
        place = folder / group.name
        if not (place / "complete").exists():
            _answer(group, batches(), logits, place, on_batch)
        yield group, {view: np.load(place / f"{view}.npy", allow_pickle=False) for view in group.views}


@torch.no_grad()
def _answer(
    group: Group,
    batches: Batches,
    logits: Callable[[Tensor], Tensor],
    place: Path,
    on_batch: Callable[[str], None],
) -> None:
    found = {name: Outcomes() for name in group.views}
    for pixels, labels in batches.epoch(0):
        for name, view in group.views.items():
            with torch.enable_grad():  # for views that follow the network's gradient; others compute none
                seen = view(pixels, labels)
            answered = logits(seen.detach())
            if batches.classes is not None:
                answered = only(batches.classes.to(answered.device), answered)
            found[name].add(answers(answered, labels))
        on_batch(group.name)
    place.mkdir(parents=True, exist_ok=True)
    for name, outcomes in found.items():
        outcomes.write(place / f"{name}.npy", batches)
    (place / "complete").touch()


def passes_left(groups: Sequence[Group], folder: Path) -> int:
    """How many groups are still to be answered."""
    return sum(not (folder / group.name / "complete").exists() for group in groups)
