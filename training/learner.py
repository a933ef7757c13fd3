"""Everything that changes while a network learns: one thing to step, to save and to restore."""

from typing import Any

import torch
import torch.nn.functional as F
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from .optimizer import build_optimizer
from .precision import autocast
from .settings import RecipeSettings


class Learner:
    """A network with its optimiser, gradient scaler (fp16 only) and, if the recipe wants one, moving average."""

    def __init__(self, network: nn.Module, recipe: RecipeSettings, *, precision: str, device: torch.device) -> None:
        self.network = network.to(device)
        self.recipe = recipe
        self.precision = precision
        self.device = device
        self.optimizer = build_optimizer(network, recipe)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.average = None if recipe.ema_decay is None else ModelEmaV3(network, decay=recipe.ema_decay)

    def step(self, images: Tensor, targets: Tensor, learning_rate: float, label_smoothing: float) -> Tensor:
        """One optimiser step on a batch; returns its mean loss as it was before the step, still on the device.

        Targets are labels (B) or class probabilities (B, classes).
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        parts = self.recipe.accumulation
        batch_loss = torch.zeros((), device=self.device)
        for part_images, part_targets in zip(images.chunk(parts), targets.chunk(parts), strict=True):
            with autocast(self.device, self.precision):
                answer = self.network(part_images)
            loss = mean_loss(answer, part_targets, label_smoothing) / parts
            self.scaler.scale(loss).backward()
            batch_loss += loss.detach()
        if self.recipe.clip_gradient_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_gradient_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.network)
        return batch_loss

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
