"""SS2D: the map is scanned along four paths by recurrences whose steps depend on the input.

Source: Liu et al., "VMamba: Visual State Space Model", arXiv:2401.10166, section 4.2; official code MzeroMiko/VMamba,
whose released T, S and B in the form `s1l8` (forward type `v05_noz`) are the defaults. Its `s2l5` is `expansion=2`; the
first version (v0) is `expansion=2, states=16, gate=True, conv_bias=True`. The recurrence is that of Gu and Dao,
"Mamba", arXiv:2312.00752, section 3.2.
Differences: none in numbers; `A_log` and `D` have an axis for the paths, and the four matrices for step sizes, B and C
are one linear layer. Weight decay is that of the published training: the authors mark `A_log` and `D` as not decaying,
but their optimiser does not read the mark and exempts vectors only, so all decays but `D` (4E there) and the norm.
Cost: H W (2 C E + 9 E + 8 E (R + S)) and 4 (4 S + 2) H W E in the scan, with E = expansion C channels inside, S states
and R = ceil(C / 16); the gate adds H W C E.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Mixer, require
from .initialization import truncated_normal
from .kernels.depthwise import DepthwiseConv2d
from .kernels.linear import Linear
from .kernels.selective_scan import IMPLEMENTATIONS, selective_scan
from .registry import register

PATHS = 4
SMALLEST_STEP, LARGEST_STEP, STEP_FLOOR = 1e-3, 1e-1, 1e-4


class NormInFloat32(nn.LayerNorm):
    """`nn.LayerNorm` of a map that comes in float32 also where the parameters have 16 bits, which may have no room for
    sums over a whole path."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


@register("ss2d")
class SS2D(Mixer):
    """Linear, depth-wise 3 x 3, SiLU, selective scan along four paths, norm, linear. B, H, W, C -> B, H, W, C.

    The scan is done in float32, whatever the dtype of the map, and in float64 for that.

    Args:
        expansion: channels inside, as a multiple of dim.
        states: states of each channel's recurrence.
        gate: whether the output of the scan is multiplied by SiLU of another linear layer of the input.
        conv_bias: whether the depth-wise convolution has a bias.
        implementation: auto, or the code that scans: cpp, triton or reference. The numbers are the same.
    """

    def __init__(
        self,
        dim: int,
        resolution: tuple[int, int],
        *,
        expansion: float = 1.0,
        states: int = 1,
        gate: bool = False,
        conv_bias: bool = False,
        implementation: str = "auto",
    ) -> None:
        super().__init__(dim, resolution)
        inner = int(expansion * dim)
        require(inner >= 1, "expansion", expansion, f"must leave at least one of dim={dim} channels")
        require(states >= 1, "states", states, "must be at least 1")
        choices = ("auto", *IMPLEMENTATIONS)
        require(implementation in choices, "implementation", implementation, f"must be one of {', '.join(choices)}")
        self.inner = inner
        self.states = states
        self.gate = gate
        self.implementation = implementation
        self.rank = math.ceil(dim / 16)
        self.in_proj = Linear(dim, inner * (1 + gate), bias=False)
        self.conv = DepthwiseConv2d(inner, 3, bias=conv_bias)
        self.x_proj = Linear(inner, PATHS * (self.rank + 2 * states), bias=False)
        self.dt_weight = nn.Parameter(torch.empty(PATHS, inner, self.rank))
        self.dt_bias = nn.Parameter(torch.empty(PATHS, inner))
        self.A_log = nn.Parameter(torch.empty(PATHS, inner, states))
        self.D = nn.Parameter(torch.empty(PATHS, inner))
        self.norm = NormInFloat32(inner)
        self.out_proj = Linear(inner, dim, bias=False)
        self.init_weights()

    def init_weights(self) -> None:
        """The authors': steps between 1e-3 and 1e-1, rates 1 to S; convolution and `x_proj` as PyTorch draws them."""
        truncated_normal(self.in_proj)
        truncated_normal(self.out_proj)
        self.conv.reset_parameters()
        self.x_proj.reset_parameters()
        nn.init.uniform_(self.dt_weight, -(self.rank**-0.5), self.rank**-0.5)
        with torch.no_grad():
            self.dt_bias.uniform_(math.log(SMALLEST_STEP), math.log(LARGEST_STEP)).exp_().clamp_(min=STEP_FLOOR)
            self.dt_bias.add_(torch.log(-torch.expm1(-self.dt_bias)))  # the inverse of softplus
            self.A_log.copy_(torch.arange(1, self.states + 1, device=self.A_log.device).log().expand_as(self.A_log))
        nn.init.ones_(self.D)

    def no_weight_decay(self) -> set[str]:
        return {"D"}

    def forward(self, x: Tensor) -> Tensor:
        inside = self.in_proj(x)
        if self.gate:
            inside, gate = inside.chunk(2, -1)
        inside = F.silu(self.conv(inside))
        each_path = self.x_proj(inside).unflatten(-1, (PATHS, -1)).permute(3, 0, 1, 2, 4)
        rank, b, c = each_path.split((self.rank, self.states, self.states), -1)
        delta = torch.bmm(rank.flatten(1, 3), self.dt_weight.transpose(1, 2)).unflatten(1, x.shape[:3])
        scanned = selective_scan(
            inside, delta, self.A_log, b, c, self.D, delta_bias=self.dt_bias, implementation=self.implementation
        )
        mixed = self.norm(scanned).to(x.dtype)
        if self.gate:
            mixed = mixed * F.silu(gate)
        return self.out_proj(mixed)

    def macs(self, resolution: tuple[int, int]) -> int:
        projections = (2 + self.gate) * self.dim + 9 + 2 * PATHS * (self.rank + self.states)
        scan = PATHS * (4 * self.states + 2)
        return resolution[0] * resolution[1] * self.inner * (projections + scan)

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> Tensor:
        return torch.ones(resolution, dtype=torch.bool)
