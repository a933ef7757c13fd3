"""What every implementation does with tensors before its kernels and after them."""

from collections.abc import Sequence

from torch import Tensor


def with_contiguous_channels(tensor: Tensor) -> Tensor:
    """Kernels take any strides but that of the last axis."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def sums_of_parts(parts: Sequence[Tensor | None], like: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Each of `parts`, sums apart from each other along leading axes, as one sum of the shape of its `like`."""
    return [
        None if part is None or tensor is None else part.sum(tuple(range(part.dim() - tensor.dim())))
        for part, tensor in zip(parts, like, strict=True)
    ]
