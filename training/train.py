"""The training loop: network, data and recipe in; checkpoints, metrics and scores out.

Nothing that is drawn depends on what was drawn before (see `training.seeds`), so a run is where its step number says it
is: a checkpoint, made after any step, is that number, what was learned, and the sums of the epoch so far.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from .augmentation import TrainingAugmentation
from .checkpoint import remove_unfinished
from .contribution import top1_without_mixers
from .data import Batches, check_data, count_classes, training_batches, validation_batches
from .distributed import ALONE, Ranks
from .evaluate import validate
from .learner import Learner
from .outcomes import Outcomes
from .precision import check_precision
from .progress import Progress
from .readings import Readings
from .recipe import check_recipe
from .run import Row, Run, summarize
from .schedule import SCHEDULES
from .seeds import STEP, seed_global_generators
from .settings import VALIDATION_BATCH_SIZE, DataSettings, RecipeSettings, TrainSettings


class Interrupted(Exception):  # noqa: N818 - nothing went wrong
    """Asked to stop; a checkpoint was made after the last step."""


class DataWorkerError(RuntimeError):
    """A process that reads images died."""


def train(
    network: nn.Module,
    data: DataSettings,
    recipe: RecipeSettings,
    *,
    directory: Path,
    seed: int,
    precision: str,
    device: str,
    settings: TrainSettings | None = None,
    ranks: Ranks = ALONE,
    on_epoch: Callable[[Row], None] = lambda row: None,
    on_progress: Callable[[Mapping[str, float]], None] = lambda progress: None,
    stop_asked: Callable[[], bool] = lambda: False,
    show_progress: bool = True,
) -> dict[str, float]:
    """Trains `network` in place, on `device`, and validates it after each epoch.

    Writes `metrics.jsonl` (what was learned, a line per epoch), `timings.jsonl` (how long it took), `checkpoints/` and
    at last `outcomes.npy` (the answer to each validation image) under `directory`. If these hold a run with the same
    settings, it is continued after its last checkpoint; on the CPU the outcome is the same as without interruption. A
    network that answers with a tuple in training mode learns from the mean of its members' losses. Of several ranks,
    only the first writes.

    Args:
        precision: `fp32`, `bf16` or `fp16`; the latter two by autocast.
        on_epoch: called with each new line of `metrics.jsonl`, joined with that of `timings.jsonl`.
        on_progress: called about once a second with `epoch`, `epochs`, `step`, `steps` (of all), `images_per_second`.
        stop_asked: polled about once a second; true ends the run with a checkpoint.

    Returns:
        The last epoch's `top1_percent`, `top5_percent`, `train_loss` and `validation_loss` (with a moving average of
        the weights also its own, `ema_top1_percent` and so on); `best_top1_percent` and `best_epoch`; `epochs`,
        `train_seconds` and `train_images_per_second` over all epochs, validation excluded; of networks around mixers
        what `training.contribution` says.

    Raises:
        ValueError, OSError: settings or files that cannot work, or another run's checkpoints in `directory`.
        Interrupted: `stop_asked` said so.
        NonFiniteLossError: a loss or gradient became NaN or infinite; the checkpoints before remain.
        DataWorkerError: a process that reads images died; likewise.
    """
    settings = settings or TrainSettings()
    check_precision(precision)
    check_recipe(recipe)
    check_data(data)
    place = torch.device(device)
    batches = training_batches(data, recipe, seed=seed, device=place, ranks=ranks)
    validation = validation_batches(data, batch_size=VALIDATION_BATCH_SIZE, device=place, ranks=ranks)
    augment = TrainingAugmentation(data, recipe, count_classes(data), place)
    learner = Learner(network, recipe, precision=precision, device=place, settings=settings, ranks=ranks)
    run = Run(directory, learner, batches, data, recipe, settings, seed=seed, precision=precision)
    if ranks.first:
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        remove_unfinished(run.checkpoints)
    run.restore()

    with Progress(f"train on {data.name}", show_progress and ranks.first) as progress:
        progress.begin(recipe.epochs * len(batches), done=run.step)
        try:
            while run.epoch < recipe.epochs:
                readings = Readings(run, progress, on_progress, stop_asked)
                train_epoch(run, batches, augment, readings)
                start = time.perf_counter()
                scores = validate_epoch(run, validation, augment, readings)
                row = run.finish_epoch(scores, validation_seconds=time.perf_counter() - start)
                progress.report(recipe.epochs, row)
                on_epoch(row)
            contribution = without_mixers(run, validation, augment, stop_asked)
        except RuntimeError as error:
            if "DataLoader worker" in str(error):
                raise DataWorkerError(
                    f"a process that reads images died, often for lack of memory: lower data.workers={data.workers}, "
                    f"then the same command continues ({error})"
                ) from error
            raise
    return summarize(run) | contribution


def train_epoch(run: Run, batches: Batches, augment: TrainingAugmentation, readings: Readings) -> None:
    """The steps of the current epoch that are still to be made."""
    learner, recipe = run.learner, run.recipe
    learner.network.train()
    schedule = SCHEDULES[recipe.schedule]
    stream = batches.epoch(run.epoch, run.batch)
    while run.batch < run.steps_per_epoch:
        asked = time.perf_counter()
        pixels, labels = next(stream)
        readings.waited(time.perf_counter() - asked)

        seed_global_generators(run.seed, STEP, run.step, learner.ranks.rank)
        images, targets = augment(pixels, labels)
        learning_rate = schedule(run.step, recipe, run.steps_per_epoch)
        loss = learner.step(images, targets, learning_rate, augment.label_smoothing, run.place)
        run.batch += 1
        if readings.made_step(loss):
            run.save_state()
        if readings.stop:
            raise Interrupted(f"stopped before {run.place}")


def validate_epoch(run: Run, validation: Batches, augment: TrainingAugmentation, readings: Readings) -> Row:
    """Scores of the weights and, under names that begin with `ema_`, of their moving average.

    The last epoch leaves what was answered to each image, too: see `training.outcomes`.
    """
    learner = run.learner

    def look_up() -> None:
        if readings.validated_batch():
            run.save_state()
            raise Interrupted(f"stopped in the validation of epoch {run.epoch + 1}")

    def scored(network: nn.Module, outcomes_file: str) -> Row:
        outcomes = Outcomes() if run.epoch + 1 == run.recipe.epochs else None
        scores = validate(network, validation, augment.normalize, learner.precision, look_up, learner.ranks, outcomes)
        if outcomes is not None:
            outcomes.write(run.directory / outcomes_file, validation, learner.ranks)
        return scores

    learner.share_statistics()
    scores = scored(learner.network, "outcomes.npy")
    if learner.average is not None:
        averaged = scored(learner.average.module, "outcomes_ema.npy")
        scores |= {f"ema_{name}": value for name, value in averaged.items() if not name.endswith("_images")}
    return scores


def without_mixers(
    run: Run, validation: Batches, augment: TrainingAugmentation, stop_asked: Callable[[], bool]
) -> dict[str, float]:
    """What the trained network scores without its mixers. Nothing of it is kept where the cell is stopped meanwhile."""
    learner = run.learner

    def look_up() -> None:
        if learner.ranks.count == 1 and stop_asked():
            raise Interrupted("stopped while the mixers' contribution was measured")

    def top1_percent() -> float:
        scores = validate(learner.network, validation, augment.normalize, learner.precision, look_up, learner.ranks)
        return scores["top1_percent"]

    return top1_without_mixers(learner.network, top1_percent)
