"""Calls of DCNv3 that every implementation is checked on, and what they are compared by."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mixers.kernels.dcnv3 import dcnv3


@dataclass(frozen=True)
class Case:
    name: str
    size: tuple[int, int]
    groups: int
    width: int  # channels of a group
    kernel_size: int = 3
    stride: int = 1
    padding: int = 1
    dilation: int = 1
    offset_scale: float = 1.0
    remove_centre: bool = False
    batch: int = 2

    def __str__(self) -> str:
        return self.name

    @property
    def options(self) -> dict[str, float | bool]:
        names = ("kernel_size", "stride", "padding", "dilation", "offset_scale", "remove_centre")
        return {name: getattr(self, name) for name in names}

    def tensors(self, dtype: torch.dtype, weights_dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Value, offsets and weights that require gradients; offsets reach beyond the map.

        Offsets are odd sixteenths of a pixel: exact in every dtype, and never at a whole position, where a derivative
        has two values.
        """
        generator = torch.Generator().manual_seed(sum(map(ord, self.name)))
        reach = self.dilation * (self.kernel_size - 1)
        rows, columns = ((side + 2 * self.padding - reach - 1) // self.stride + 1 for side in self.size)
        points = self.kernel_size**2 - self.remove_centre
        shape = (self.batch, rows, columns, self.groups, points)
        value = torch.randn(self.batch, *self.size, self.groups * self.width, generator=generator)
        offsets = (2 * torch.randint(-40, 40, (*shape, 2), generator=generator) + 1) / 16
        weights = torch.randn(shape, generator=generator)
        others = weights_dtype or dtype
        return (
            value.to(dtype).requires_grad_(),
            offsets.to(others).requires_grad_(),
            weights.to(others).requires_grad_(),
        )


CASES = (
    Case("internimage", (5, 7), groups=2, width=16),
    Case("kernel_5_stride_2", (11, 8), groups=3, width=10, kernel_size=5, stride=2, padding=2, offset_scale=0.7),
    Case("kernel_7_dilated", (4, 5), groups=1, width=33, kernel_size=7, padding=6, dilation=2, batch=1),
    Case("without_centre", (4, 3), groups=2, width=5, offset_scale=2.0, remove_centre=True),
    Case("unpadded_stride_3", (10, 13), groups=4, width=4, stride=3, padding=0),
    Case("even_kernel", (3, 4), groups=1, width=8, kernel_size=2),
    Case("one_pixel", (1, 1), groups=1, width=1, kernel_size=1, padding=0, batch=1),
)

# Two results rounded from float32 differ by a unit in the last place, or two where a tool truncates.
TOLERANCES = {
    torch.float64: {"rtol": 1e-12, "atol": 1e-12},
    torch.float32: {"rtol": 1e-5, "atol": 2e-5},
    torch.float16: {"rtol": 2**-9, "atol": 2e-5},
    torch.bfloat16: {"rtol": 2**-6, "atol": 2e-5},
}


def assert_equals_reference(case: Case, implementation: str, dtype: torch.dtype, weights_dtype: torch.dtype) -> None:
    """Output and all gradients, in the inputs' dtypes."""
    inputs = case.tensors(dtype, weights_dtype)
    outputs = [dcnv3(*inputs, **case.options, implementation=name) for name in (implementation, "reference")]
    grad = torch.randn(outputs[0].shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    tested, wanted = ((output, *torch.autograd.grad(output, inputs, grad)) for output in outputs)
    for ours, theirs in zip(tested, wanted, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.is_contiguous()
        torch.testing.assert_close(ours, theirs, **TOLERANCES[theirs.dtype])
