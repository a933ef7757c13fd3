"""ConTNet: convolution and windowed transformer encoders, alternating inside every block.

Source: Yan et al., "ConTNet: Why not use convolution and transformer at the same time?", arXiv:2104.13497, section 3
and table 1; official code yan-hao-tian/ConTNet. A block is two encoders whose attention sees one window at a time, then
a convolution. The authors' stage ends with a block that halves the map and doubles the width.
Differences from the official code: maps stay `B, H, W, C`, and only attention cuts them into windows (everything else
in an encoder is per token, so the numbers are the same); the block that halves the map opens the next stage here, so
that the pyramid offers the deepest map of each stride (4, 8, 16, 32); sizes that windows do not divide are padded at
the bottom and the right, the padding is hidden from attention and cropped; stochastic depth exists and is off.
Options and the authors' flags: `avg_down` is use_avgdown, `relative_position_bias` is relative, `qkv_bias` and
`pre_norm` are theirs.
"""

from collections import OrderedDict
from functools import partial

import torch
import torch.nn.functional as F
from timm.layers import DropPath, Mlp, calculate_drop_path_rates
from torch import Tensor, nn

from mixers.contract import require
from mixers.kernels.frozen import KeepsWhenFrozen
from mixers.kernels.linear import Linear

from .backbone import Backbone, Blocks
from .channels_last import channels_first, channels_last
from .initialization import kaiming_normal, truncated_normal
from .padding import pad_to_multiple
from .registry import register_networks


class WindowAttention(KeepsWhenFrozen):
    """Multi-head self-attention inside non-overlapping P x P windows. `B, H, W, C` kept, any H and W.

    Frozen, it keeps the mask of the last H and W.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: int,
        *,
        qkv_bias: bool,
        relative_position_bias: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        self.dropout = dropout
        self.qkv = Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = Linear(dim, dim)
        self.proj_dropout = nn.Dropout(dropout)
        self.relative_position_bias_table: nn.Parameter | None = None
        if relative_position_bias:
            self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window_size - 1) ** 2, num_heads))

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, dim = x.shape
        side, heads = self.window_size, self.num_heads
        padded = pad_to_multiple(self.qkv(x), side)
        rows, columns = padded.shape[1] // side, padded.shape[2] // side
        qkv = padded.reshape(batch, rows, side, columns, side, 3, heads, dim // heads)
        # Windows and heads share one axis, so that the mask broadcasts over the batch.
        query, key, value = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(3, batch, -1, side * side, dim // heads)
        x = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=self.keep(
                lambda: self._attention_mask(height, width, query),
                self.relative_position_bias_table,
                *(height, width, query.device, query.dtype),
            ),
            dropout_p=self.dropout if self.training else 0.0,
        )
        x = x.reshape(batch, rows, columns, heads, side, side, dim // heads).permute(0, 1, 4, 2, 5, 3, 6)
        # A copy by name: with a single window, some attention kernels would leave a view that ONNX cannot express.
        x = x.clone(memory_format=torch.contiguous_format)
        x = x.reshape(batch, rows * side, columns * side, dim)[:, :height, :width]
        return self.proj_dropout(self.proj(x))

    def _attention_mask(self, height: int, width: int, query: Tensor) -> Tensor | None:
        """1, windows * heads, 1 or P^2, P^2: keys to keep (bool) or bias of the scores (float); None when neither."""
        inside = None
        if height % self.window_size or width % self.window_size:
            inside = self._inside(height, width, query.device)
        if self.relative_position_bias_table is None:
            return None if inside is None else inside.expand(-1, self.num_heads, -1, -1).flatten(0, 1)[None]
        bias = self._relative_bias().to(query.dtype)
        if inside is None:
            return bias.repeat(query.shape[1] // self.num_heads, 1, 1)[None]
        return torch.where(inside, bias, -torch.inf).flatten(0, 1)[None]

    def _inside(self, height: int, width: int, device: torch.device) -> Tensor:
        """bool windows, 1, 1, P^2: which tokens of each window are pixels of the map and not padding."""
        side = self.window_size
        row, column = (
            (torch.arange(size + -size % side, device=device) < size).reshape(-1, side) for size in (height, width)
        )
        return (row[:, None, :, None] & column[:, None, :]).reshape(-1, 1, 1, side * side)

    def _relative_bias(self) -> Tensor:
        """heads, P^2, P^2: bias of each key for each query of a window."""
        places = torch.arange(self.window_size, device=self.relative_position_bias_table.device)
        offsets = places[:, None] - places + self.window_size - 1  # query minus key
        index = offsets[:, None, :, None] * (2 * self.window_size - 1) + offsets[None, :, None, :]
        tokens = self.window_size**2
        return self.relative_position_bias_table[index.reshape(tokens, tokens)].permute(2, 0, 1)


class WindowEncoder(nn.Module):
    """Transformer encoder layer whose attention stays inside P x P windows. `B, H, W, C` kept, any H and W.

    Post-norm by default: x = LN(x + MHSA(x)), x = LN(x + MLP(x)); `pre_norm` moves the norms into the branches.
    Position is a learned vector added to x and the same in all windows: its first half depends on the row in the
    window, its second on the column. `relative_position_bias` replaces it by a bias of the attention scores.
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        num_heads: int,
        window_size: int,
        *,
        qkv_bias: bool,
        pre_norm: bool,
        relative_position_bias: bool,
        dropout: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.pre_norm = pre_norm
        self.row_position: nn.Parameter | None = None
        self.column_position: nn.Parameter | None = None
        if not relative_position_bias:
            self.row_position = nn.Parameter(torch.zeros(window_size, 1, dim // 2))
            self.column_position = nn.Parameter(torch.zeros(1, window_size, dim // 2))
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(
            dim,
            num_heads,
            window_size,
            qkv_bias=qkv_bias,
            relative_position_bias=relative_position_bias,
            dropout=dropout,
        )
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, hidden_dim, drop=dropout)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.row_position is not None:
            x = x + self._position(*x.shape[1:3])
        if self.pre_norm:
            x = x + self.drop_path(self.attn(self.norm1(x)))
            return x + self.drop_path(self.mlp(self.norm2(x)))
        x = self.norm1(x + self.drop_path(self.attn(x)))
        return self.norm2(x + self.drop_path(self.mlp(x)))

    def _position(self, height: int, width: int) -> Tensor:
        """H, W, C: the window's position vectors, repeated over the map."""
        side = self.window_size
        window = torch.cat([self.row_position.expand(-1, side, -1), self.column_position.expand(side, -1, -1)], dim=-1)
        return window.repeat(-(-height // side), -(-width // side), 1)[:height, :width]


class ConTBlock(nn.Module):
    """conv(encoders(a)) + shortcut with a = ReLU(BN(x)). `B, H, W, dim` -> `B, H / stride, W / stride, out_dim`.

    With `out_dim == dim` the shortcut is x; otherwise it is a 1x1 convolution of a (not of x).

    Args:
        kernel_size, stride: of the convolution; odd sizes are rounded up.
        avg_down: whether the shortcut averages `stride` x `stride` pixels instead of taking one of them.
        out_dropout: rate on the sum.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int,
        encoders: tuple[WindowEncoder, WindowEncoder],
        *,
        kernel_size: int = 3,
        stride: int = 1,
        avg_down: bool = False,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(dim)
        self.encoder1, self.encoder2 = encoders
        self.conv = nn.Conv2d(dim, out_dim, kernel_size, stride, padding=kernel_size // 2, bias=False)
        self.shortcut: nn.Module | None = None
        if out_dim != dim and avg_down and stride > 1:
            pool = nn.AvgPool2d(stride, ceil_mode=True)
            self.shortcut = nn.Sequential(pool, nn.Conv2d(dim, out_dim, 1, bias=False))
        elif out_dim != dim:
            self.shortcut = nn.Conv2d(dim, out_dim, 1, stride, bias=False)
        self.dropout = nn.Dropout(out_dropout)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm(channels_first(x)))
        encoded = self.encoder2(self.encoder1(channels_last(active)))
        if self.shortcut is not None:
            x = channels_last(self.shortcut(active))
        return self.dropout(channels_last(self.conv(channels_first(encoded))) + x)


class Stem(nn.Module):
    """7x7 convolution and max-pooling, no norm: image `B, in_chans, H, W` -> `B, ceil(H / 4), ceil(W / 4), dim`."""

    def __init__(self, in_chans: int, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, dim, 7, stride=2, padding=3, bias=False)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return channels_last(self.pool(self.conv(x.contiguous(memory_format=torch.channels_last))))


class ConTNet(Backbone):
    """Image `B, in_chans, H, W` of any size -> logits `B, num_classes`.

    Args:
        dim: width of the authors' first stage; it doubles in each of the other three, and once more at the end.
        depths: blocks of each of the authors' stages, the one that doubles the width included.
        hidden_dims, num_heads, window_sizes, dropouts: of the encoders, by the authors' stages; dropouts act on
            attention weights, its projection and both layers of the MLP.
        out_dropout: rate on the final map.
        avg_down, relative_position_bias, qkv_bias, pre_norm: see the blocks and encoders.
        drop_path_rate: of the last block's encoders; rates grow linearly from 0.

    Raises: ValueError naming the impossible option.
    """

    def __init__(
        self,
        *,
        dim: int,
        depths: tuple[int, int, int, int],
        hidden_dims: tuple[int, int, int, int],
        num_heads: tuple[int, int, int, int] = (1, 2, 4, 8),
        window_sizes: tuple[tuple[int, int], ...] = ((7, 14), (7, 14), (7, 14), (7, 7)),
        dropouts: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
        out_dropout: float = 0.0,
        avg_down: bool = False,
        relative_position_bias: bool = False,
        qkv_bias: bool = True,
        pre_norm: bool = False,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        require(dim >= 2 and dim % 2 == 0, "dim", dim, "must be even: rows and columns have half of the positions each")
        require(min(depths) >= 1, "depths", depths, "every stage needs the block that doubles the width")
        require(min(map(min, window_sizes)) >= 1, "window_sizes", window_sizes, "must be at least 1")
        divides = all(heads >= 1 and dim * 2**stage % heads == 0 for stage, heads in enumerate(num_heads))
        require(divides, "num_heads", num_heads, f"must divide the widths, {dim} and its doubles")
        require(0 <= drop_path_rate < 1, "drop_path_rate", drop_path_rate, "must be at least 0 and less than 1")
        blocks: list[list[ConTBlock]] = [[], [], [], []]
        rates = calculate_drop_path_rates(drop_path_rate, list(depths), stagewise=True)
        for stage in range(4):
            width = dim * 2**stage
            encoder = partial(
                WindowEncoder,
                width,
                hidden_dims[stage],
                num_heads[stage],
                qkv_bias=qkv_bias,
                pre_norm=pre_norm,
                relative_position_bias=relative_position_bias,
                dropout=dropouts[stage],
            )
            for index, rate in enumerate(rates[stage]):
                encoders = tuple(encoder(window_size, drop_path=rate) for window_size in window_sizes[stage])
                if index < depths[stage] - 1:
                    blocks[stage].append(ConTBlock(width, width, encoders))
                elif stage < 3:
                    blocks[stage + 1].append(ConTBlock(width, 2 * width, encoders, stride=2, avg_down=avg_down))
                else:
                    last = ConTBlock(width, 2 * width, encoders, kernel_size=1, out_dropout=out_dropout)
                    blocks[stage].append(last)
        super().__init__(
            stem=Stem(in_chans, dim),
            stages=[nn.Sequential(OrderedDict(blocks=Blocks(*stage))) for stage in blocks],
            channels=(dim, 2 * dim, 4 * dim, 16 * dim),
            reductions=(4, 8, 16, 32),
            num_classes=num_classes,
            in_chans=in_chans,
            global_pool=global_pool,
            drop_rate=drop_rate,
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                kaiming_normal(module)
            elif isinstance(module, nn.Linear):
                truncated_normal(module)
            elif isinstance(module, WindowAttention) and relative_position_bias:
                nn.init.trunc_normal_(module.relative_position_bias_table, std=0.02)


SMALL = {"dim": 64, "depths": (1, 1, 1, 1), "hidden_dims": (256, 512, 1024, 1024)}
register_networks(
    ConTNet,
    {
        "contnet_tiny": {"dim": 48, "depths": (1, 1, 1, 1), "hidden_dims": (196, 392, 768, 768)},
        "contnet_small": SMALL,
        "contnet_medium": SMALL | {"depths": (2, 2, 2, 2)},
        "contnet_base": SMALL | {"depths": (3, 4, 6, 3), "dropouts": (0.0, 0.0, 0.1, 0.1), "out_dropout": 0.2},
    },
    first_conv="stem.conv",
    interpolation="bilinear",
    origin_url="https://github.com/yan-hao-tian/ConTNet",
)
