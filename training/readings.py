"""What the loop learns about itself now and then: losses, speed, and whether to make a checkpoint or to stop.

Reading a loss makes the CPU wait for the GPU, and asking the other ranks makes all wait for all, so both are done for
several steps at once, about every second.
"""

import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .distributed import from_all
from .progress import Progress
from .run import Run

SECONDS_BETWEEN_READINGS = 1.0
MOST_STEPS_BETWEEN_READINGS = 50


class Readings:
    """Of one epoch. `stop` says whether any rank was asked to stop."""

    def __init__(
        self,
        run: Run,
        progress: Progress,
        on_progress: Callable[[Mapping[str, float]], None],
        stop_asked: Callable[[], bool],
    ) -> None:
        self.run = run
        self.progress = progress
        self.on_progress = on_progress
        self.stop_asked = stop_asked
        self.stop = False
        self._steps_between = 1
        self._unread: list[Tensor] = []
        self._read_at = time.perf_counter()

    def waited(self, seconds: float) -> None:
        """For data."""
        self.run.waiting += seconds

    def made_step(self, loss: Tensor) -> bool:
        """To be called after each step; true where a checkpoint has to be made now."""
        self._unread.append(loss)
        epoch_is_over = self.run.batch == self.run.steps_per_epoch
        if len(self._unread) < self._steps_between and not epoch_is_over:
            self.progress.advance()
            return False
        steps = len(self._unread)
        losses = torch.stack(self._unread).tolist()
        self._unread.clear()
        elapsed = time.perf_counter() - self._read_at
        self._read_at += elapsed

        ranks = self.run.learner.ranks
        everyone = from_all((losses, elapsed, self.stop_asked(), self.run.is_checkpoint_due), ranks)
        for of_ranks in zip(*(losses for losses, *_ in everyone), strict=True):
            self.run.loss_total += sum(of_ranks) / ranks.count
        self.run.seconds += elapsed
        slowest = max(elapsed for _, elapsed, *_ in everyone)
        steps_a_second = steps / max(slowest, 1e-6)
        self._steps_between = int(max(1, min(SECONDS_BETWEEN_READINGS * steps_a_second, MOST_STEPS_BETWEEN_READINGS)))
        self.stop = any(stop for *_, stop, _ in everyone)
        self._tell(losses[-1], steps_a_second * self.run.recipe.batch_size)
        return self.stop or (not epoch_is_over and any(due for *_, due in everyone))

    def validated_batch(self) -> bool:
        """To be called after each batch of a validation; whether to stop. Several ranks stop after the next step."""
        self.stop = self.run.learner.ranks.count == 1 and self.stop_asked()
        return self.stop

    def _tell(self, loss: float, images_per_second: float) -> None:
        run = self.run
        self.on_progress(
            {
                "epoch": run.epoch + 1,
                "epochs": run.recipe.epochs,
                "step": run.step,
                "steps": run.recipe.epochs * run.steps_per_epoch,
                "images_per_second": images_per_second,
            }
        )
        self.progress.advance(
            f"epoch {run.epoch + 1}/{run.recipe.epochs}  loss {loss:.3f}  {images_per_second:.0f} images/s"
        )
