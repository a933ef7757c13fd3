"""The training loop: network, data and recipe in; checkpoints, `metrics.jsonl` and scores out."""

import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .augmentation import TrainingAugmentation
from .checkpoint import newest_state, save_state, save_weights, write_whole
from .data import Batches, check_data, count_classes, training_batches, validation_batches
from .evaluate import NonFiniteLossError, validate
from .learner import Learner
from .precision import check_precision
from .progress import Progress
from .recipe import check_recipe
from .schedule import SCHEDULES
from .seeds import STEP, seed_global_generators
from .settings import DataSettings, RecipeSettings

STEPS_BETWEEN_READINGS = 20
"""Reading a loss makes the CPU wait for the GPU, so it is done for several steps at once."""

Row = dict[str, float]


def train(
    network: nn.Module,
    data: DataSettings,
    recipe: RecipeSettings,
    *,
    directory: Path,
    seed: int,
    precision: str,
    device: str,
    on_epoch: Callable[[Row], None] | None = None,
    show_progress: bool = True,
) -> dict[str, float]:
    """Trains `network` in place, on `device`, and validates it after each epoch.

    Writes `metrics.jsonl` (a line per epoch) and `checkpoints/` under `directory`. If these hold a run with the same
    settings, it is continued after its last finished epoch; on the CPU the outcome is the same as without interruption.
    A network that answers with a tuple in training mode learns from the mean of its members' losses.

    Args:
        precision: `fp32`, `bf16` or `fp16`; the latter two by autocast.
        on_epoch: called with each new line of `metrics.jsonl`.

    Returns:
        The last epoch's `top1_percent`, `top5_percent`, `train_loss` and `validation_loss` (with a moving average of
        the weights also its own, `ema_top1_percent` and so on); `best_top1_percent` and `best_epoch`; `epochs`,
        `train_seconds` and `train_images_per_second` over all epochs, validation excluded.

    Raises:
        ValueError, OSError: settings or files that cannot work, or another run's checkpoints in `directory`.
        NonFiniteLossError: the loss became NaN or infinite; the checkpoints of the epochs before remain.
    """
    check_precision(precision)
    check_recipe(recipe)
    check_data(data)
    place = torch.device(device)
    batches = training_batches(data, recipe, seed=seed, device=place)
    validation = validation_batches(data, batch_size=recipe.batch_size // recipe.accumulation, device=place)
    augment = TrainingAugmentation(data, recipe, count_classes(data), place)
    learner = Learner(network, recipe, precision=precision, device=place)

    checkpoints = Path(directory) / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    settings = defining_settings(data, recipe, seed, precision)
    history = restore(learner, checkpoints, settings)
    write_metrics(Path(directory) / "metrics.jsonl", history)

    with Progress(f"train on {data.name}", show_progress) as progress:
        progress.begin(recipe.epochs * len(batches), done=len(history) * len(batches))
        for epoch in range(len(history), recipe.epochs):
            row = train_epoch(learner, batches, augment, epoch, seed, progress)
            row |= validate_epoch(learner, validation, augment)
            history.append(row)
            save_epoch(learner, checkpoints, settings, history)
            write_metrics(Path(directory) / "metrics.jsonl", history)
            progress.report(recipe.epochs, row)
            if on_epoch is not None:
                on_epoch(row)
    return summarize(history)


def train_epoch(
    learner: Learner, batches: Batches, augment: TrainingAugmentation, epoch: int, seed: int, progress: Progress
) -> Row:
    """All steps of an epoch (counted from 0)."""
    learner.network.train()
    recipe = learner.recipe
    schedule = SCHEDULES[recipe.schedule]
    unread: list[Tensor] = []
    losses: list[float] = []
    waiting = 0.0
    start = time.perf_counter()
    stream = batches.epoch(epoch)
    for index in range(len(batches)):
        asked = time.perf_counter()
        pixels, labels = next(stream)
        waiting += time.perf_counter() - asked

        step = epoch * len(batches) + index
        seed_global_generators(seed, STEP, step)
        images, targets = augment(pixels, labels)
        learning_rate = schedule(step, recipe, len(batches))
        unread.append(learner.step(images, targets, learning_rate, augment.label_smoothing))

        news = None
        if len(unread) == STEPS_BETWEEN_READINGS or index + 1 == len(batches):
            losses += torch.stack(unread).tolist()
            unread.clear()
            refuse_non_finite(losses, epoch, len(batches))
            speed = len(losses) * recipe.batch_size / (time.perf_counter() - start)
            news = f"epoch {epoch + 1}/{recipe.epochs}  loss {losses[-1]:.3f}  {speed:.0f} images/s"
        progress.advance(news)
    seconds = time.perf_counter() - start
    return {
        "epoch": epoch + 1,
        "train_loss": sum(losses) / len(losses),
        "learning_rate": learning_rate,
        "train_seconds": seconds,
        "train_images": len(losses) * recipe.batch_size,
        "images_per_second": len(losses) * recipe.batch_size / seconds,
        "data_wait_percent": 100 * waiting / seconds,
        "corrupt_images": len(batches.findings.corrupt),
    }


def validate_epoch(learner: Learner, validation: Batches, augment: TrainingAugmentation) -> Row:
    """Scores of the weights and, under names that begin with `ema_`, of their moving average."""
    start = time.perf_counter()
    scores = validate(learner.network, validation, augment.normalize, learner.precision)
    if learner.average is not None:
        averaged = validate(learner.average.module, validation, augment.normalize, learner.precision)
        scores |= {f"ema_{name}": value for name, value in averaged.items() if not name.endswith("_images")}
    return scores | {"validation_seconds": time.perf_counter() - start}


def refuse_non_finite(losses: list[float], epoch: int, steps_per_epoch: int) -> None:
    """Raises NonFiniteLossError naming the first step of the epoch whose loss is NaN or infinite."""
    for index, loss in enumerate(losses):
        if not math.isfinite(loss):
            step = epoch * steps_per_epoch + index
            raise NonFiniteLossError(
                f"the training loss became {loss} at step {step} (epoch {epoch + 1}, step {index + 1} of "
                f"{steps_per_epoch}); lower recipe.learning_rate, or set recipe.clip_gradient_norm or precision=fp32"
            )


def save_epoch(learner: Learner, checkpoints: Path, settings: dict[str, Any], history: list[Row]) -> None:
    """The state comes last: it makes the epoch final."""
    save_weights(learner.network, checkpoints / "last.safetensors")
    if learner.average is not None:
        save_weights(learner.average.module, checkpoints / "last_ema.safetensors")
    if best_row(history) is history[-1]:
        save_weights(learner.network, checkpoints / "best.safetensors")
    save_state(checkpoints, len(history), {"settings": settings, "history": history, "learner": learner.state_dict()})


def restore(learner: Learner, checkpoints: Path, settings: dict[str, Any]) -> list[Row]:
    """Brings `learner` to the last finished epoch; returns the rows of the epochs so far, none for a new run.

    Raises:
        ValueError: the state belongs to a run with other settings, the first of which is named, or another network.
    """
    state = newest_state(checkpoints, learner.device)
    if state is None:
        return []
    remedy = "use another directory, or remove this one to start again"
    for key, value in settings.items():
        if state["settings"].get(key) != value:
            raise ValueError(
                f"{checkpoints} holds a run with {key}={state['settings'].get(key)}, not {value}: {remedy}"
            )
    try:
        learner.load_state_dict(state["learner"])
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{checkpoints} holds a run of another network ({error}): {remedy}") from error
    return state["history"]


def defining_settings(data: DataSettings, recipe: RecipeSettings, seed: int, precision: str) -> dict[str, Any]:
    """What a run's continuation must have in common with it: all but where the files lie and who reads them."""
    flat: dict[str, Any] = {"seed": seed, "precision": precision}
    for group, fields in (("data", dataclasses.asdict(data)), ("recipe", dataclasses.asdict(recipe))):
        for key, value in fields.items():
            if (group, key) not in {("data", "root"), ("data", "workers")}:
                flat[f"{group}.{key}"] = list(value) if isinstance(value, tuple) else value
    return flat


def write_metrics(path: Path, history: list[Row]) -> None:
    """One JSON object a line, one line an epoch."""
    write_whole(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in history).encode())


def best_row(history: list[Row]) -> Row:
    """The first of those with the highest top-1 accuracy."""
    return max(history, key=lambda row: row["top1_percent"])


def summarize(history: list[Row]) -> dict[str, float]:
    """What `train` returns, from the rows of all epochs."""
    last, best = history[-1], best_row(history)
    scores = {
        name: value
        for name, value in last.items()
        if name.endswith(("top1_percent", "top5_percent", "train_loss", "validation_loss"))
    }
    seconds = sum(row["train_seconds"] for row in history)
    return scores | {
        "best_top1_percent": best["top1_percent"],
        "best_epoch": best["epoch"],
        "epochs": last["epoch"],
        "train_seconds": seconds,
        "train_images_per_second": sum(row["train_images"] for row in history) / seconds,
    }
