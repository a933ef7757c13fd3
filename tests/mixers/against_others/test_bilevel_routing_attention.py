"""Bi-level routing attention where PyTorch's attention computes the same: all regions are chosen. timm has no BiFormer.

Which are chosen otherwise is held against tests/mixers/plain only.
"""

import pytest
import torch
from torch import Tensor, nn

from mixers import build_mixer

from ..cases import DIM, randomise
from .equality import assert_equal_to, channels_first

HEADS = 2


@pytest.mark.parametrize("resolution", [(7, 7), (14, 9), (1, 6), (3, 10)])
@pytest.mark.parametrize("topk", [49, None])
def test_with_all_regions_it_is_pytorchs_attention(topk: int | None, resolution: tuple[int, int]) -> None:
    mixer = build_mixer("bilevel_routing_attention", DIM, (14, 14), num_heads=HEADS, topk=topk).double()
    randomise(mixer, seed=0)
    convolution = nn.Conv2d(DIM, DIM, 5, padding=2, groups=DIM).double()
    convolution.load_state_dict(mixer.lepe.state_dict())
    attention = nn.MultiheadAttention(DIM, HEADS, batch_first=True).double()
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.eye(DIM).repeat(3, 1))
        attention.in_proj_weight[:DIM] *= HEADS**-0.5  # the root of all channels, not of a head's
        attention.out_proj.weight.copy_(torch.eye(DIM))

    def of_pytorch(x: Tensor) -> Tensor:
        q, k, v = mixer.qkv(x).chunk(3, -1)
        attended, _ = attention(*(each.flatten(1, 2) for each in (q, k, v)))
        return mixer.proj(attended.unflatten(1, resolution) + channels_first(convolution)(v))

    assert_equal_to(mixer, of_pytorch, dim=DIM, resolution=resolution)
