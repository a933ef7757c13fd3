"""Manhattan attention from timm's rotary embedding and PyTorch's attention and convolution; timm has no RMT."""

import pytest
import torch
from timm.layers import apply_rot_embed
from torch import Tensor, nn

from mixers import Mixer, build_mixer

from ..cases import DIM, random_map, randomise
from .equality import assert_equal_to, channels_first

HEADS = 2
WIDTH = DIM // HEADS


def manhattan(**options: object) -> Mixer:
    mixer = build_mixer("manhattan_attention", DIM, (14, 14), num_heads=HEADS, **options).double()
    return randomise(mixer, seed=0)


@pytest.mark.parametrize("resolution", [(7, 7), (14, 9), (1, 6)])
def test_equals_timms_rotation_and_pytorchs_attention(resolution: tuple[int, int]) -> None:
    mixer = manhattan(decomposed=False)
    convolution = nn.Conv2d(DIM, DIM, 5, padding=2, groups=DIM).double()
    convolution.load_state_dict(mixer.lepe.state_dict())
    number = torch.arange(resolution[0] * resolution[1], dtype=torch.float64)
    angles = torch.outer(number, 10000 ** -torch.linspace(0, 1, WIDTH // 2, dtype=torch.float64))
    places = torch.cartesian_prod(*(torch.arange(size) for size in resolution)).double()
    decay = torch.log(1 - 2.0 ** (-2 - 4 * torch.arange(HEADS, dtype=torch.float64) / HEADS))
    mask = decay[:, None, None] * torch.cdist(places, places, p=1)

    def from_parts(x: Tensor) -> Tensor:
        q, k, v = mixer.qkv(x).chunk(3, -1)
        sin, cos = (each.repeat_interleave(2, -1) for each in (angles.sin(), angles.cos()))
        q, k, values = (each.flatten(1, 2).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2) for each in (q, k, v))
        q, k = (apply_rot_embed(each, sin, cos) for each in (q, k))
        attention = nn.MultiheadAttention(DIM, HEADS, batch_first=True).double()
        with torch.no_grad():
            attention.in_proj_weight.copy_(torch.eye(DIM).repeat(3, 1))
            attention.out_proj.weight.copy_(torch.eye(DIM))
        inputs = (each.transpose(1, 2).flatten(2) for each in (q, k, values))
        attended, _ = attention(*inputs, attn_mask=mask.repeat(len(x), 1, 1))
        return mixer.proj(attended.unflatten(1, resolution) + channels_first(convolution)(v))

    assert_equal_to(mixer, from_parts, dim=DIM, resolution=resolution)


@pytest.mark.parametrize("resolution", [(1, 9), (9, 1)])
def test_on_a_line_the_decomposed_form_is_the_whole_one(resolution: tuple[int, int]) -> None:
    x = random_map(*resolution, batch=2)
    torch.testing.assert_close(manhattan()(x), manhattan(decomposed=False)(x), rtol=1e-12, atol=1e-12)
