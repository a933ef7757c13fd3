"""DWNet with dynamic depth-wise convolution in its straightforward form: tokens between modules, maps inside.

Parameters have the authors' names and shapes, so `architectures.checkpoints.convert` turns a baseline's state dict
into the one of our network.
"""

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn

DEPTHS = (2, 2, 6, 2)
DIM = 96
KERNEL = 7
DROP_PATH_RATE = 0.2


class DynamicConvolution(nn.Module):
    """Depth-wise convolution of `B, C, H, W` by kernels generated from the mean of each image."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim // 4, 1, bias=False)
        self.bn = nn.BatchNorm2d(dim // 4)
        self.conv2 = nn.Conv2d(dim // 4, dim * KERNEL**2, 1)
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        batch, dim, rows, columns = x.shape
        kernels = self.conv2(F.relu(self.bn(self.conv1(F.adaptive_avg_pool2d(x, 1)))))
        kernels = kernels.reshape(batch * dim, 1, KERNEL, KERNEL)
        x = x.reshape(1, batch * dim, rows, columns)
        x = F.conv2d(x, kernels, self.bias.repeat(batch), padding=KERNEL // 2, groups=batch * dim)
        return x.reshape(batch, dim, rows, columns)


class Mixing(nn.Module):
    """`B, H, W, C` -> `B, H, W, C`, on `B, C, H, W` inside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(dim, dim, 1, bias=False)
        self.bn0 = nn.BatchNorm2d(dim)
        self.conv = DynamicConvolution(dim)
        self.bn = nn.BatchNorm2d(dim)
        self.conv2 = nn.Conv2d(dim, dim, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 3, 1, 2).contiguous()
        x = F.relu(self.bn0(self.conv0(x)))
        x = F.relu(self.bn(self.conv(x)))
        return self.bn2(self.conv2(x)).permute(0, 2, 3, 1).contiguous()


class MLP(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Tokens `B, H * W, C` -> the same."""

    def __init__(self, dim: int, side: int, drop_path: float) -> None:
        super().__init__()
        self.side = side
        self.attn2conv = Mixing(dim)
        self.bn = nn.BatchNorm2d(dim)
        self.mlp = MLP(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, dim = x.shape
        x = x + self.drop_path(self.attn2conv(x.reshape(batch, self.side, self.side, dim)).reshape(x.shape))
        normed = self.bn(x.transpose(1, 2).reshape(batch, dim, self.side, self.side))
        return x + self.drop_path(self.mlp(normed.flatten(2).transpose(1, 2)))


class Merging(nn.Module):
    """Tokens of a map of `side` to half of it and twice the width."""

    def __init__(self, dim: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        x = x.reshape(batch, self.side, self.side, dim)
        phases = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(phases, -1).reshape(batch, tokens // 4, 4 * dim)))


class Stage(nn.Module):
    def __init__(self, dim: int, side: int, rates: list[float], last: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, side, rate) for rate in rates)
        self.downsample = nn.Identity() if last else Merging(dim, side)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.downsample(x)


class PatchEmbedding(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 4, stride=4)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        return self.norm(self.proj(image).flatten(2).transpose(1, 2))


class DynamicDWNetBaseline(nn.Module):
    """Image `B, 3, 224, 224` -> logits `B, 1000`, in the tiny size."""

    def __init__(self) -> None:
        super().__init__()
        last = sum(DEPTHS) - 1
        rates = [DROP_PATH_RATE * index / last for index in range(last + 1)]
        self.patch_embed = PatchEmbedding(DIM)
        self.layers = nn.ModuleList(
            Stage(DIM * 2**stage, 56 // 2**stage, [rates.pop(0) for _ in range(depth)], stage == len(DEPTHS) - 1)
            for stage, depth in enumerate(DEPTHS)
        )
        self.norm = nn.LayerNorm(8 * DIM)
        self.head = nn.Linear(8 * DIM, 1000)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch_embed(image)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x).mean(1))
