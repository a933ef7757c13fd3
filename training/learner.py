"""Everything that changes while a network learns: one thing to step, to save and to restore."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .distributed import ALONE, Ranks, from_all
from .evaluate import at
from .nonfinite import REMEDY, NonFiniteLossError, first_non_finite
from .optimizer import build_optimizer
from .precision import autocast
from .settings import RecipeSettings, TrainSettings
from .synchronized_norm import synchronize_batch_norms


class Learner:
    """A network with its optimiser, gradient scaler (fp16 only) and, if the recipe wants one, moving average.

    `network` is trained in place. What it is wrapped in (DDP where there are several ranks, torch.compile) shares its
    parameters and is nobody else's business.

    Raises: ValueError where the network does not offer what the settings ask of it.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: RecipeSettings,
        *,
        precision: str,
        device: torch.device,
        settings: TrainSettings | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        settings = settings or TrainSettings()
        if settings.gradient_checkpointing:
            if not hasattr(network, "set_grad_checkpointing"):
                raise ValueError("task.gradient_checkpointing=true: this network has no blocks to compute again")
            network.set_grad_checkpointing(True)
        if recipe.sync_batch_norm and ranks.count > 1:
            synchronize_batch_norms(network)
        self.network = at(device, network)
        self.recipe = recipe
        self.precision = precision
        self.device = device
        self.ranks = ranks
        self.optimizer = build_optimizer(network, recipe)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.average = None if recipe.ema_decay is None else ModelEmaV3(network, decay=recipe.ema_decay)
        self.parallel = network if ranks.count == 1 else DistributedDataParallel(network)
        self.forward = torch.compile(self.parallel) if settings.compile else self.parallel

    def step(
        self, images: Tensor, targets: Tensor, learning_rate: float, label_smoothing: float, place: str = "this step"
    ) -> Tensor:
        """One optimiser step on a batch; returns its mean loss as it was before the step, still on the device.

        Targets are labels (B) or class probabilities (B, classes).

        Raises: NonFiniteLossError naming `place` and the first tensor that is not finite; no weight has changed then.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group.get("lr_scale", 1.0)
        self.optimizer.zero_grad(set_to_none=True)
        parts = self.recipe.accumulation
        batch_loss = torch.zeros((), device=self.device)
        for part, (part_images, part_targets) in enumerate(
            zip(images.chunk(parts), targets.chunk(parts), strict=True), start=1
        ):
            with self._gradients_are_kept_here(part < parts):
                with autocast(self.device, self.precision):
                    answer = self.forward(part_images)
                loss = mean_loss(answer, part_targets, label_smoothing) / parts
                self.scaler.scale(loss).backward()
            batch_loss += loss.detach()
        self.scaler.unscale_(self.optimizer)
        parameters = [parameter for parameter in self.network.parameters() if parameter.grad is not None]
        norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters])
        if not math.isfinite(norm.item()) and not self._is_overflow(batch_loss):  # the same on all ranks
            self._refuse(images, batch_loss, place)
        if self.recipe.clip_gradient_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.recipe.clip_gradient_norm, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.network)
        return batch_loss

    def _gradients_are_kept_here(self, kept: bool) -> AbstractContextManager[None]:
        """Ranks exchange gradients once a step, with its last part."""
        return self.parallel.no_sync() if kept and self.ranks.count > 1 else nullcontext()

    def _is_overflow(self, loss: Tensor) -> bool:
        """Whether only the scale of fp16 was too large: the scaler skips this step and lowers it."""
        return (
            self.scaler.is_enabled()
            and self.scaler.get_scale() > 1
            and all(from_all(math.isfinite(loss.item()), self.ranks))
        )

    def _refuse(self, images: Tensor, loss: Tensor, place: str) -> None:
        with autocast(self.device, self.precision):
            culprits = from_all(first_non_finite(self.network, images), self.ranks)
        culprit = next((name for name in culprits if name is not None), "none in a second look")
        what = (
            "the gradient became infinite" if math.isfinite(loss.item()) else f"the training loss became {loss.item()}"
        )
        raise NonFiniteLossError(f"{what} at {place}: the first tensor that is not finite is {culprit}; {REMEDY}")

    def share_statistics(self) -> None:
        """Before validation, every rank takes over the first one's buffers: without sync_batch_norm each has its own.

        Training does not notice: DDP does the same before each step.
        """
        if self.ranks.count > 1:
            averaged = [] if self.average is None else list(self.average.module.buffers())
            for buffer in [*self.network.buffers(), *averaged]:
                torch.distributed.broadcast(buffer, src=0)

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.module.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises RuntimeError where the state is another network's."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.module.load_state_dict(state["average"])


def mean_loss(answer: Tensor | tuple[Tensor, ...], targets: Tensor, label_smoothing: float) -> Tensor:
    """Cross entropy in float32; of several answers (networks with several heads, like Conformer) the mean of theirs."""
    answers = answer if isinstance(answer, tuple) else (answer,)
    losses = [F.cross_entropy(each.float(), targets, label_smoothing=label_smoothing) for each in answers]
    return torch.stack(losses).mean()
