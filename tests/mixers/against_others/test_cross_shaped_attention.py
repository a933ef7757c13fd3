"""Cross-shaped attention equals PyTorch's own attention and convolution, stripe by stripe; timm has no CSWin."""

import pytest
import torch
from torch import Tensor, nn

from mixers import Mixer, build_mixer

from ..cases import DIM, randomise
from .equality import assert_equal_to, channels_first


def bare_attention(dim: int, num_heads: int) -> nn.MultiheadAttention:
    """PyTorch's, with projections that change nothing."""
    attention = nn.MultiheadAttention(dim, num_heads, batch_first=True).double()
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.eye(dim).repeat(3, 1))
        attention.out_proj.weight.copy_(torch.eye(dim))
    return attention


def alone(mixer: Mixer, direction: int, dim: int, num_heads: int, qkv: Tensor) -> Tensor:
    """A stripe, B, h, w, 3, C, by itself."""
    q, k, v = qkv.flatten(1, 2).unbind(2)
    attended, _ = bare_attention(dim, num_heads)(q, k, v)
    convolution = nn.Conv2d(dim, dim, 3, padding=1, groups=dim).double()
    convolution.load_state_dict(mixer.attns[direction].get_v.state_dict())
    return attended.unflatten(1, qkv.shape[1:3]) + channels_first(convolution)(qkv[:, :, :, 2])


@pytest.mark.parametrize("resolution", [(14, 14), (7, 10), (9, 3), (1, 5)])
@pytest.mark.parametrize("width", [1, 4, None])
def test_equals_pytorchs_attention_in_each_stripe(width: int | None, resolution: tuple[int, int]) -> None:
    mixer = build_mixer("cross_shaped_attention", DIM, (14, 14), num_heads=4, stripe_width=width).double()
    randomise(mixer, seed=0)

    def stripe_by_stripe(x: Tensor) -> Tensor:
        qkv = mixer.qkv(x).unflatten(-1, (3, DIM))
        if width is None:
            return mixer.proj(alone(mixer, 0, DIM, 4, qkv))
        upright, lying = qkv[..., : DIM // 2], qkv[..., DIM // 2 :]
        upright = [alone(mixer, 0, DIM // 2, 2, stripe) for stripe in upright.split(width, 2)]
        lying = [alone(mixer, 1, DIM // 2, 2, stripe) for stripe in lying.split(width, 1)]
        return mixer.proj(torch.cat([torch.cat(upright, 2), torch.cat(lying, 1)], -1))

    assert_equal_to(mixer, stripe_by_stripe, dim=DIM, resolution=resolution)
