"""Lets torch's graph tracer, on which fvcore stands, trace networks that live on the meta device.

The tracer turns every size that Python reads from a tensor into a traced scalar tensor, also inside the Python code
that computes output shapes for the meta device, which refuses anything but plain integers. Here tracing is switched
off while a size is read and while an operator computes its output, and on everywhere else. Sizes are then plain
integers in the networks too, as they are outside of tracing: caches and `if`s on a size behave as always.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

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


class RememberedShapes(TorchDispatchMode):
    """On the meta device, works out the output of each operator on arguments of each shape once.

    An output there is a shape without data, and a network does the same in block after block. Enter it before
    `meta_tracing`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.outputs: dict[Hashable, Any] = {}

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        call = (operator, _described(args), tuple((name, _described(value)) for name, value in kwargs.items()))
        if call in self.outputs:
            return tree_map_only(Shape, Shape.tensor, self.outputs[call])
        output = operator(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs, output)) if isinstance(leaf, Tensor)]
        if not operator._schema.is_mutable and all(tensor.is_meta for tensor in tensors):
            self.outputs[call] = tree_map_only(Tensor, Shape.of, output)
        return output


@dataclass(frozen=True, slots=True)
class Shape:
    """What there is to know of a tensor on the meta device."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> "Shape":
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype)

    def tensor(self) -> Tensor:
        return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device="meta")


def _described(argument: Any) -> Hashable:
    if isinstance(argument, Tensor):
        return Shape.of(argument), argument.device
    if isinstance(argument, list | tuple):
        return tuple(map(_described, argument))
    return type(argument), argument  # 1, 1.0 and True are equal, and give outputs of different types


@contextmanager
def meta_tracing() -> Iterator[None]:
    """Inside this context, tracing works on any device and reads sizes as plain integers."""
    with _KernelsUntraced(), _SizesUntraced():
        yield


class _SizesUntraced(TorchFunctionMode):
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


class _KernelsUntraced(TorchDispatchMode):
    def __torch_dispatch__(
        self,
        operator: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if operator is _CONVOLUTION:
            return self._recorded_convolution(*args)
        with _untraced():
            return operator(*args, **(kwargs or {}))

    def _recorded_convolution(self, *args: Any) -> Tensor:
        # The tracer records no `convolution`, only the `_convolution` that it calls on devices with real memory.
        with _tracer_excluded(False), self:
            return torch.ops.aten._convolution(*args, benchmark=False, deterministic=False, cudnn_enabled=True)


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
