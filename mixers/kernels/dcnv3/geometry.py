"""Where the sampling points of DCNv3 lie, and which shapes of its three tensors fit together."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Geometry:
    """The numbers of a DCNv3 call. Point p of output pixel (r, c) samples, in pixels of the value map,

        row     r * stride - padding + centre + (p % kernel_size * dilation - centre + y) * offset_scale
        column  c * stride - padding + centre + (p // kernel_size * dilation - centre + x) * offset_scale

    with (x, y) its offset and centre = dilation * (kernel_size - 1) // 2: points are numbered column by column. Without
    the centre point (`remove_centre`) the points after it move up by one.

    Source: Wang et al., InternImage, arXiv:2211.05778, eq. 2; official code OpenGVLab/InternImage (operation DCNv3).
    """

    kernel_size: int
    stride: int
    padding: int
    dilation: int
    offset_scale: float
    remove_centre: bool

    def __post_init__(self) -> None:
        for name, least in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"dcnv3: {name}={getattr(self, name)!r}: must be at least {least}")
        if self.remove_centre and (self.kernel_size % 2 == 0 or self.kernel_size == 1):
            raise ValueError(
                f"dcnv3: remove_centre with kernel_size={self.kernel_size}: needs an odd size of at least 3"
            )

    @property
    def numbers(self) -> tuple[int, int, int, int, float, bool]:
        """As arguments, in the order of the fields."""
        return self.kernel_size, self.stride, self.padding, self.dilation, self.offset_scale, self.remove_centre

    @property
    def points(self) -> int:
        """K, the number of sampling points of a group."""
        return self.kernel_size**2 - self.remove_centre

    @property
    def centre(self) -> int:
        """Pixels from a kernel's first row to the row of its centre, before scaling."""
        return self.dilation * (self.kernel_size - 1) // 2

    def steps(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """K, 2: (x, y) of each point from its kernel's centre in pixels, before offsets and scaling."""
        side = torch.arange(self.kernel_size, dtype=dtype, device=device) * self.dilation - self.centre
        steps = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1).flatten(0, 1)
        if self.remove_centre:
            middle = len(steps) // 2
            steps = torch.cat((steps[:middle], steps[middle + 1 :]))
        return steps

    def output_size(self, rows: int, columns: int) -> tuple[int, int]:
        """H', W' for a value map of H, W."""
        reach = self.dilation * (self.kernel_size - 1) + 1
        out_rows, out_columns = ((size + 2 * self.padding - reach) // self.stride + 1 for size in (rows, columns))
        return out_rows, out_columns

    def check(self, value: Tensor, offsets: Tensor, weights: Tensor) -> None:
        """Raises ValueError, naming both shapes or dtypes, unless the three tensors fit together."""
        if value.dim() != 4 or weights.dim() != 5 or offsets.dim() != 6:
            raise ValueError(
                "dcnv3: wants value B, H, W, C, weights B, H', W', G, K and offsets B, H', W', G, K, 2; got value "
                f"{tuple(value.shape)}, weights {tuple(weights.shape)} and offsets {tuple(offsets.shape)}"
            )
        batch, rows, columns, channels = value.shape
        groups = weights.shape[3]
        wanted = (batch, *self.output_size(rows, columns), groups, self.points)
        if min(wanted[1:4]) < 1 or weights.shape != wanted or offsets.shape != (*wanted, 2):
            raise ValueError(
                f"dcnv3: value {tuple(value.shape)} with {self} wants weights {wanted} and offsets {(*wanted, 2)}, all "
                f"but the batch at least 1; got weights {tuple(weights.shape)} and offsets {tuple(offsets.shape)}"
            )
        if channels % groups:
            raise ValueError(
                f"dcnv3: {channels} channels of value {tuple(value.shape)} do not divide into {groups} groups"
            )
        for name, tensor in (("offsets", offsets), ("weights", weights)):
            if tensor.device != value.device:
                raise ValueError(f"dcnv3: value is on {value.device}, {name} on {tensor.device}: must be one device")
            if tensor.dtype != value.dtype and tensor.dtype != arithmetic(value.dtype):
                raise ValueError(
                    f"dcnv3: {name} {tensor.dtype} with value {value.dtype}: must be of the same dtype, or float32 "
                    "where value has 16 bits"
                )


def arithmetic(dtype: torch.dtype) -> torch.dtype:
    """What positions, interpolation and sums are computed in, whatever the implementation: float32 or float64."""
    return torch.promote_types(dtype, torch.float32)
