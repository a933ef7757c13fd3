"""What must hold for a mixer whatever its weights: reach, independence of images, and nothing from padding."""

from typing import Any

import pytest
import torch
from torch import Tensor

from mixers import Mixer

from .cases import Case, random_map, randomise
from .plain import CASES, MAIN_CASES, PLAIN

UNEVEN = (9, 10)  # no multiple of any window, block or reduction here


@pytest.mark.parametrize("case", CASES, ids=str)
def test_receptive_field_is_the_declared_one(case: Case) -> None:
    """Exactly: some weights make the output depend on every declared pixel, and none on any other."""
    positions = [(0, 0), (0, 9), (3, 6), (4, 2), (7, 3), (8, 9)]
    plain = PLAIN[case.mixer]
    reached = {position: torch.zeros(UNEVEN, dtype=torch.bool) for position in positions}
    for seed in range(plain.draws):
        mixer = case.build(seed=seed)
        plain.widen(mixer)
        x = random_map(*UNEVEN, seed=100 + seed).requires_grad_()
        output = mixer(x).sum(-1)
        for position in positions:
            (gradient,) = torch.autograd.grad(output[0][position], x, retain_graph=True)
            # Not zero but for rounding: a query whose only key gets all attention leaves 1e-17.
            reached[position] |= gradient[0].abs().amax(-1) > 1e-12 * gradient.abs().max()
    for position in positions:
        declared = mixer.receptive_field(position, UNEVEN)
        assert torch.equal(reached[position], declared), f"{position}:\n{reached[position]}\ndeclared:\n{declared}"


@pytest.mark.parametrize("case", MAIN_CASES, ids=str)
def test_images_of_a_batch_are_independent(case: Case) -> None:
    mixer = case.build()
    x = random_map(*UNEVEN, batch=3).requires_grad_()
    output = mixer(x)
    for image in range(3):
        alone = mixer(x[image : image + 1])
        torch.testing.assert_close(output[image : image + 1], alone, rtol=1e-12, atol=1e-12)
    (gradient,) = torch.autograd.grad(output[1].square().sum(), x)
    assert gradient[1].abs().min() > 0
    assert not gradient[[0, 2]].any()


@pytest.mark.parametrize("case", [case for case in CASES if PLAIN[case.mixer].steering], ids=str)
def test_scaling_what_steers_the_mixing_changes_every_pixel(case: Case) -> None:
    mixer = case.build()
    x = random_map(17, 18)  # at least two keys for every query of every case
    before = mixer(x)
    name, rows = PLAIN[case.mixer].steering
    layer = mixer.get_submodule(name)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter[rows] *= 2
    assert ((mixer(x) - before).abs().amax(-1) > 1e-6).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("halo", {}),
        ("halo", {"relative_embedding": "query_free"}),
        ("halo", {"block_size": 4, "halo_size": 1}),
        ("shifted_window", {}),
        ("shifted_window", {"shift_size": 3}),
        ("shifted_window", {"shift_size": 6}),
        ("shifted_window", {"window_size": 4, "shift_size": 2}),
    ],
)
@pytest.mark.parametrize("resolution", [(1, 1), (3, 5), (8, 15), (13, 9), (7, 8)])
def test_padding_never_receives_attention(name: str, options: dict[str, Any], resolution: tuple[int, int]) -> None:
    """Where all real values are alike, any average of them is that value; only padding could change it."""
    mixer = Case({"num_heads": 2, **options}, mixer=name).build()
    x, wanted = alike_values(mixer, resolution)
    torch.testing.assert_close(mixer(x), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["halo", "shifted_window"])
def test_padding_is_ordinary_where_asked_for(name: str) -> None:
    mixer = Case({"num_heads": 2, "mask_padding": False}, mixer=name).build()
    x, wanted = alike_values(mixer, (8, 9))
    differs = (mixer(x) - wanted).abs().amax(-1)[0] > 1e-3
    assert differs[7:].all()
    assert differs[:, 7:].all()
    x, wanted = alike_values(mixer, (14, 7))  # whole blocks: no padding, and outside of the map nothing is seen
    torch.testing.assert_close(mixer(x), wanted, rtol=1e-12, atol=1e-12)


def alike_values(mixer: Mixer, resolution: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A random map whose values are equal everywhere (read from channel 0, which is 1), and proj(that value)."""
    layer = mixer.kv if hasattr(mixer, "kv") else mixer.qkv
    dim, heads = mixer.dim, mixer.num_heads
    if hasattr(mixer, "kv"):  # head-major: keys, then values of each head
        value_rows = torch.arange(2 * dim).reshape(heads, 2, dim // heads)[:, 1].flatten()
    else:
        value_rows = torch.arange(2 * dim, 3 * dim)
    with torch.no_grad():
        layer.weight[value_rows, 1:] = 0
        if layer.bias is not None:
            layer.bias[value_rows] = 0
        value = layer.weight[value_rows, 0]
    x = random_map(*resolution)
    x[..., 0] = 1
    return x, mixer.proj(value).expand(1, *resolution, dim)


@pytest.mark.parametrize("resolution", [(8, 9), (1, 3)])
@pytest.mark.parametrize("name", ["halo", "shifted_window"])
def test_gradients_are_finite_where_windows_hold_only_padding(name: str, resolution: tuple[int, int]) -> None:
    options = {"num_heads": 2} | ({"shift_size": 3} if name == "shifted_window" else {})
    mixer = Case(options, mixer=name).build()
    x = random_map(*resolution).requires_grad_()
    mixer(x).square().sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in (x, *mixer.parameters()))


def test_reduction_ignores_what_fills_no_whole_patch() -> None:
    mixer = Case({"num_heads": 2, "sr_ratio": 4}, mixer="sra").build()
    x = random_map(10, 13)
    changed = x.clone()
    changed[:, 8:] += 1
    changed[:, :, 12:] -= 1
    torch.testing.assert_close(mixer(changed)[:, :8, :12], mixer(x)[:, :8, :12], rtol=0, atol=0)


def test_windows_shrink_as_in_the_authors_classification_code() -> None:
    at_stage_four = Case({"num_heads": 2, "shift_size": 3}, mixer="shifted_window", resolution=(7, 7)).build()
    unshifted = randomise(Case({"num_heads": 2}, mixer="shifted_window").build(), seed=0)
    x = random_map(14, 14)
    torch.testing.assert_close(at_stage_four(x), unshifted(x), rtol=0, atol=0)
    assert Case({"num_heads": 2}, mixer="shifted_window", resolution=(4, 20)).build().window_size == 4


def test_sampling_without_offsets_is_a_convolution() -> None:
    """With no offsets and equal weights, DCNv3 averages the 3 x 3 neighbours, zeros outside of the map included."""
    mixer = Case({"groups": 2}, mixer="dcnv3").build()
    for layer in (mixer.sampling_offsets, mixer.attention_weights):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    x = random_map(*UNEVEN)
    value = mixer.value_proj(x).permute(0, 3, 1, 2)
    mean = torch.nn.functional.avg_pool2d(value, 3, 1, 1).permute(0, 2, 3, 1)
    torch.testing.assert_close(mixer(x), mixer.output_proj(mean), rtol=1e-12, atol=1e-12)
