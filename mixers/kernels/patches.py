"""Convolutions of patches that do not overlap, as linear layers where oneDNN computes those faster."""

from torch import Tensor, nn

from . import used
from .linear import MatrixLayer, onednn_takes


class PatchConv2d(MatrixLayer, nn.Conv2d):
    """`nn.Conv2d` with a stride as large as its kernel, `patch_size` pixels, from maps `B, H, W, C` to the same.

    Rows and columns at the bottom and right that fill no whole patch are left out. On the CPU, in float32, patches are
    gathered and multiplied by the weights.
    """

    def __init__(self, in_dim: int, dim: int, patch_size: int) -> None:
        super().__init__(in_dim, dim, patch_size, stride=patch_size)

    def matrix(self) -> Tensor:
        return self.weight.permute(0, 2, 3, 1).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        if not onednn_takes(x, self.weight, self.bias):
            used.note("patches", used.REFERENCE)
            return nn.Conv2d.forward(self, x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        used.note("patches", "onednn")
        size = self.kernel_size[0]
        rows, columns = (side // size for side in x.shape[1:3])
        x = x[:, : rows * size, : columns * size].unflatten(1, (rows, size)).unflatten(3, (columns, size))
        return super().forward(x.transpose(2, 3).flatten(3))
