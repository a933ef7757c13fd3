"""How much memory a training step needs at least, told by a network on the meta device."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

BYTES_A_PARAMETER = 16
"""In float32 its value, its gradient and AdamW's two moments, 4 bytes each."""
MIB = 2**20


@dataclass(frozen=True)
class TrainingMemory:
    """What is in memory between the forward and the backward pass of a step with AdamW, in float32 without compilation.

    What kernels need for themselves, and gradients of activations, come on top. Where a mixer has a kernel of its own
    that the meta device does not take (local attention's), the count is of its reference, which keeps more.
    """

    fixed_bytes: int  # of the parameters, and of what is kept whatever the batch
    bytes_an_image: int

    def mib(self, batch_size: int) -> float:
        return (self.fixed_bytes + batch_size * self.bytes_an_image) / MIB

    def largest_batch(self, mib: float) -> int:
        """How many images fit; 0 where not one does."""
        return max(0, int((mib * MIB - self.fixed_bytes) // self.bytes_an_image))


def training_memory(network: nn.Module, resolution: tuple[int, int], in_chans: int = 3) -> TrainingMemory:
    """Of a `network` on the meta device, for images of H, W pixels; it is left in training mode.

    Counted is what autograd keeps: the storages of the tensors that operators save for backward, each once.
    """
    # Batch norms refuse to learn from one image where its map is one pixel.
    two, three = (_saved_bytes(network, batch_size, resolution, in_chans) for batch_size in (2, 3))
    parameters = BYTES_A_PARAMETER * sum(parameter.numel() for parameter in network.parameters())
    return TrainingMemory(parameters + 3 * two - 2 * three, three - two)


def _saved_bytes(network: nn.Module, batch_size: int, resolution: tuple[int, int], in_chans: int) -> int:
    held = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}
    # Kept until the end: the place of one that is gone may be another's.
    saved: dict[int, Any] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in held:
            saved[storage._cdata] = storage
        return tensor

    images = torch.empty(batch_size, in_chans, *resolution, device="meta")
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept)
    with torch.device("meta"), torch.enable_grad(), hooks, _FusedAttentionEverywhere():
        network.train()(images)
    return sum(storage.nbytes() for storage in saved.values())


class _FusedAttentionEverywhere(TorchFunctionMode):
    """On the meta device torch decomposes attention and would keep all scores, which no device has to."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is F.scaled_dot_product_attention:
            return _attention(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *_: Any, **__: Any
) -> Tensor:
    return _FusedAttention.apply(query, key, value, attn_mask)


class _FusedAttention(torch.autograd.Function):
    """What a fused kernel keeps: its inputs, its output, and the logarithm of each query's sum."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        leading = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
        output = query.new_empty(*leading, query.shape[-2], value.shape[-1])
        ctx.save_for_backward(query, key, value, mask, output, output.new_empty(output.shape[:-1]))
        return output
