"""Large-kernel convolution: one depth-wise kernel as large as the map, learned as a sum of branches with batch norm.

Sources: Ding et al., "Scaling Up Your Kernels to 31x31: Revisiting Large Kernel Design in CNNs" (RepLKNet),
arXiv:2203.06717, section 3; official code DingXiaoH/RepLKNet-pytorch; and, with `decomposed`, Liu et al., "More
ConvNets in the 2020s: Scaling up Kernels Beyond 51x51 using Sparsity" (SLaK), arXiv:2207.03620, section 3; official
code VITA-Group/SLaK.
Differences: none in numbers for RepLKNet, whose 1 x 1 convolutions are linear layers here; SLaK's kernels are dense,
not sparse. On a map of L rows (columns) only a kernel's inner 2 L - 1 rows (columns) ever meet a pixel, and only these
are computed: they are what `macs` counts, the whole kernels what `authors_macs` does. The inference form merges norms
and branches into one kernel, decomposed into two, with the small one in its centre; SLaK's own code merges none.
Cost: H W (2 r C^2 + r C (k^2 + s^2)) with r = expansion; without projection H W C (k^2 + s^2), and decomposed
2 k s + s^2 in place of k^2 + s^2. The inference form saves the s^2.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, require
from .initialization import truncated_normal_layers
from .kernels.large_depthwise import large_depthwise_conv
from .normed_linear import NormedLinear, with_norm
from .registry import register


@register("large_kernel_conv")
class LargeKernelConv(Mixer):
    """Linear, batch norm, ReLU, large depth-wise kernel, ReLU, linear, batch norm. B, H, W, C -> B, H, W, C.

    Zeros outside of the map. In training mode the batch norms see one value per pixel of the batch, so a single image
    of one pixel raises PyTorch's ValueError.

    Args:
        kernel_size: side k of the large kernel, odd, in pixels. The authors' by stage, unless it is given.
        small_kernel_size: side s of the small kernel beside it, and width of the strips; odd, at most kernel_size.
        decomposed: whether the large kernel is the sum of two strips, k x s and s x k, as in SLaK.
        projection: whether there are the two linear layers; False leaves the sum of the depth-wise branches, each with
            its norm. As the authors have it, unless it is given: with RepLKNet's kernels, not with SLaK's.
        expansion: the depth-wise kernels have expansion * dim channels; other than 1 with projection only.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        kernel_size: int = 31,
        small_kernel_size: int = 5,
        decomposed: bool = False,
        projection: bool = True,
        expansion: float = 1.0,
    ) -> None:
        super().__init__(dim, resolution)
        for option, size in (("kernel_size", kernel_size), ("small_kernel_size", small_kernel_size)):
            require(size >= 1 and size % 2 == 1, option, size, "must be odd and at least 1")
        rule = f"must be at most kernel_size={kernel_size}"
        require(small_kernel_size <= kernel_size, "small_kernel_size", small_kernel_size, rule)
        require(projection or expansion == 1, "expansion", expansion, "must be 1 without projection")
        self.width = int(dim * expansion)
        require(self.width >= 1, "expansion", expansion, f"leaves no channel of dim={dim}")
        self.projection = projection
        k, s = kernel_size, small_kernel_size
        shapes = ((k, s), (s, k), (s, s)) if decomposed else ((k, k), (s, s))
        self.input_proj = NormedLinear(dim, self.width) if projection else nn.Identity()
        self.kernels = Branches([DepthwiseNorm(self.width, shape) for shape in shapes], shapes)
        self.output_proj = NormedLinear(self.width, dim) if projection else nn.Identity()

    @classmethod
    def defaults(cls, dim: int, stage: int, block: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
        sizes = (51, 49, 47, 13) if given["decomposed"] else (31, 29, 27, 13)
        return {"kernel_size": sizes[stage], "projection": not given["decomposed"]}

    def init_weights(self) -> None:
        truncated_normal_layers(self)

    def forward(self, x: Tensor) -> Tensor:
        if not self.projection:
            return self.kernels(x)
        x = F.relu(self.input_proj(x))
        return self.output_proj(F.relu(self.kernels(x)))

    def macs(self, resolution: tuple[int, int]) -> int:
        return self._macs(resolution, [cut(shape, resolution) for shape in self.kernels.shapes])

    def authors_macs(self, resolution: tuple[int, int]) -> int:
        return self._macs(resolution, self.kernels.shapes)

    def _macs(self, resolution: tuple[int, int], shapes: Sequence[tuple[int, int]]) -> int:
        taps = sum(rows * columns for rows, columns in shapes)
        per_pixel = taps * self.width + 2 * self.dim * self.width * self.projection
        return resolution[0] * resolution[1] * per_pixel

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        field = torch.zeros(resolution, dtype=torch.bool)
        for rows, columns in self.kernels.shapes:
            top, left = max(position[0] - rows // 2, 0), max(position[1] - columns // 2, 0)
            field[top : position[0] + rows // 2 + 1, left : position[1] + columns // 2 + 1] = True
        return field


def cut(shape: tuple[int, int], resolution: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of a kernel of `shape`, around its centre, that meet a pixel of a map somewhere."""
    return min(shape[0], 2 * resolution[0] - 1), min(shape[1], 2 * resolution[1] - 1)


class DepthwiseConv(nn.Conv2d):
    """Depth-wise convolution whose kernel is cut to what meets the map. B, C, H, W -> B, C, H, W."""

    def __init__(self, channels: int, shape: tuple[int, int], bias: bool) -> None:
        super().__init__(channels, channels, shape, groups=channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = cut(self.kernel_size, (int(x.shape[2]), int(x.shape[3])))
        weight = self.weight
        if (rows, columns) != self.kernel_size:
            top, left = (self.kernel_size[0] - rows) // 2, (self.kernel_size[1] - columns) // 2
            weight = weight[:, :, top : top + rows, left : left + columns]
        return large_depthwise_conv(x, weight, self.bias)


class DepthwiseNorm(nn.Module):
    """Depth-wise convolution without bias, batch norm. B, C, H, W -> B, C, H, W."""

    def __init__(self, channels: int, shape: tuple[int, int]) -> None:
        super().__init__()
        self.conv = DepthwiseConv(channels, shape, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class Branches(nn.Module):
    """The sum of depth-wise branches. B, H, W, C -> B, H, W, C.

    Args:
        branches: modules from B, C, H, W to the same.
        shapes: rows and columns of each one's kernel.
    """

    def __init__(self, branches: Sequence[nn.Module], shapes: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.shapes = tuple(shapes)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 3, 1, 2)
        first, *others = self.branches
        total = first(x)
        for branch in others:
            total = total + branch(x)
        return total.permute(0, 2, 3, 1)

    def fuse(self) -> nn.Module:
        """One convolution with bias for each kernel that fits into no other; the others are added to their centres."""
        merged: list[DepthwiseConv] = []
        for branch, shape in zip(self.branches, self.shapes, strict=True):
            weight, bias = with_norm(branch.conv.weight, branch.bn)
            around = next((conv for conv in merged if fits(shape, conv.kernel_size)), None)
            if around is None:
                with torch.device("meta"):
                    merged.append(DepthwiseConv(branch.bn.num_features, shape, bias=True))
                merged[-1].weight, merged[-1].bias = nn.Parameter(weight), nn.Parameter(bias)
            else:
                rows, columns = ((large - small) // 2 for large, small in zip(around.kernel_size, shape, strict=True))
                around.weight.data += F.pad(weight, (columns, columns, rows, rows))
                around.bias.data += bias
        return Branches(merged, [conv.kernel_size for conv in merged])


def fits(shape: tuple[int, int], around: tuple[int, int]) -> bool:
    return shape[0] <= around[0] and shape[1] <= around[1]
