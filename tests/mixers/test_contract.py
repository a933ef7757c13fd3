"""What a network relies on, for every registered mixer: a new file in mixers/ is tested here without an edit."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from analysis.complexity import measure
from analysis.mixer_contract import CHECKS, Subject, try_out
from architectures import NetworkSpec, build_network, check_network
from architectures.budget import scale_budget
from architectures.mixer_options import options_of_block
from mixers import MIXERS, Mixer, build_mixer, mixer_options

from ..architectures.networks import registered
from .cases import DIM, Case
from .plain import CASES, MAIN_CASES, PLAIN

DIM_OF_ALL = 64
RESOLUTION = (14, 14)
MAPS = [(10, 9), (14, 14), (1, 3), (20, 7)]


def options_of(name: str) -> dict[str, Any]:
    """The mixer's own defaults for the second block of a network's third stage."""
    return options_of_block(name, dim=DIM_OF_ALL, stage=2, block=1, given={})


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


@pytest.mark.parametrize("sentence", CHECKS)
def test_promises_are_kept(name: str, sentence: str) -> None:
    """The same questions that `task=check` asks of a user's mixer."""
    finding = try_out(sentence, CHECKS[sentence], Subject(name))
    assert finding.holds, finding.seen


def test_defaults_of_networks_name_real_options(name: str) -> None:
    options = mixer_options(name)
    signature = {key: option.default for key, option in options.items() if option.default is not option.empty}
    for stage in range(4):
        for block in range(2):
            defaults = MIXERS[name].defaults(DIM_OF_ALL, stage, block, signature)
            assert isinstance(defaults, Mapping)
            assert set(options) - set(signature) <= set(defaults) <= set(options)
            build_mixer(name, DIM_OF_ALL, RESOLUTION, **defaults)


def test_what_never_decays_are_parameters(mixer: Mixer) -> None:
    assert mixer.no_weight_decay() <= dict(mixer.named_parameters()).keys()


def test_initial_weights_are_drawn_from_the_seed(name: str) -> None:
    first, second = build(name), build(name)
    for each in (first, second):
        torch.manual_seed(1)
        each.init_weights()
        assert all(parameter.isfinite().all() for parameter in each.parameters())
    assert all(torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True))


def test_half_precision_stays_close(mixer: Mixer) -> None:
    x = image(10, 9)
    exact = mixer.double()(x.double())
    mixer.float()
    assert (mixer(x) - exact).abs().max() <= 1e-5 * exact.abs().max()
    for dtype, tolerance in ((torch.bfloat16, 3e-2), (torch.float16, 4e-3)):
        with torch.autocast("cpu", dtype):
            output = mixer(x)
        assert (output - exact).abs().max() <= tolerance * exact.abs().max()


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


@pytest.mark.parametrize("resolution", MAPS)
def test_macs_are_at_least_what_a_tracer_finds(mixer: Mixer, resolution: tuple[int, int]) -> None:
    with FlopCounterMode(display=False) as counter:
        mixer(image(*resolution)[:1])
    counted = counter.get_total_flops() // 2
    macs = mixer.macs(resolution)
    assert isinstance(macs, int)
    assert macs >= counted
    assert (macs > 0) == any(parameter.dim() > 1 for parameter in mixer.parameters())


class Bare(Mixer):
    """All that a mixer must have: a constructor and `forward`. Each pixel sees itself and its left neighbour."""

    def __init__(self, dim: int, resolution: tuple[int, int], *, ratio: int = 2) -> None:
        super().__init__(dim, resolution)
        self.widen = torch.nn.Linear(dim, ratio * dim)
        self.narrow = torch.nn.Linear(ratio * dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left = torch.nn.functional.pad(x, (0, 0, 1, 0))[:, :, :-1]
        return self.narrow(torch.tanh(self.widen(x + left)))


class TestDefaults:
    """What a mixer that says nothing of itself has."""

    def test_macs_are_counted(self) -> None:
        mixer = Bare(8, RESOLUTION).train()
        assert mixer.macs((5, 6)) == 2 * 2 * 8 * 8 * 5 * 6
        assert mixer.training
        mixer.forward = None  # counted once a resolution
        assert mixer.macs((5, 6)) == mixer.authors_macs((5, 6)) == 2 * 2 * 8 * 8 * 5 * 6
        with torch.device("meta"):
            assert Bare(8, RESOLUTION).macs((56, 56)) == 2 * 2 * 8 * 8 * 56 * 56

    def test_receptive_field_is_measured(self) -> None:
        torch.manual_seed(0)
        mixer = Bare(8, RESOLUTION)
        before = copy.deepcopy(mixer.state_dict())
        field = mixer.receptive_field((2, 3), (4, 6))
        assert field.nonzero().tolist() == [[2, 2], [2, 3]]
        assert mixer.receptive_field((2, 0), (4, 6)).nonzero().tolist() == [[2, 0]]
        assert all(torch.equal(entry, before[key]) for key, entry in mixer.state_dict().items())
        with torch.device("meta"), pytest.raises(ValueError, match="real weights"):
            Bare(8, RESOLUTION).receptive_field((0, 0), (4, 6))

    def test_the_rest(self) -> None:
        mixer = Bare(8, RESOLUTION)
        before = copy.deepcopy(mixer.state_dict())
        mixer.init_weights()
        assert all(torch.equal(entry, before[key]) for key, entry in mixer.state_dict().items())
        assert mixer.no_weight_decay() == set()
        assert Bare.defaults(8, 0, 0, {"ratio": 2}) == {}
        with pytest.raises(ValueError, match=r"widen\.weight has shape \(4, 8\), not \(16, 8\)"):
            mixer.resize("widen.weight", torch.zeros(4, 8), torch.Size((16, 8)))

    def test_networks_are_matched_and_described(self) -> None:
        with registered("bare", Bare):
            spec = NetworkSpec(mixer="bare", scale="micro", mixer_options={"ratio": (1, 2, 3, 4)})
            check_network(spec)
            for budget in ("params", "macs"):
                with torch.device("meta"):
                    network = build_network(replace(spec, budget=budget))
                found = measure(network, (224, 224))
                assert getattr(found, budget) == pytest.approx(scale_budget("micro", budget), rel=0.02)

    @pytest.mark.parametrize("case", [case for case in MAIN_CASES if PLAIN[case.mixer].is_counted], ids=str)
    def test_they_find_what_closed_forms_say(self, case: Case) -> None:
        mixer = case.build()
        assert Mixer.macs(mixer, (9, 10)) == mixer.macs((9, 10))
        field = Mixer.receptive_field(mixer, (4, 2), (9, 10))
        assert torch.equal(field, mixer.receptive_field((4, 2), (9, 10)))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: x[:, ::2], r"returns \(2, 28, 56, 32\) for maps of \(2, 56, 56, 32\): a mixer must keep"),
        (lambda x: x.mean((1, 2), keepdim=True), r"returns \(2, 1, 1, 32\) for maps"),
        (lambda x: (x, x), r"returns tuple for maps"),
        (lambda x: x @ torch.zeros(3, 3), r"fails on maps of \(2, 56, 56, 32\): RuntimeError: "),
    ],
)
def test_a_mixer_that_does_not_keep_the_shape_is_named_with_its_place(output: Callable, message: str) -> None:
    class Wrong(Bare):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return output(x)

    with registered("wrong", Wrong):
        where = r"mixer wrong in stage 1 of 4, block 1 of 2 \(stages\.0\.blocks\.0\.mixer\) "
        with pytest.raises(ValueError, match=where + message):
            check_network(NetworkSpec(mixer="wrong", scale="micro", budget="shape"))


@pytest.mark.parametrize("resolution", MAPS)
def test_receptive_field_is_a_mask_of_the_map(mixer: Mixer, resolution: tuple[int, int]) -> None:
    last = (resolution[0] - 1, resolution[1] - 1)
    for position in ((0, 0), last):
        field = mixer.receptive_field(position, resolution)
        assert field.shape == resolution
        assert field.dtype == torch.bool
        assert field.any()


@pytest.mark.parametrize("case", [case for case in CASES if PLAIN[case.mixer].is_counted], ids=str)
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
    [(name, options, message) for name, plain in PLAIN.items() for options, message in plain.refused],
)
def test_impossible_values_are_refused_with_the_rule(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_mixer(name, DIM_OF_ALL, RESOLUTION, **options)


def test_impossible_sizes_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="dim=0"):
        MIXERS[name](0, RESOLUTION, **options_of(name))
    with pytest.raises(ValueError, match="resolution"):
        MIXERS[name](DIM_OF_ALL, (0, 7), **options_of(name))
