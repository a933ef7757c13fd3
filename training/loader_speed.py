"""Which binds, the data or the network: images a second of the loader alone, and of training steps alone."""

import itertools
import statistics
import time
from dataclasses import replace

import torch
from torch import nn

from .augmentation import TrainingAugmentation
from .data import check_data, count_classes, training_batches
from .learner import Learner
from .plan import measured_count, step_seconds
from .precision import check_precision
from .progress import Progress
from .recipe import check_recipe
from .settings import DataSettings, LoaderSettings, RecipeSettings, TrainSettings


def measure_loader(
    network: nn.Module,
    data: DataSettings,
    recipe: RecipeSettings,
    settings: LoaderSettings,
    *,
    seed: int,
    precision: str,
    device: str,
    show_progress: bool,
) -> dict[str, float]:
    """Reads training batches onto the device for a while, then takes steps on the last of them.

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
        for _ in range(settings.warmup_batches):
            pixels, labels = next(stream)
        images, seconds, start = 0, 0.0, time.perf_counter()
        while seconds < settings.seconds:
            pixels, labels = next(stream)
            images += len(pixels)
            seconds = time.perf_counter() - start
    loader = images / seconds
    step = _step_speed(network, data, recipe, settings, pixels, labels, precision, place)
    return {
        "loader_images_per_second": loader,
        "step_images_per_second": step,
        "data_wait_percent": max(0.0, 100 * (1 - loader / step)),
        "corrupt_images": len(batches.findings.corrupt),
    }


def _step_speed(
    network: nn.Module,
    data: DataSettings,
    recipe: RecipeSettings,
    settings: LoaderSettings,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    precision: str,
    place: torch.device,
) -> float:
    """Images a second of whole optimiser steps, from the median."""
    count = measured_count(recipe, place, settings.step_images)
    one_part = replace(recipe, batch_size=count, accumulation=1)
    as_trained = TrainSettings(compile=settings.compile, gradient_checkpointing=settings.gradient_checkpointing)
    learner = Learner(network, one_part, precision=precision, device=place, settings=as_trained)
    augment = TrainingAugmentation(data, recipe, count_classes(data), place)
    network.train()
    return count / statistics.median(step_seconds(learner, augment, pixels[:count], labels[:count]))
