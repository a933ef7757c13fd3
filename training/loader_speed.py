"""Which binds, the data or the network: images a second of the loader alone, and of training steps alone."""

import itertools
import statistics
import time
from dataclasses import replace

import torch
from torch import Tensor, nn

from .augmentation import TrainingAugmentation
from .data import check_data, count_classes, training_batches
from .learner import Learner
from .plan import measured_count, step_seconds
from .precision import check_precision
from .progress import Progress
from .recipe import check_recipe
from .settings import DataSettings, RecipeSettings, TrainSettings


def measure_loader(
    network: nn.Module,
    data: DataSettings,
    recipe: RecipeSettings,
    *,
    seconds: float,
    warmup_batches: int,
    step_images: int | None,
    compile: bool,
    gradient_checkpointing: bool,
    seed: int,
    precision: str,
    device: str,
    show_progress: bool,
) -> dict[str, float]:
    """Reads training batches onto the device for a while, then takes steps on the last of them.

    Args:
        seconds: how long images are read at least, after `warmup_batches`, in which workers start.
        step_images: images in the step that is timed; None: see `training.plan.measured_count`.
        compile, gradient_checkpointing: as `TrainSettings` has them.

    Returns:
        `loader_images_per_second`; `step_images_per_second`, of optimiser steps with their augmentation on the device;
        `data_wait_percent`, the share of training time that will be spent waiting if both keep these speeds side by
        side; and `corrupt_images` among those read.

    Raises:
        ValueError, OSError: as `training.data.training_batches` and `Learner`.
    """
    check_precision(precision)
    check_recipe(recipe)
    check_data(data, splits=("train",))
    place = torch.device(device)
    batches = training_batches(data, recipe, seed=seed, device=place)
    stream = itertools.chain.from_iterable(batches.epoch(epoch) for epoch in itertools.count())
    with Progress(f"load {data.name}", show_progress):
        for _ in range(warmup_batches):
            pixels, labels = next(stream)
        images, spent, start = 0, 0.0, time.perf_counter()
        while spent < seconds:
            pixels, labels = next(stream)
            images += len(pixels)
            spent = time.perf_counter() - start
    loader = images / spent
    one_part = replace(recipe, batch_size=measured_count(recipe, place, step_images), accumulation=1)
    as_trained = TrainSettings(compile=compile, gradient_checkpointing=gradient_checkpointing)
    learner = Learner(network, one_part, precision=precision, device=place, settings=as_trained)
    augment = TrainingAugmentation(data, one_part, count_classes(data), place)
    step = _step_speed(learner, augment, pixels[: one_part.batch_size], labels[: one_part.batch_size])
    return {
        "loader_images_per_second": loader,
        "step_images_per_second": step,
        "data_wait_percent": max(0.0, 100 * (1 - loader / step)),
        "corrupt_images": len(batches.findings.corrupt),
    }


def _step_speed(learner: Learner, augment: TrainingAugmentation, pixels: Tensor, labels: Tensor) -> float:
    """Images a second of whole optimiser steps, from the median."""
    learner.network.train()
    return len(pixels) / statistics.median(step_seconds(learner, augment, pixels, labels))
