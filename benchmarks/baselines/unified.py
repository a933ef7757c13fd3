"""The unified networks in their straightforward form: maps are `B, C, H, W` between blocks, as in the authors' code.

Parameters have the authors' names and shapes, so `architectures.checkpoints.convert` turns a baseline's state dict
into the one of our network.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn

from architectures.stages import HEAD_RATIO, NORM_EPS, stage_resolutions
from architectures.variants import VARIANTS, Variant

from .attention import HaloAttention, SpatialReductionAttention, WindowAttention
from .convolution import ChannelNorm, DCNv3

RESOLUTIONS = stage_resolutions((224, 224))


class MLP(nn.Module):
    def __init__(self, dim: int, ratio: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, ratio * dim)
        self.fc2 = nn.Linear(ratio * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


def scale(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.full(shape, 1e-6))


class HaloBlock(nn.Module):
    """`B, H, W, C` -> `B, H, W, C`; the stage around it changes the layout."""

    def __init__(self, variant: Variant, stage: int, index: int, drop_path: float) -> None:
        super().__init__()
        dim = variant.dims[stage]
        options = variant.published_options
        self.gamma_1, self.gamma_2 = scale(1, 1, 1, dim), scale(1, 1, 1, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = HaloAttention(dim, options["num_heads"][stage], options["block_size"], options["halo_size"])
        self.mlp = MLP(dim, 4)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.gamma_1 * self.attn(self.norm1(x)))
        return x + self.drop_path(self.gamma_2 * self.mlp(self.norm2(x)))


class HaloStage(nn.Sequential):
    """Blocks on `B, H, W, C`, between two changes of layout."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2).contiguous()


class PVTBlock(nn.Module):
    """`B, C, H, W` -> tokens -> `B, C, H, W`."""

    def __init__(self, variant: Variant, stage: int, index: int, drop_path: float) -> None:
        super().__init__()
        dim = variant.dims[stage]
        options = variant.published_options
        self.pos_embed = nn.Parameter(torch.randn(1, dim, *RESOLUTIONS[stage]) * 0.02) if index == 0 else None
        self.gamma_1, self.gamma_2 = scale(dim), scale(dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = SpatialReductionAttention(dim, options["num_heads"][stage], options["sr_ratio"][stage])
        self.mlp = MLP(dim, variant.mlp_ratio[stage])
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        shape = x.shape
        if self.pos_embed is not None:
            x = x + self.pos_embed
        x = x.flatten(2).transpose(1, 2)
        x = x + self.drop_path(self.gamma_1 * self.attn(self.norm1(x), *shape[2:]))
        x = x + self.drop_path(self.gamma_2 * self.mlp(self.norm2(x)))
        return x.transpose(1, 2).reshape(shape).contiguous()


class SwinBlock(nn.Module):
    """`B, C, H, W` -> `B, C, H, W`; mixer and MLP on `B, H, W, C`."""

    def __init__(self, variant: Variant, stage: int, index: int, drop_path: float) -> None:
        super().__init__()
        dim = variant.dims[stage]
        self.window = variant.published_options["window_size"]
        rows, columns = RESOLUTIONS[stage]
        self.shift = index % 2 * 3 if min(rows, columns) > self.window else 0
        self.gamma_1, self.gamma_2 = scale(dim), scale(dim)
        self.norm1, self.norm2 = ChannelNorm(dim, eps=1e-6), ChannelNorm(dim, eps=1e-6)
        self.attn = WindowAttention(dim, variant.published_options["num_heads"][stage], self.window)
        self.mlp = MLP(dim, 4)
        self.drop_path = DropPath(drop_path)
        self.register_buffer("attn_mask", self.mask(rows, columns) if self.shift else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.norm1(x).permute(0, 2, 3, 1)
        batch, rows, columns, dim = mixed.shape
        if self.shift:
            mixed = mixed.roll((-self.shift, -self.shift), (1, 2))
        mixed = self.attn(self.windows(mixed), self.attn_mask)
        mixed = mixed.reshape(batch, rows // self.window, columns // self.window, self.window, self.window, dim)
        mixed = mixed.transpose(2, 3).reshape(batch, rows, columns, dim)
        if self.shift:
            mixed = mixed.roll((self.shift, self.shift), (1, 2))
        x = x + self.drop_path(self.gamma_1 * mixed).permute(0, 3, 1, 2)
        mixed = self.gamma_2 * self.mlp(self.norm2(x).permute(0, 2, 3, 1))
        return (x + self.drop_path(mixed).permute(0, 3, 1, 2)).contiguous()

    def windows(self, x: Tensor) -> Tensor:
        """B, H, W, C -> B * windows, w * w, C."""
        batch, rows, columns, dim = x.shape
        x = x.reshape(batch, rows // self.window, self.window, columns // self.window, self.window, dim)
        return x.transpose(2, 3).reshape(-1, self.window**2, dim)

    def mask(self, rows: int, columns: int) -> Tensor:
        """windows, N, N: -100 where the shift brought pixels of different regions into one window."""
        labels = []
        for size in (rows, columns):
            place = torch.arange(size)
            labels.append((place >= size - self.window).int() + (place >= size - self.shift).int())
        regions = self.windows((3 * labels[0][:, None] + labels[1])[None, :, :, None])[..., 0]
        return torch.where(regions[:, :, None] == regions[:, None, :], 0.0, -100.0)


class ConvNeXtBlock(nn.Module):
    """`B, C, H, W` -> `B, C, H, W`; MLP on `B, H, W, C`."""

    def __init__(self, variant: Variant, stage: int, index: int, drop_path: float) -> None:
        super().__init__()
        dim = variant.dims[stage]
        kernel_size = variant.published_options["kernel_size"]
        self.gamma_1, self.gamma_2 = scale(1, dim, 1, 1), scale(1, 1, 1, dim)
        self.dw_norm = ChannelNorm(dim, eps=1e-6)
        self.dw_input_proj = nn.Conv2d(dim, dim, 1)
        self.dwconv = nn.Conv2d(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim)
        self.dw_out_proj = nn.Conv2d(dim, dim, 1)
        self.pw_norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.dwconv(self.dw_input_proj(self.dw_norm(x).contiguous()))
        x = x + self.drop_path(self.gamma_1 * self.dw_out_proj(mixed))
        mixed = self.pwconv2(F.gelu(self.pwconv1(self.pw_norm(x.permute(0, 2, 3, 1)))))
        return (x + self.drop_path(self.gamma_2 * mixed).permute(0, 3, 1, 2)).contiguous()


class DCNv3Block(nn.Module):
    """`B, C, H, W` -> `B, C, H, W`; both branches on `B, H, W, C`."""

    def __init__(self, variant: Variant, stage: int, index: int, drop_path: float) -> None:
        super().__init__()
        dim = variant.dims[stage]
        self.gamma1, self.gamma2 = scale(dim), scale(dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = DCNv3(dim, variant.published_options["groups"][stage])
        self.mlp = MLP(dim, 4)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = x + self.drop_path(self.gamma1 * self.attn(self.norm1(x)))
        x = x + self.drop_path(self.gamma2 * self.mlp(self.norm2(x)))
        return x.permute(0, 3, 1, 2).contiguous()


BLOCKS = {
    "halo": HaloBlock,
    "sra": PVTBlock,
    "shifted_window": SwinBlock,
    "depthwise_conv": ConvNeXtBlock,
    "dcnv3": DCNv3Block,
}


class Stem(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, dim // 2, 3, stride=2, padding=1),
            ChannelNorm(dim // 2, eps=NORM_EPS),
            nn.GELU(),
            nn.Conv2d(dim // 2, dim, 3, stride=2, padding=1),
            ChannelNorm(dim, eps=NORM_EPS),
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.stem(image)


class Downsample(nn.Module):
    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Sequential(
            nn.Conv2d(in_dim, dim, 3, stride=2, padding=1, bias=False), ChannelNorm(dim, eps=NORM_EPS)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.reduction(x)


class UnifiedBaseline(nn.Module):
    """Image `B, 3, 224, 224` -> logits `B, 1000`, for a published variant of `mixer`."""

    def __init__(self, mixer: str, scale: str) -> None:
        super().__init__()
        variant = VARIANTS[mixer][scale]
        dims = variant.dims
        last = sum(variant.depths) - 1
        rates = [variant.drop_path_rate * index / last for index in range(last + 1)]
        stage_class = HaloStage if mixer == "halo" else nn.Sequential
        self.downsample_layers = nn.ModuleList([Stem(dims[0]), *(Downsample(*pair) for pair in pairwise(dims))])
        self.stages = nn.ModuleList(
            stage_class(*(BLOCKS[mixer](variant, stage, index, rates.pop(0)) for index in range(depth)))
            for stage, depth in enumerate(variant.depths)
        )
        self.stage_norms = nn.ModuleList(ChannelNorm(dim, eps=NORM_EPS) for dim in dims)
        hidden = int(HEAD_RATIO * dims[-1])
        self.conv_head = nn.Sequential(nn.Conv2d(dims[-1], hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.GELU())
        self.head = nn.Linear(hidden, 1000)

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for downsample, stage, norm in zip(self.downsample_layers, self.stages, self.stage_norms, strict=True):
            x = norm(stage(downsample(x)))
        return self.head(self.conv_head(x).mean((2, 3)))
