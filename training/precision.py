"""The number formats a network can run in."""

from contextlib import AbstractContextManager, nullcontext

import torch

AUTOCAST_TYPES: dict[str, torch.dtype | None] = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(precision: str) -> None:
    """Raises ValueError naming the choices."""
    if precision not in AUTOCAST_TYPES:
        raise ValueError(f"precision={precision!r}: choose from {', '.join(AUTOCAST_TYPES)}")


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """The context for a forward pass; fp32 is the network as it is."""
    dtype = AUTOCAST_TYPES[precision]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)
