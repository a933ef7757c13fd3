"""The form of a network that only answers: what follows from its parameters is prepared once, and it learns no more."""

from collections.abc import Callable
from typing import Any, NoReturn, Self

import torch
from torch import nn

from mixers.kernels.as_built import is_untouched
from mixers.kernels.frozen import KeepsWhenFrozen, Kept, frozen_copy

REFUSAL = "an inference form is frozen: change the network that it was made of, and make another one"


class InferenceForm(nn.Module):
    """What `inference_form` makes. Answers as `network`, its frozen copy, does, without gradients.

    Raises: RuntimeError for `train()` and `load_state_dict`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = False

    def forward(self, *arguments: Any, **options: Any) -> Any:
        with torch.no_grad():
            return self.network(*arguments, **options)

    def train(self, mode: bool = True) -> Self:
        if mode:
            raise RuntimeError(REFUSAL)
        return self

    def load_state_dict(self, *arguments: Any, **options: Any) -> NoReturn:
        raise RuntimeError(REFUSAL)

    def _apply(self, function: Callable[..., Any], recurse: bool = True) -> Self:
        """Moved or cast, it prepares everything again."""
        for module in self.modules():
            if isinstance(module, KeepsWhenFrozen) and isinstance(module.keep, Kept):
                module.keep.forget()
        return super()._apply(function, recurse)


def inference_form(network: nn.Module) -> InferenceForm:
    """`network`, in eval mode, as it is now, for inference only.

    Every module inside that has a method `fuse()` is replaced by what it returns, unless it or one of its parts has
    hooks or parametrizations. What has to know sizes, like oneDNN's order of weights, is prepared by the first forward
    pass. The network stays as it is. The form reads its memory, so that making one costs milliseconds and no copy of
    the weights; it is to be used until they change, then made again.

    Raises: ValueError where `network` is not in eval mode.
    """
    for name, module in network.named_modules():
        if module.training:
            raise ValueError(
                "an inference form is made of a network in eval mode: call network.eval() first "
                f"({name or 'the network'} is in training mode)"
            )
    return InferenceForm(_frozen(network, {}))


def _frozen(module: nn.Module, known: dict[nn.Module, nn.Module]) -> nn.Module:
    """Frozen copies of a module's form and of all that is in it; `known` has those of modules that were met before."""
    if module not in known:
        form = known[module] = frozen_copy(_fused(module))
        for name, part in form._modules.items():
            form._modules[name] = None if part is None else _frozen(part, known)
    return known[module]


def _fused(module: nn.Module) -> nn.Module:
    if hasattr(module, "fuse") and all(is_untouched(part) for part in module.modules()):
        return module.fuse()
    return module
