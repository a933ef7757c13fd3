"""Lets torch's graph tracer, on which fvcore stands, trace networks that live on the meta device.

The tracer turns every size that Python reads from a tensor into a traced scalar tensor, also inside the Python code
that works out the shape of an output on the meta device, which refuses anything but plain integers. Here tracing is
off while a size is read and while an operator runs, and on everywhere else. Sizes are then plain integers in the
networks too, as they are outside of tracing: caches and `if`s on a size behave as always.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

_TRACER = torch._C._parse_dispatch_key("Tracer")
_CONVOLUTION = torch.ops.aten.convolution.default
_SIZE_GETTERS = frozenset(
    {
        Tensor.shape.__get__,
        Tensor.ndim.__get__,
        Tensor.size,
        Tensor.dim,
        Tensor.numel,
        Tensor.nelement,
        Tensor.stride,
        Tensor.__len__,
    }
)


@contextmanager
def meta_tracing() -> Iterator["Kernels"]:
    """Inside this context, tracing works on any device and reads sizes as plain integers.

    What it yields counts the FLOPs of the operators that ran, independently of the trace.
    """
    with Kernels() as kernels, _UntracedSizes():
        yield kernels


class Kernels(TorchDispatchMode):
    """Runs operators untraced, and adds up what torch's own formulas (torch.utils.flop_counter) say of them.

    On the meta device an output is a shape without data, and networks repeat the same block, so each operator runs
    once for arguments of the same shapes.

    Attributes:
        flops: FLOPs, two for each multiply-accumulate, of PyTorch's own operators until now.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self.known: dict[Hashable, _Call] = {}

    def __torch_dispatch__(
        self, operator: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if operator is _CONVOLUTION:
            return self._recorded_convolution(*args)
        kwargs = kwargs or {}
        with _untraced():
            key = operator, _described(args), _described(tuple(kwargs.items()))
            if key in self.known:
                call = self.known[key]
                self.flops += call.flops
                return tree_map_only(_Shape, _Shape.tensor, call.output)
            output = operator(*args, **kwargs)
            flops = _flops(operator, args, kwargs, output)
            self.flops += flops
            tensors = [leaf for leaf in tree_leaves((args, kwargs, output)) if isinstance(leaf, Tensor)]
            if not operator._schema.is_mutable and all(tensor.is_meta for tensor in tensors):
                self.known[key] = _Call(tree_map_only(Tensor, _Shape.of, output), flops)
            return output

    def _recorded_convolution(self, *args: Any) -> Tensor:
        # The tracer records no `convolution`, only the `_convolution` that it calls on devices with real memory.
        with _tracer_excluded(False), self:
            return torch.ops.aten._convolution(*args, benchmark=False, deterministic=False, cudnn_enabled=True)


@dataclass(frozen=True, slots=True)
class _Call:
    """What one operator did: its output, with a _Shape for each tensor, and its FLOPs."""

    output: Any
    flops: int


@dataclass(frozen=True, slots=True)
class _Shape:
    """All there is to know of a tensor on the meta device."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> "_Shape":
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype)

    def tensor(self) -> Tensor:
        return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device="meta")


def _described(argument: Any) -> Hashable:
    if isinstance(argument, Tensor):
        return _Shape.of(argument), argument.device
    if isinstance(argument, list | tuple):
        return tuple(map(_described, argument))
    return type(argument), argument  # 1, 1.0 and True are equal, and give outputs of different types


def _flops(operator: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> int:
    formula = flop_registry.get(operator.overloadpacket) if operator.namespace == "aten" else None
    return formula(*args, **kwargs, out_val=output) if formula else 0


class _UntracedSizes(TorchFunctionMode):
    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function in _SIZE_GETTERS:
            with _untraced():
                return function(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


@contextmanager
def _untraced() -> Iterator[None]:
    state = torch._C._get_tracing_state()
    with _tracer_excluded(False):
        torch._C._set_tracing_state(None)
        try:
            yield
        finally:
            torch._C._set_tracing_state(state)


@contextmanager
def _tracer_excluded(excluded: bool) -> Iterator[None]:
    """A dispatch mode runs with the tracer excluded, and torch lets nobody touch the tracing state until it is not."""
    before = torch._C._dispatch_tls_is_dispatch_key_excluded(_TRACER)
    torch._C._dispatch_tls_set_dispatch_key_excluded(_TRACER, excluded)
    try:
        yield
    finally:
        torch._C._dispatch_tls_set_dispatch_key_excluded(_TRACER, before)
