"""Modules that are frozen for inference, and what only they may keep from one forward pass to the next.

In an ordinary module nothing that is computed from a parameter outlives a forward pass: optimizers, averages of weights
and whoever writes into a parameter's memory change it without a sign. A frozen copy computes with the parameters as
they are, for as long as it is used; `architectures.inference` makes one of a whole network.
"""

import copy
from collections.abc import Callable, Hashable
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from .eager import traced

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def frozen_copy(module: AnyModule) -> AnyModule:
    """`module` again, in eval mode: memory and submodules are the same, its own parameters get no gradients.

    What is assigned to the copy, submodules, parameters and hooks included, leaves the module as it is.
    """
    copied = module.__class__.__new__(module.__class__)
    copied.__dict__ = {
        name: copy.copy(value) if isinstance(value, dict | set) else value for name, value in vars(module).items()
    }
    for name, parameter in copied._parameters.items():
        if parameter is not None:
            copied._parameters[name] = nn.Parameter(parameter.detach(), requires_grad=False)
    copied.training = False
    return copied


class Kept:
    """The last tensor that was computed, returned again for the same source and an equal key.

    A source that is made anew in each forward pass is another one each time. Copies and pickles start empty.
    """

    def __init__(self) -> None:
        # Replaced as a whole, so that threads which share a network never see half of a change.
        self._last: tuple[Tensor | None, Hashable, Tensor | None] | None = None

    def __call__(self, compute: Callable[[], Tensor | None], source: Tensor | None, *key: Hashable) -> Tensor | None:
        if traced() or is_in_torch_dispatch_mode():
            return compute()
        last = self._last
        if last is not None and last[0] is source and last[1] == key:
            return last[2]
        with torch.inference_mode(False), torch.no_grad():
            tensor = compute()
        self._last = (source, key, tensor)
        return tensor

    def forget(self) -> None:
        self._last = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Kept, ()


def anew(compute: Callable[[], Tensor | None], source: Tensor | None, *key: Hashable) -> Tensor | None:
    """What an ordinary module does where a frozen one asks `Kept`."""
    return compute()


class KeepsWhenFrozen(nn.Module):
    """A module that has something to compute from its parameters, or from tables that come with a call, before it can
    start: it asks `self.keep(compute, source, *key)` for it."""

    keep: Callable[..., Tensor | None] = staticmethod(anew)

    def fuse(self) -> Self:
        """A frozen copy that keeps what it has computed."""
        form = frozen_copy(self)
        form.keep = Kept()
        return form
