"""What one timed step is: a forward pass, or a step of training."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Step = Callable[[], object]
Autocast = AbstractContextManager[Any]


def inference_step(module: Callable[[Tensor], object], x: Tensor, autocast: Autocast) -> Step:
    """A forward pass that keeps nothing for a backward pass."""

    def step() -> None:
        with torch.no_grad(), autocast:
            module(x)

    return step


def training_step(
    network: Callable[[Tensor], Any],
    parameters: list[nn.Parameter],
    images: Tensor,
    autocast: Autocast,
    scaler: torch.amp.GradScaler,
) -> Step:
    """Forward, backward and an AdamW step of a network, fused as in training."""
    optimizer = torch.optim.AdamW(parameters, fused=True)
    labels = torch.zeros(len(images), dtype=torch.long, device=images.device)

    def step() -> None:
        with autocast:
            logits = network(images)
            # A network with several heads trains each of them.
            heads = [logits] if isinstance(logits, Tensor) else logits
            loss = sum(F.cross_entropy(head, labels) for head in heads)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step


def forward_and_backward_step(
    mixer: Callable[[Tensor], Tensor], parameters: list[nn.Parameter], x: Tensor, autocast: Autocast
) -> Step:
    """Forward, and the gradients of input and parameters: what a mixer has to do with a training step of its network.

    The optimiser's work is that of any other parameters, so it is left out.
    """
    x = x.requires_grad_()
    with torch.no_grad(), autocast:
        gradient = torch.randn_like(mixer(x))

    def step() -> None:
        with autocast:
            output = mixer(x)
        torch.autograd.grad(output, [x, *parameters], gradient, allow_unused=True)

    return step
