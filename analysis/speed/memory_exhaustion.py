"""Which errors say that memory ran out."""

import torch


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the GPU's or the CPU's allocator raised it; the latter has no exception type of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)
