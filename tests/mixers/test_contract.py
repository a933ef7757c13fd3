"""What a network relies on, for every registered mixer: a new file in mixers/ is tested here without an edit."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mixers import MIXERS, Mixer, build_mixer, mixer_options

from .cases import CASES, DIM, Case

DIM_OF_ALL = 64
RESOLUTION = (14, 14)
MAPS = [(10, 9), (14, 14), (1, 3), (20, 7)]


def options_of(name: str) -> dict[str, Any]:
    """The mixer's own defaults for a network's third stage, and the last value of what alternates along its blocks."""

    def value(rule: Any) -> Any:
        return rule(DIM_OF_ALL) if isinstance(rule, Callable) else rule[2]

    mixer_class = MIXERS[name]
    return {key: value(rule) for key, rule in mixer_class.per_stage.items()} | {
        key: cycle[-1] for key, cycle in mixer_class.per_block.items()
    }


def build(name: str) -> Mixer:
    torch.manual_seed(0)
    return build_mixer(name, DIM_OF_ALL, RESOLUTION, **options_of(name))


@pytest.fixture(params=sorted(MIXERS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def mixer(name: str) -> Mixer:
    return build(name).eval()


def image(rows: int, columns: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, rows, columns, DIM_OF_ALL, generator=generator).to(dtype)


def test_defaults_of_networks_name_real_options(name: str) -> None:
    options = mixer_options(name)
    assert {*MIXERS[name].per_stage, *MIXERS[name].per_block} <= set(options)
    needed = {key for key, option in options.items() if option.default is option.empty}
    assert needed <= set(MIXERS[name].per_stage)


@pytest.mark.parametrize("resolution", MAPS)
def test_shape_and_dtype_are_kept_at_any_size(mixer: Mixer, resolution: tuple[int, int]) -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        x = image(*resolution, dtype)
        before = x.clone()
        output = copy.deepcopy(mixer).to(dtype)(x)
        assert output.shape == x.shape
        assert output.dtype == dtype
        assert output.isfinite().all()
        assert torch.equal(x, before)


def test_half_precision_stays_close(mixer: Mixer) -> None:
    x = image(10, 9)
    exact = mixer.double()(x.double())
    mixer.float()
    assert (mixer(x) - exact).abs().max() <= 1e-5 * exact.abs().max()
    for dtype, tolerance in ((torch.bfloat16, 3e-2), (torch.float16, 4e-3)):
        with torch.autocast("cpu", dtype):
            output = mixer(x)
        assert (output - exact).abs().max() <= tolerance * exact.abs().max()


def test_memory_layout_does_not_matter(mixer: Mixer) -> None:
    x = image(10, 9)
    channels_first = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert not channels_first.is_contiguous()
    torch.testing.assert_close(mixer(channels_first), mixer(x))


def test_gradients_reach_input_and_every_parameter(name: str) -> None:
    mixer = build(name).train()
    x = image(10, 9).requires_grad_()
    mixer(x).square().sum().backward()
    assert x.grad.abs().amax(-1).min() > 0
    for key, parameter in mixer.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


def test_state_dict_holds_what_is_learned(mixer: Mixer) -> None:
    statistics = {"running_mean", "running_var", "num_batches_tracked"}
    learned = dict(mixer.named_parameters())
    for key, entry in mixer.state_dict().items():
        assert key in learned or key.rsplit(".")[-1] in statistics
        assert entry.is_floating_point() or key.endswith("num_batches_tracked")
    assert all(parameter.is_contiguous() for parameter in learned.values())


def test_state_dict_loads_into_a_mixer_for_another_resolution(name: str, mixer: Mixer) -> None:
    other = build_mixer(name, DIM_OF_ALL, (28, 21), **options_of(name)).eval()
    other.load_state_dict(mixer.state_dict())
    x = image(10, 9)
    torch.testing.assert_close(other(x), mixer(x))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda mixer: pickle.loads(pickle.dumps(mixer))])
def test_copies_compute_the_same(mixer: Mixer, copied: Callable[[Mixer], Mixer]) -> None:
    x = image(10, 9)
    output = mixer(x)
    assert torch.equal(copied(mixer)(x), output)


def test_meta_device_describes_without_memory(name: str) -> None:
    with torch.device("meta"):
        mixer = build(name)
        output = mixer(torch.empty(2, 10, 9, DIM_OF_ALL))
    assert output.shape == (2, 10, 9, DIM_OF_ALL)
    assert all(entry.is_meta for entry in mixer.state_dict().values())


def test_mixing_is_all_it_does(mixer: Mixer) -> None:
    """Nothing random, nothing remembered: eval mode gives the same output again, and after another size."""
    first = mixer(image(10, 9))
    mixer(image(15, 4))
    assert torch.equal(mixer(image(10, 9)), first)


@pytest.mark.parametrize("resolution", MAPS)
def test_macs_are_at_least_what_a_tracer_finds(mixer: Mixer, resolution: tuple[int, int]) -> None:
    with FlopCounterMode(display=False) as counter:
        mixer(image(*resolution)[:1])
    counted = counter.get_total_flops() // 2
    macs = mixer.macs(resolution)
    assert isinstance(macs, int)
    assert macs >= counted
    assert (macs > 0) == any(parameter.dim() > 1 for parameter in mixer.parameters())


@pytest.mark.parametrize("resolution", MAPS)
def test_receptive_field_is_a_mask_of_the_map(mixer: Mixer, resolution: tuple[int, int]) -> None:
    last = (resolution[0] - 1, resolution[1] - 1)
    for position in ((0, 0), last):
        field = mixer.receptive_field(position, resolution)
        assert field.shape == resolution
        assert field.dtype == torch.bool
        assert field.any()


@pytest.mark.parametrize("case", [case for case in CASES if case.mixer != "dcnv3"], ids=str)
def test_macs_equal_what_a_tracer_finds(case: Case) -> None:
    mixer = case.build()
    for rows, columns in ((14, 14), (9, 10), (1, 5), (16, 24)):
        with FlopCounterMode(display=False) as counter:
            mixer(torch.zeros(1, rows, columns, DIM, dtype=torch.float64))
        assert mixer.macs((rows, columns)) == counter.get_total_flops() // 2


def test_macs_of_dcnv3_are_the_published_rule() -> None:
    """Linear layers and convolution, and five products for each channel of each sampling point."""
    mixer = build_mixer("dcnv3", 32, (56, 56), groups=2)
    per_pixel = 2 * 32 * 32 + 9 * 32 + 32 * 2 * 9 * 3 + 5 * 9 * 32
    assert mixer.macs((56, 56)) == 56 * 56 * per_pixel


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("halo", {"num_heads": 3}, "num_heads=3: must divide dim=64"),
        ("halo", {"num_heads": 0}, "num_heads=0"),
        ("halo", {"num_heads": 2, "block_size": 0}, "block_size=0: must be at least 1"),
        ("halo", {"num_heads": 2, "halo_size": -1}, "halo_size=-1: must be at least 0"),
        (
            "halo",
            {"num_heads": 2, "relative_embedding": "none"},
            "relative_embedding='none'.*query_related.*query_free",
        ),
        ("sra", {"num_heads": 5}, "num_heads=5: must divide dim=64"),
        ("sra", {"num_heads": 2, "sr_ratio": 0}, "sr_ratio=0: must be at least 1"),
        ("shifted_window", {"num_heads": 7}, "num_heads=7: must divide dim=64"),
        ("shifted_window", {"num_heads": 2, "window_size": 0}, "window_size=0: must be at least 1"),
        ("shifted_window", {"num_heads": 2, "shift_size": 7}, "shift_size=7.*less than window_size=7"),
        ("shifted_window", {"num_heads": 2, "shift_size": -1}, "shift_size=-1"),
        ("depthwise_conv", {"kernel_size": 4}, "kernel_size=4: must be odd"),
        ("dynamic_depthwise_conv", {"kernel_size": -1}, "kernel_size=-1: must be odd and at least 1"),
        ("dynamic_depthwise_conv", {"reduction": 0}, "reduction=0"),
        ("inhomogeneous_dynamic_depthwise_conv", {"group_channels": 5}, "group_channels=5: must divide dim=64"),
        ("inhomogeneous_dynamic_depthwise_conv", {"group_channels": 2, "kernel_size": 2}, "kernel_size=2"),
        ("inhomogeneous_dynamic_depthwise_conv", {"group_channels": 2, "reduction": 0}, "reduction=0"),
        ("dcnv3", {"groups": 3}, "groups=3: must divide dim=64"),
        ("dcnv3", {"groups": 4, "kernel_size": 2}, "kernel_size=2: must be odd"),
        ("dcnv3", {"groups": 4, "dw_kernel_size": 0}, "dw_kernel_size=0: must be odd"),
        ("dcnv3", {"groups": 4, "offset_scale": 0.0}, "offset_scale=0.0: must be positive"),
        ("pooling", {"pool_size": 2}, "pool_size=2: must be odd"),
        ("global_attention", {"num_heads": 6}, "num_heads=6: must divide dim=64"),
    ],
)
def test_impossible_values_are_refused_with_the_rule(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_mixer(name, DIM_OF_ALL, RESOLUTION, **options)


def test_impossible_sizes_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="dim=0"):
        MIXERS[name](0, RESOLUTION, **options_of(name))
    with pytest.raises(ValueError, match="resolution"):
        MIXERS[name](DIM_OF_ALL, (0, 7), **options_of(name))
