"""What training would do, said before it is done: parameter groups, learning rates, memory and time."""

import math
import statistics
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from .augmentation import TrainingAugmentation
from .learner import Learner, mean_loss
from .precision import autocast, check_precision
from .recipe import check_recipe
from .schedule import SCHEDULES
from .settings import DataSettings, RecipeSettings, TrainSettings

MIB = 2**20
IMAGES_ON_CPU = 8
WARMUP_STEPS, MEASURED_STEPS = 1, 3


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that the optimiser treats alike; `learning_rate_scale` multiplies the schedule's value."""

    tensors: int
    params: int
    weight_decay: float
    learning_rate_scale: float


@dataclass(frozen=True)
class Moment:
    """The learning rate at an optimiser step, counted from 0."""

    name: str
    step: int
    learning_rate: float


@dataclass(frozen=True)
class Plan:
    """Memory in MiB: what is there for the whole run (`weights_mib` with buffers), and `activations_mib`, what the
    backward pass of one part keeps, compiled or not. Work space of the operators, the block that gradient checkpointing
    is at, and the allocator's reserve come on top.

    `step_seconds` is extrapolated from a step of `measured_images` on `device`; reading and validation come on top.
    """

    groups: list[ParameterGroup]
    moments: list[Moment]
    batch_size: int
    accumulation: int
    train_images: int
    steps_per_epoch: int
    epochs: int
    weights_mib: float
    gradients_mib: float
    optimizer_mib: float
    average_mib: float
    activations_mib: float
    device: str
    measured_images: int
    step_seconds: float

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    @property
    def memory_mib(self) -> float:
        lasting = self.weights_mib + self.gradients_mib + self.optimizer_mib + self.average_mib
        return lasting + self.activations_mib

    @property
    def train_seconds(self) -> float:
        return self.steps * self.step_seconds


def make_plan(
    network: nn.Module,
    data: DataSettings,
    recipe: RecipeSettings,
    *,
    train_images: int,
    num_classes: int,
    precision: str,
    device: str,
    settings: TrainSettings | None = None,
) -> Plan:
    """Takes a few optimiser steps of `network` on random images, and measures them.

    Raises:
        ValueError: as `training.recipe.check_recipe` and `Learner`, or fewer images than one batch.
    """
    settings = settings or TrainSettings()
    check_precision(precision)
    check_recipe(recipe)
    steps_per_epoch = train_images // recipe.batch_size
    if steps_per_epoch == 0:
        raise ValueError(f"{train_images} training images are fewer than recipe.batch_size={recipe.batch_size}")
    place = torch.device(device)
    part = recipe.batch_size // recipe.accumulation
    count = measured_count(recipe, place, settings.dry_run_images)
    one_part = replace(recipe, batch_size=count, accumulation=1)
    learner = Learner(network, one_part, precision=precision, device=place, settings=settings)
    augment = TrainingAugmentation(data, recipe, num_classes, place)
    pixels = torch.randint(0, 256, (count, 3, data.resolution, data.resolution), dtype=torch.uint8, device=place)
    labels = torch.randint(0, num_classes, (count,), device=place)

    network.train()
    activations = _activation_bytes(learner, *augment(pixels, labels), augment.label_smoothing, part)
    seconds = step_seconds(learner, augment, pixels, labels)
    state = [value for entry in learner.optimizer.state.values() for value in entry.values()]
    return Plan(
        groups=_groups(learner.optimizer),
        moments=_moments(recipe, steps_per_epoch),
        batch_size=recipe.batch_size,
        accumulation=recipe.accumulation,
        train_images=train_images,
        steps_per_epoch=steps_per_epoch,
        epochs=recipe.epochs,
        weights_mib=_mib(network.state_dict().values()),
        gradients_mib=_mib(parameter.grad for parameter in network.parameters()),
        optimizer_mib=_mib(state),
        average_mib=0.0 if learner.average is None else _mib(learner.average.module.state_dict().values()),
        activations_mib=activations / MIB,
        device=device,
        measured_images=count,
        step_seconds=statistics.median(seconds) * recipe.batch_size / count,
    )


def measured_count(recipe: RecipeSettings, device: torch.device, wanted: int | None) -> int:
    """Images of a step that is measured: even, for mixup pairs them, and no more than share a forward pass."""
    part = recipe.batch_size // recipe.accumulation
    count = min(part, wanted or (part if device.type == "cuda" else IMAGES_ON_CPU))
    return count - count % 2


def step_seconds(learner: Learner, augment: TrainingAugmentation, pixels: Tensor, labels: Tensor) -> list[float]:
    """How long steps on a batch take, augmentation on the device included, after a first that is not counted."""
    seconds = []
    for _ in range(WARMUP_STEPS + MEASURED_STEPS):
        start = time.perf_counter()
        images, targets = augment(pixels, labels)
        # Reading the loss waits for the device.
        learner.step(images, targets, learner.recipe.learning_rate, augment.label_smoothing).item()
        seconds.append(time.perf_counter() - start)
    return seconds[WARMUP_STEPS:]


def _groups(optimizer: torch.optim.Optimizer) -> list[ParameterGroup]:
    return [
        ParameterGroup(
            tensors=len(group["params"]),
            params=sum(parameter.numel() for parameter in group["params"]),
            weight_decay=group["weight_decay"],
            learning_rate_scale=group.get("lr_scale", 1.0),
        )
        for group in optimizer.param_groups
    ]


def _moments(recipe: RecipeSettings, steps_per_epoch: int) -> list[Moment]:
    """First and last step, the ends of the warm-up, and where each quarter of the run begins."""
    steps, warmup = recipe.epochs * steps_per_epoch, recipe.warmup_epochs * steps_per_epoch
    places = [("first step", 0)]
    if 0 < warmup < steps:
        places += [("end of warm-up", warmup - 1), ("after warm-up", warmup)]
    places += [(name, steps * part // 4) for part, name in ((1, "a quarter"), (2, "half"), (3, "three quarters"))]
    places.append(("last step", steps - 1))
    schedule = SCHEDULES[recipe.schedule]
    return [
        Moment(name, step, schedule(step, recipe, steps_per_epoch))
        for name, step in sorted(places, key=lambda place: place[1])
    ]


def _activation_bytes(learner: Learner, images: Tensor, targets: Tensor, smoothing: float, part: int) -> float:
    """What autograd keeps of a forward pass of `part` images, from what it keeps of two smaller ones."""
    count = len(images)
    fewer = max(2, count // 2)
    few, many = (_kept_bytes(learner, images[:number], targets[:number], smoothing) for number in (fewer, count))
    if count == fewer:
        return many * part / count
    return many + (many - few) * (part - count) / (count - fewer)


def _kept_bytes(learner: Learner, images: Tensor, targets: Tensor, smoothing: float) -> int:
    """Storage of all tensors that the backward pass will read, parameters and buffers left out."""
    lasting = {tensor.untyped_storage().data_ptr() for tensor in learner.network.state_dict().values()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in lasting:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        autocast(learner.device, learner.precision),
    ):
        loss = mean_loss(learner.network(images), targets, smoothing)
    del loss
    return sum(kept.values())


def _mib(tensors: object) -> float:
    return math.fsum(tensor.nbytes for tensor in tensors if tensor is not None) / MIB
