"""agent_attention where the paper's formula becomes another one: no installed package has it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mixers import Mixer, build_mixer
from mixers.interpolation import interpolated

from ..cases import random_map, randomise

DIM, HEADS = 8, 2


def drawn_without_biases(pool_size: int) -> Mixer:
    mixer = build_mixer("agent_attention", DIM, (14, 14), num_heads=HEADS, pool_size=pool_size).double()
    randomise(mixer, seed=0)
    with torch.no_grad():
        for table in (*mixer.agents_bias.parameters(), *mixer.pixels_bias.parameters()):
            table.zero_()
    return mixer


def test_agents_of_a_pixel_each_are_two_attentions_in_turn() -> None:
    """On a map as large as the square of agents the queries are the agents: eq. 5 of the paper without pooling."""
    mixer = drawn_without_biases(pool_size=5)
    x = random_map(5, 5, batch=2)
    q, k, v = mixer.qkv(x).chunk(3, -1)

    def heads(x: Tensor) -> Tensor:
        return x.reshape(2, 25, HEADS, -1).transpose(1, 2)

    inner = F.scaled_dot_product_attention(heads(q), heads(k), heads(v))
    mixed = F.scaled_dot_product_attention(heads(q), heads(q), inner).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(mixer(x), mixer.proj(mixed + mixer.dwconv(v)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("resolution", [(1, 1), (3, 17), (28, 30)])
def test_queries_that_ask_nothing_get_the_mean(resolution: tuple[int, int]) -> None:
    mixer = drawn_without_biases(pool_size=3)
    with torch.no_grad():
        mixer.qkv.weight[:DIM], mixer.qkv.bias[:DIM] = 0, 0
    x = random_map(*resolution)
    v = mixer.qkv(x)[..., 2 * DIM :]
    wanted = mixer.proj(v.mean((1, 2), keepdim=True) + mixer.dwconv(v))
    torch.testing.assert_close(mixer(x), wanted, rtol=0, atol=1e-12)


def test_tables_of_another_size_are_loaded() -> None:
    mixer = build_mixer("agent_attention", DIM, (14, 14), num_heads=HEADS, table_size=7)
    table = torch.randn(14, 1, 6)
    resized = mixer.resize("agents_bias.rows", table, torch.Size((7, 1, 6)))
    torch.testing.assert_close(resized, interpolated(table, 7, 1))
    with pytest.raises(ValueError, match=r"agents_bias\.grid has shape"):
        mixer.resize("agents_bias.grid", torch.zeros(5, 5, 6), torch.Size((7, 7, 6)))
