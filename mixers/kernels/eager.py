"""When a call may go to a kernel that only computes: nobody records, transforms or casts its operations."""

import torch
from torch import Tensor, nn


def traced() -> bool:
    """Whether torch.compile, torch.export, torch.jit.trace or a transform of torch.func watches."""
    return (
        torch.compiler.is_compiling()
        or torch.compiler.is_exporting()
        or torch.jit.is_tracing()
        or torch._C._are_functorch_transforms_active()
    )


def computed_now_on_cpu(*tensors: Tensor) -> bool:
    """Whether an operation on these tensors computes numbers now, on the CPU, in the dtype that they have.

    Not when it is traced or under autocast, and not for subclasses of tensors, which may mean anything.
    """
    plain = all(type(tensor) in (Tensor, nn.Parameter) and tensor.is_cpu for tensor in tensors)
    return plain and not (traced() or torch.is_autocast_enabled("cpu"))
