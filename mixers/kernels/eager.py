"""When what an operation computes can be relied on: it happens now, and nobody records, transforms or casts it."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Function = TypeVar("Function", bound=Callable[..., Any])


def traced() -> bool:
    """Whether torch.compile, torch.export, torch.jit.trace or a transform of torch.func watches."""
    return (
        torch.compiler.is_compiling()
        or torch.compiler.is_exporting()
        or torch.jit.is_tracing()
        or torch._C._are_functorch_transforms_active()
    )


def takes_own_operators() -> bool:
    """Whether operators of ours may stand in what is computed or compiled now: PyTorch's exported programs, traces and
    transforms are for others to read, who do not have them."""
    return not traced() or (torch.compiler.is_compiling() and not torch.compiler.is_exporting())


def computed_now_on_cpu(*tensors: Tensor) -> bool:
    """Whether an operation on these tensors computes numbers now, on the CPU, in the dtype that they have.

    Not when it is traced or under autocast, and not for subclasses of tensors, which may mean anything.
    """
    plain = all(type(tensor) in (Tensor, nn.Parameter) and tensor.is_cpu for tensor in tensors)
    return plain and not (traced() or torch.is_autocast_enabled("cpu"))


def constant_in_graphs(function: Function) -> Function:
    """What `torch.compiler.assume_constant_result` does, without importing the compiler, which takes seconds."""
    function._dynamo_marked_constant = True
    return function
