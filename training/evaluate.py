"""How good a network is: accuracy and loss over all validation images."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from architectures.inference import inference_form

from .augmentation import Normalize
from .data import Batches, check_data, validation_batches
from .distributed import ALONE, Ranks, from_all
from .nonfinite import NonFiniteLossError
from .outcomes import Answers, Outcomes, answers
from .precision import autocast, check_precision
from .progress import Progress
from .settings import DataSettings


def evaluate(
    network: nn.Module,
    data: DataSettings,
    *,
    precision: str,
    device: str,
    batch_size: int,
    show_progress: bool,
    directory: Path | None = None,
) -> dict[str, float]:
    """Accuracy of `network`, as it is, on the validation images of `data`.

    On the CPU, the scores of a run's last epoch come out again, bit for bit, for its last weights: validation in
    training is the same function, in the same memory format, over batches of VALIDATION_BATCH_SIZE images. With another
    `batch_size` or several ranks, sums are made in another order, and the last digits of the loss differ.

    Args:
        directory: where `outcomes.npy` is left, see `training.outcomes`; None leaves nothing.

    Returns:
        `top1_percent`, `top5_percent`, `validation_loss` (cross entropy), `validation_images` (those in the scores),
        `corrupt_validation_images` (those that could not be read) and `evaluation_images_per_second`.

    Raises:
        ValueError, OSError: as `training.data.check_data`.
        NonFiniteLossError: the network's answers are not finite.
        NoImagesError: not one image can be read.
    """
    check_precision(precision)
    check_data(data, splits=("validation",))
    place = torch.device(device)
    batches = validation_batches(data, batch_size=batch_size, device=place)
    outcomes = Outcomes()
    start = time.perf_counter()
    with Progress(f"evaluate on {data.name}", show_progress) as progress:
        progress.begin(len(batches))
        scores = validate(
            at(place, network),
            batches,
            Normalize(data, place),
            precision,
            on_batch=progress.advance,
            outcomes=outcomes,
        )
    scores["evaluation_images_per_second"] = scores["validation_images"] / (time.perf_counter() - start)
    if directory is not None:
        outcomes.write(directory / "outcomes.npy", batches)
    return scores


def at(place: torch.device, network: nn.Module) -> nn.Module:
    """`network` there, in the memory format of training and evaluation."""
    return network.to(place, memory_format=torch.channels_last)


class NoImagesError(OSError):
    """Not one validation image counts in the scores."""


@torch.no_grad()  # not inference_mode: what a network from elsewhere caches here it may use in the next training step
def validate(
    network: nn.Module,
    batches: Batches,
    normalize: Normalize,
    precision: str,
    on_batch: Callable[[], None] = lambda: None,
    ranks: Ranks = ALONE,
    outcomes: Outcomes | None = None,
) -> dict[str, float]:
    """Scores over one pass of `batches`, of all ranks together; the network is left in evaluation mode.

    Its inference form answers, which is made here and ends here. What it answers is added to `outcomes`.
    """
    form = inference_form(network.eval())
    totals = torch.zeros(4, dtype=torch.float64)
    for pixels, labels in batches.epoch(0):
        with autocast(pixels.device, precision):
            logits = form(normalize(pixels))
        if batches.classes is not None:
            logits = only(batches.classes.to(logits.device), logits)
        answered = answers(logits.float(), labels)
        totals = totals.to(pixels.device) + _sums(answered)
        if outcomes is not None:
            outcomes.add(answered)
        on_batch()
    if ranks.count > 1:
        torch.distributed.all_reduce(totals)
    loss, top1, top5, count = totals.tolist()
    if count == 0:
        raise NoImagesError(
            f"none of the {batches.findings.images} validation images can be read as an image with a label, "
            f"e.g. {next(iter(batches.findings.corrupt), 'all are without a label')}: look at data.root"
        )
    if not math.isfinite(loss):
        raise NonFiniteLossError(f"the validation loss is {loss / count}: the network's answers are not finite")
    return {
        "validation_loss": loss / count,
        "top1_percent": 100 * top1 / count,
        "top5_percent": 100 * top5 / count,
        "validation_images": int(count),
        "corrupt_validation_images": sum(from_all(len(batches.findings.corrupt), ranks)),
    }


def only(classes: Tensor, logits: Tensor) -> Tensor:
    """Logits (B, classes of the network) in which none but `classes` can win or take part in the loss."""
    kept = torch.full_like(logits, -math.inf)
    kept[:, classes] = logits[:, classes]
    return kept


def _sums(answered: Answers) -> Tensor:
    """Summed loss, images right at first guess, images right within five guesses, images; float64, on the device.

    Images without any label count in nothing.
    """
    losses = torch.where(answered.labelled, -answered.log_probability, 0)
    return torch.stack([value.sum().double() for value in (losses, answered.top1, answered.top5, answered.labelled)])
