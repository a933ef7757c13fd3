"""Where a run stands, what it has learned, and how both get to the disk and back."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from .checkpoint import load_state, newest_state, save_state, save_weights
from .data import Batches
from .distributed import from_all, from_first
from .learner import Learner
from .schedule import SCHEDULES
from .settings import DataSettings, RecipeSettings, TrainSettings
from .whole_file import write_whole

Row = dict[str, float]


class Run:
    """The position is `epoch` and `batch`, counted from 0: the step that comes next. On all ranks it is the same.

    Attributes:
        history, timings: a row per finished epoch: what was learned, which is the same however often the run was
            stopped, and how long it took.
        loss_total, seconds, waiting: sums over the steps of the current epoch.
    """

    def __init__(
        self,
        directory: Path,
        learner: Learner,
        batches: Batches,
        data: DataSettings,
        recipe: RecipeSettings,
        settings: TrainSettings,
        *,
        seed: int,
        precision: str,
    ) -> None:
        self.directory = Path(directory)
        self.checkpoints = self.directory / "checkpoints"
        self.learner = learner
        self.recipe = recipe
        self.settings = settings
        self.seed = seed
        self.steps_per_epoch = len(batches)
        self.findings = batches.findings
        self.defining = defining_settings(data, recipe, seed, precision)
        self.history: list[Row] = []
        self.timings: list[Row] = []
        self.saved_at = time.monotonic()
        self._begin_epoch()

    @property
    def epoch(self) -> int:
        return len(self.history)

    @property
    def step(self) -> int:
        """Of the whole run, counted from 0."""
        return self.epoch * self.steps_per_epoch + self.batch

    @property
    def place(self) -> str:
        return f"step {self.step} (epoch {self.epoch + 1}, step {self.batch + 1} of {self.steps_per_epoch})"

    @property
    def is_checkpoint_due(self) -> bool:
        minutes = self.settings.checkpoint_minutes
        return minutes is not None and time.monotonic() - self.saved_at >= 60 * minutes

    def save_state(self) -> None:
        """Makes the steps so far final."""
        self.saved_at = time.monotonic()
        corrupt = self._corrupt_images()
        if not self.learner.ranks.first:
            return
        epoch_so_far = {name: getattr(self, name) for name in ("batch", "loss_total", "seconds", "waiting")}
        state = {
            "settings": self.defining,
            "history": self.history,
            "timings": self.timings,
            "epoch_so_far": epoch_so_far,
            "corrupt_images": corrupt,
            "learner": self.learner.state_dict(),
        }
        save_state(self.checkpoints, self.step, state, kept=self.settings.kept_checkpoints)

    def restore(self) -> None:
        """Goes to where the newest undamaged checkpoint was made; nowhere where there is none.

        Raises:
            ValueError: it belongs to a run with other settings, the first of which is named, or to another network.
        """
        ranks = self.learner.ranks
        path = from_first(newest_state(self.checkpoints) if ranks.first else None, ranks)
        if path is not None:
            state = load_state(path, self.learner.device)
            remedy = "use another directory, or remove this one to start again"
            for key, value in self.defining.items():
                if state["settings"].get(key) != value:
                    raise ValueError(
                        f"{self.checkpoints} holds a run with {key}={state['settings'].get(key)}, not {value}: {remedy}"
                    )
            try:
                self.learner.load_state_dict(state["learner"])
            except (RuntimeError, ValueError) as error:
                raise ValueError(f"{self.checkpoints} holds a run of another network ({error}): {remedy}") from error
            self.history, self.timings = state["history"], state["timings"]
            self.findings.corrupt.update(state["corrupt_images"])
            for name, value in state["epoch_so_far"].items():
                setattr(self, name, value)
        self._write_rows()

    def finish_epoch(self, scores: Row, *, validation_seconds: float) -> Row:
        """Adds the epoch to history and disk; returns its rows of `metrics.jsonl` and `timings.jsonl`, joined.

        The state is written after the weights: it makes the epoch final.
        """
        recipe, images = self.recipe, self.steps_per_epoch * self.recipe.batch_size
        last_step = self.step - 1
        row = {
            "epoch": self.epoch + 1,
            "train_loss": self.loss_total / self.steps_per_epoch,
            "learning_rate": SCHEDULES[recipe.schedule](last_step, recipe, self.steps_per_epoch),
            "train_images": images,
            "corrupt_images": len(self._corrupt_images()),
            **scores,
        }
        timing = {
            "epoch": self.epoch + 1,
            "train_seconds": self.seconds,
            "validation_seconds": validation_seconds,
            "images_per_second": images / self.seconds,
            "data_wait_percent": 100 * self.waiting / self.seconds,
        }
        self.history.append(row)
        self.timings.append(timing)
        self._begin_epoch()
        if best_row(self.history) is row:
            self._save_weights("best")
        if self.epoch % self.settings.checkpoint_epochs == 0 or self.epoch == recipe.epochs:
            self._save_weights("last")
            self.save_state()
        self._write_rows()
        return row | timing

    def _begin_epoch(self) -> None:
        self.batch, self.loss_total, self.seconds, self.waiting = 0, 0.0, 0.0, 0.0

    def _corrupt_images(self) -> dict[str, str]:
        """Of all ranks, since the run began: file and what is wrong with it."""
        merged: dict[str, str] = {}
        for of_rank in from_all(self.findings.corrupt, self.learner.ranks):
            merged |= of_rank
        return merged

    def _save_weights(self, name: str) -> None:
        if not self.learner.ranks.first:
            return
        save_weights(self.learner.network, self.checkpoints / f"{name}.safetensors")
        if self.learner.average is not None and name == "last":
            save_weights(self.learner.average.module, self.checkpoints / "last_ema.safetensors")

    def _write_rows(self) -> None:
        """One JSON object a line, one line an epoch."""
        if self.learner.ranks.first:
            for name, rows in (("metrics", self.history), ("timings", self.timings)):
                lines = (json.dumps(row, allow_nan=False) + "\n" for row in rows)
                write_whole(self.directory / f"{name}.jsonl", "".join(lines).encode())


def defining_settings(data: DataSettings, recipe: RecipeSettings, seed: int, precision: str) -> dict[str, Any]:
    """What a run's continuation must have in common with it: all but where the files lie and who reads them."""
    flat: dict[str, Any] = {"seed": seed, "precision": precision}
    for group, fields in (("data", dataclasses.asdict(data)), ("recipe", dataclasses.asdict(recipe))):
        for key, value in fields.items():
            if (group, key) == ("data", "options"):
                flat |= {f"data.options.{option}": choice for option, choice in value.items()}
            elif (group, key) not in {("data", "root"), ("data", "download"), ("data", "workers")}:
                flat[f"{group}.{key}"] = list(value) if isinstance(value, tuple) else value
    return flat


def best_row(history: list[Row]) -> Row:
    """The first of those with the highest top-1 accuracy."""
    return max(history, key=lambda row: row["top1_percent"])


def summarize(run: Run) -> dict[str, float]:
    """What training returns, from the rows of all epochs."""
    last, best = run.history[-1], best_row(run.history)
    scores = {
        name: value
        for name, value in last.items()
        if name.endswith(("top1_percent", "top5_percent", "train_loss", "validation_loss"))
    }
    seconds = sum(row["train_seconds"] for row in run.timings)
    return scores | {
        "best_top1_percent": best["top1_percent"],
        "best_epoch": best["epoch"],
        "epochs": last["epoch"],
        "train_seconds": seconds,
        "train_images_per_second": sum(row["train_images"] for row in run.history) / seconds,
    }
