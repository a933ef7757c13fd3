"""White-box attacks that follow the gradient of the loss, and noise of the same size to compare them with.

Pixel values are between 0 and 255, (B, 3, H, W); `epsilon` is in the same unit: an attack of 4/255 has epsilon 4. All
results are float and between 0 and 255.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Norm = Literal["linf", "l2"]
Answer = Callable[[Tensor], Tensor]
"""Pixel values -> logits (B, classes), differentiable."""
NO_LABEL = -1
"""Of an image that counts in nothing."""
OVERSHOOT = 2.5
"""All steps together are so many times as long as epsilon, as in Madry et al.'s code for l2."""


def fgsm(answer: Answer, pixels: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """One step of the fast gradient sign method: Goodfellow et al., arXiv 1412.6572, section 4."""
    step = epsilon * _gradient(answer, pixels.float(), labels).sign()
    return (pixels + step).clamp(0, 255)


def pgd(
    answer: Answer,
    pixels: Tensor,
    labels: Tensor,
    epsilon: float,
    norm: Norm,
    *,
    steps: int,
    draws: torch.Generator,
) -> Tensor:
    """Projected gradient ascent from a random place in the ball: Madry et al., arXiv 1706.06083, section 2.1.

    Args:
        norm: the ball's, `linf` or `l2` over all values of an image.
        draws: on the CPU.
    """
    clean = pixels.float()
    seen = (clean + random_start(clean.shape, epsilon, norm, draws).to(clean.device)).clamp(0, 255)
    for _ in range(steps):
        gradient = _gradient(answer, seen, labels)
        direction = gradient.sign() if norm == "linf" else _direction(gradient)
        moved = seen + OVERSHOOT * epsilon / steps * direction
        seen = (clean + projected(moved - clean, epsilon, norm)).clamp(0, 255)
    return seen


def noise(pixels: Tensor, epsilon: float, norm: Norm, *, draws: torch.Generator) -> Tensor:
    """As far from the image as an attack may go, in a random direction; values are cut off at 0 and 255."""
    drawn = torch.randn(pixels.shape, generator=draws)
    direction = drawn.sign() if norm == "linf" else drawn / _length(drawn)
    return (pixels + epsilon * direction.to(pixels.device)).clamp(0, 255)


def random_start(shape: torch.Size, epsilon: float, norm: Norm, draws: torch.Generator) -> Tensor:
    """Uniform in the ball."""
    if norm == "linf":
        return epsilon * (2 * torch.rand(shape, generator=draws) - 1)
    drawn = torch.randn(shape, generator=draws)
    share = torch.rand(len(drawn), 1, 1, 1, generator=draws) ** (1 / drawn[0].numel())
    return epsilon * share * drawn / _length(drawn)


def projected(change: Tensor, epsilon: float, norm: Norm) -> Tensor:
    """The nearest change in the ball."""
    if norm == "linf":
        return change.clamp(-epsilon, epsilon)
    return change * (epsilon / _length(change)).clamp(max=1)


def _gradient(answer: Answer, pixels: Tensor, labels: Tensor) -> Tensor:
    """Of the summed cross entropy; of several right answers the first counts."""
    seen = pixels.detach().requires_grad_()
    right = labels.view(len(labels), -1)[:, 0]
    loss = F.cross_entropy(answer(seen), right, reduction="sum", ignore_index=NO_LABEL)
    return torch.autograd.grad(loss, seen)[0]


def _direction(gradient: Tensor) -> Tensor:
    """Of length 1, however small the gradient of a confident network is; 0 where there is none."""
    largest = gradient.abs().amax((1, 2, 3), keepdim=True).clamp(min=torch.finfo(gradient.dtype).tiny)
    scaled = gradient / largest
    return scaled / _length(scaled)


def _length(change: Tensor) -> Tensor:
    return change.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)
