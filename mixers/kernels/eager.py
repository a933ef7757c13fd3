"""When a call may go to a kernel that only computes: nobody records, transforms or casts its operations."""

import torch
from torch import Tensor, nn


def computed_now_on_cpu(*tensors: Tensor) -> bool:
    """Whether an operation on these tensors computes numbers now, on the CPU, in the dtype that they have.

    Not under torch.compile, torch.export, torch.jit.trace, torch.func's transforms or autocast, and not for subclasses
    of tensors, which may mean anything.
    """
    return all(type(tensor) in (Tensor, nn.Parameter) and tensor.device.type == "cpu" for tensor in tensors) and not (
        torch.compiler.is_compiling()
        or torch.compiler.is_exporting()
        or torch.jit.is_tracing()
        or torch.is_autocast_enabled("cpu")
        or torch._C._are_functorch_transforms_active()
    )
