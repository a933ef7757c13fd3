"""A trained network, or one made of it, answers views of the validation images: with progress, kept, never twice."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from torch import nn

from architectures.inference import inference_form
from training.data import Batches
from training.progress import Progress
from training.views import Group, answer_groups, passes_left

from ..hooks import VIEWS, Hooks
from ..task import CellOfTask
from .trained import Trained


@dataclass(frozen=True)
class Question:
    """Views that are answered in one pass.

    Attributes:
        network: makes the one that answers, in eval mode, when it is its turn.
        batches: makes the images.
    """

    group: Group
    network: Callable[[], nn.Module]
    batches: Callable[[], Batches]


def answers(
    subject: Trained, questions: Sequence[Question], cell: CellOfTask, hooks: Hooks
) -> Iterator[dict[str, np.ndarray]]:
    """For each question the outcomes of its views by name, see `training.outcomes`.

    What was answered under the same code before is read from the cell's folder.
    """
    folder, groups = cell.directory / VIEWS / hooks.version, [question.group for question in questions]
    with Progress(f"{cell.config['task']['name']} on {subject.data.name}", hooks.show_progress) as progress:
        progress.begin(passes_left(groups, folder) * len(questions[0].batches()))
        for question in questions:
            form = cache(
                lambda question=question: inference_form(question.network())
            )  # of the last one no more is kept
            for _, found in answer_groups(
                [question.group],
                question.batches,
                lambda pixels, form=form: subject.logits(form(), pixels),
                folder=folder,
                on_batch=progress.advance,
            ):
                yield dict(found)
