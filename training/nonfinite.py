"""NaN and infinity: what is raised, and where in a step they came from."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from architectures.place import place_of

REMEDY = "lower recipe.learning_rate, or set recipe.clip_gradient_norm or precision=fp32"


class NonFiniteLossError(ArithmeticError):
    """A loss or its gradient became NaN or infinite."""


@torch.no_grad()
def first_non_finite(network: nn.Module, images: Tensor) -> str | None:
    """The first tensor of a step that is not finite, in words; None where all are.

    In the order of a step: the images, the parameters, what each module answers in a forward pass that is made for this
    purpose, the buffers, which batch norms have filled with it by then, the gradients as they are, from the last
    parameter to the first.
    """
    if not images.isfinite().all():
        return "the batch of images"
    for name, parameter in network.named_parameters():
        if not parameter.isfinite().all():
            return f"the parameter {name}"
    if (module := _first_module(network, images)) is not None:
        return f"the output of {module}"
    for name, buffer in network.named_buffers():
        if not buffer.isfinite().all():
            return f"the buffer {name}"
    for name, parameter in reversed(list(network.named_parameters())):
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return f"the gradient of {name}"
    return None


def _first_module(network: nn.Module, images: Tensor) -> str | None:
    """The first module whose answer is not finite, in words: the innermost, as inner ones answer first."""
    found: list[str] = []

    def look(name: str, output: object) -> None:
        if not found and not all(tensor.isfinite().all() for tensor in _tensors(output)):
            found.append(place_of(network, name))

    handles = [
        module.register_forward_hook(lambda module, inputs, output, name=name: look(name, output))
        for name, module in network.named_modules()
    ]
    try:
        network(images)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def _tensors(output: object) -> Iterable[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, tuple | list):
        for member in output:
            yield from _tensors(member)
