"""What is run, how often, and what a row says; never how fast this machine is."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from analysis.settings import MemoryFormat, Mode, SpeedSettings
from analysis.speed import Candidate, is_out_of_memory
from analysis.speed import measure as measure_candidates
from analysis.speed.measurement import RESULTS

MIB = 2**20


def settings(**changes: object) -> SpeedSettings:
    quick = {"modes": [Mode.inference], "batch_sizes": [2], "resolutions": [8], "warmup_seconds": 0.0, "seconds": 0.0}
    return SpeedSettings(**(quick | {"warmup_steps": 2, "min_steps": 3} | changes))


def measure(build: Callable[[int], nn.Module], settings: SpeedSettings, **how: object) -> list[dict]:
    """Of one network, which `build` makes for images of so many pixels a side."""
    return measure_candidates([Candidate("probe", lambda resolution: build(resolution[0]))], settings, **how)


class Probe(nn.Module):
    """Notes what each forward pass saw, and does `extra` besides."""

    def __init__(self, extra: Callable[[Tensor], object] = lambda image: None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.extra = extra
        self.seen: list[dict[str, object]] = []

    def forward(self, image: Tensor) -> Tensor:
        self.extra(image)
        logits = self.conv(image).mean((2, 3))
        self.seen.append(
            {
                "shape": tuple(image.shape),
                "dtype": logits.dtype,
                "training": self.training,
                "grad": torch.is_grad_enabled(),
                "bias": self.conv.bias.detach().clone(),
                "image_layout": image.is_contiguous(memory_format=torch.channels_last),
                "weight_layout": self.conv.weight.is_contiguous(memory_format=torch.channels_last),
                "threads": torch.get_num_threads(),
                "benchmark": torch.backends.cudnn.benchmark,
                "tf32": torch.backends.cuda.matmul.fp32_precision,
            }
        )
        return logits


def test_every_combination_is_a_row_with_its_conditions() -> None:
    rows = measure(
        lambda resolution: Probe(),
        settings(modes=["inference", "training"], batch_sizes=[1, 3], resolutions=[8, 12]),
        precision="fp32",
    )
    assert [(row["resolution"], row["batch_size"], row["mode"]) for row in rows] == [
        (resolution, batch, mode) for resolution in (8, 12) for batch in (1, 3) for mode in ("inference", "training")
    ]
    for row in rows:
        assert row["status"] == "completed"
        assert row["reason"] is None
        assert (row["compiled"], row["precision"], row["memory_format"]) == (False, "fp32", "channels_last")
        assert (row["tf32"], row["cudnn_benchmark"], row["threads"]) == (False, True, torch.get_num_threads())
        assert len(row["fingerprint"]) == 12
        assert row["images_per_second"] == pytest.approx(row["batch_size"] / row["latency_ms"] * 1000)
        assert row["latency_iqr_ms"] >= 0
        assert row["latency_ms"] <= row["latency_p95_ms"]
        assert type(row["mode"]) is str


def test_the_network_is_built_anew_for_each_row_at_its_resolution() -> None:
    built = []

    def build(resolution: int) -> nn.Module:
        built.append((resolution, Probe()))
        return built[-1][1]

    measure(build, settings(resolutions=[8, 12], batch_sizes=[2, 4]))
    assert [resolution for resolution, _ in built] == [8, 8, 12, 12]
    shapes = [{call["shape"] for call in network.seen} for _, network in built]
    assert shapes == [{(batch, 3, side, side)} for side in (8, 12) for batch in (2, 4)]


def test_a_latency_is_the_median_of_the_steps_after_the_warm_up() -> None:
    calls = iter([0.2, 0.2, 0.2, 0.01, 0.03, 0.2])  # two for the warm-up, one for the peak of the memory
    (row,) = measure(lambda resolution: Probe(lambda image: time.sleep(next(calls))), settings())
    assert row["steps"] == 3
    assert 30 <= row["latency_ms"] < 200
    assert row["warmup_seconds"] >= 0.4
    assert 85 <= row["latency_iqr_ms"] < 200  # a quarter of the way: 20 and 115 ms


@pytest.mark.parametrize(
    ("changes", "timed"),
    [
        ({"seconds": 0.1}, range(4, 11)),
        ({"seconds": 100.0, "max_steps": 6}, range(6, 7)),
        ({"seconds": 0.0, "min_steps": 4}, range(4, 5)),
    ],
)
def test_steps_fill_the_time_between_their_bounds(changes: dict[str, float], timed: range) -> None:
    network = Probe(lambda image: time.sleep(0.01))
    (row,) = measure(lambda resolution: network, settings(**changes))
    assert row["steps"] in timed
    assert len(network.seen) == 2 + 1 + row["steps"]


def test_the_warm_up_lasts_its_seconds() -> None:
    network = Probe(lambda image: time.sleep(0.01))
    (row,) = measure(lambda resolution: network, settings(warmup_seconds=0.1))
    assert row["warmup_seconds"] >= 0.1
    assert len(network.seen) > 2 + 1 + row["steps"]


@pytest.mark.parametrize("mode", Mode)
def test_forward_passes_are_those_of_the_inference_form_and_training_never_sees_it(mode: Mode) -> None:
    answered: list[str] = []

    class Probed(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name
            self.linear = nn.Linear(3, 4)

        def forward(self, image: Tensor) -> Tensor:
            answered.append(self.name)
            return self.linear(image.mean((2, 3)))

        def fuse(self) -> nn.Module:
            return Probed("form")

    [row] = measure(lambda side: Probed("network"), settings(modes=[mode]))
    assert row["status"] == "completed"
    assert set(answered) == {"form" if mode == Mode.inference else "network"}


def test_inference_changes_nothing_and_needs_no_gradients() -> None:
    network = Probe()
    measure(lambda resolution: network.train(), settings())
    assert not any(call["training"] or call["grad"] for call in network.seen)
    assert all(torch.equal(call["bias"], network.conv.bias) for call in network.seen)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_training_step_trains(precision: str) -> None:
    network = Probe()
    measure(lambda resolution: network.eval(), settings(modes=[Mode.training]), precision=precision)
    assert all(call["training"] and call["grad"] for call in network.seen)
    biases = [call["bias"] for call in network.seen] + [network.conv.bias.detach()]
    changed = [not torch.equal(one, other) for one, other in pairwise(biases)]
    # Scaled gradients overflow in the first fp16 steps, which are then skipped.
    assert all(changed) if precision != "fp16" else torch.isfinite(biases[-1]).all()
    assert network.conv.weight.grad is None


def test_every_head_of_a_network_is_trained() -> None:
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = nn.ModuleList(nn.Linear(3 * 8 * 8, 5) for _ in range(2))

        def forward(self, image: Tensor) -> tuple[Tensor, ...]:
            return tuple(head(image.flatten(1)) for head in self.heads)

    network = TwoHeads()
    before = [head.bias.detach().clone() for head in network.heads]
    (row,) = measure(lambda resolution: network, settings(modes=[Mode.training]))
    assert row["status"] == "completed"
    assert not any(torch.equal(head.bias, bias) for head, bias in zip(network.heads, before, strict=True))


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_half_precision_is_autocast(precision: str, dtype: torch.dtype) -> None:
    network = Probe()
    (row,) = measure(lambda resolution: network, settings(), precision=precision)
    assert {call["dtype"] for call in network.seen} == {dtype}
    assert network.conv.weight.dtype == torch.float32
    assert row["precision"] == precision


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modes": []}, r"task.modes=\[\]: give at least one value"),
        ({"batch_sizes": [8, 0]}, r"task.batch_sizes=\[8, 0\]: must be at least 1"),
        ({"resolutions": [-1]}, r"task.resolutions=\[-1\]: must be at least 1"),
        ({"seconds": -1.0}, r"task.seconds=-1.0: must be at least 0"),
        ({"warmup_steps": 0}, r"task.warmup_steps=0: must be at least 1"),
        ({"min_steps": 1}, r"task.min_steps=1: must be at least 2"),
        ({"max_steps": 2}, r"task.max_steps=2: must be at least min_steps, 3"),
        ({"threads": 0}, r"task.threads=0: must be between 1 and"),
    ],
)
def test_what_cannot_be_timed_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(**changes)


def test_an_unknown_precision_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"precision='int8': choose from fp32, bf16, fp16"):
        measure(lambda resolution: Probe(), settings(), precision="int8")


@pytest.mark.parametrize("memory_format", list(MemoryFormat))
def test_the_memory_format_is_that_of_images_and_weights(memory_format: MemoryFormat) -> None:
    network = Probe()
    (row,) = measure(lambda resolution: network, settings(memory_format=memory_format))
    wanted = memory_format == MemoryFormat.channels_last
    assert {(call["image_layout"], call["weight_layout"]) for call in network.seen} == {(wanted, wanted)}
    assert row["memory_format"] == memory_format


@pytest.fixture
def switches() -> Iterator[Callable[[], tuple[object, ...]]]:
    def read() -> tuple[object, ...]:
        matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv
        return (
            torch.get_num_threads(),
            torch.backends.cudnn.benchmark,
            matmul.fp32_precision,
            convolution.fp32_precision,
        )

    return read


def test_switches_are_set_while_measuring_and_put_back(switches: Callable[[], tuple[object, ...]]) -> None:
    before = switches()
    network = Probe()
    (row,) = measure(lambda resolution: network, settings(threads=2, tf32=True, cudnn_benchmark=False))
    seen = {(call["threads"], call["benchmark"], call["tf32"]) for call in network.seen}
    assert seen == {(2, False, "tf32")}
    assert (row["threads"], row["tf32"], row["cudnn_benchmark"]) == (2, True, False)
    assert switches() == before


def test_an_error_is_not_an_outcome_and_leaves_the_switches_alone(switches: Callable[[], tuple[object, ...]]) -> None:
    def fail(image: Tensor) -> None:
        raise RuntimeError("shapes do not fit")

    before = switches()
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        measure(lambda resolution: Probe(fail), settings(threads=2))
    assert switches() == before


def test_running_out_of_memory_is_a_row_and_the_others_go_on() -> None:
    def exhaust(image: Tensor) -> None:
        if len(image) == 4:
            torch.empty(2**55)

    rows = measure(lambda resolution: Probe(exhaust), settings(batch_sizes=[2, 4, 8]))
    assert [row["status"] for row in rows] == ["completed", "out_of_memory", "completed"]
    assert "can't allocate memory" in rows[1]["reason"]
    assert [rows[1][name] for name in RESULTS] == [None] * len(RESULTS)
    assert rows[1]["batch_size"] == 4


def test_the_gpu_allocators_error_is_recognised() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process")
def test_peak_memory_is_weights_and_what_a_step_needs() -> None:
    class Needs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(32 * MIB // 4))

        def forward(self, image: Tensor) -> Tensor:
            passing = torch.ones(len(image) * 16 * MIB // 4)
            return image.flatten(1)[:, :2] * passing[0] * self.weight[0]

    rows = measure(lambda resolution: Needs(), settings(batch_sizes=[4, 1, 4]))
    # The third row shows that memory which an earlier row gave back is counted again.
    assert [row["peak_memory_mib"] for row in rows] == pytest.approx([96, 48, 96], abs=6)


def test_progress_goes_to_standard_error_only_when_asked(capfd: pytest.CaptureFixture[str]) -> None:
    measure(lambda resolution: Probe(), settings())
    assert capfd.readouterr() == ("", "")
    measure(lambda resolution: Probe(), settings(), show_progress=True)
    output, progress = capfd.readouterr()
    assert output == ""
    assert "probe, inference eager fp32 batch 2 at 8×8:" in progress
    assert "images/s" in progress


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_row_runs_compiled_code() -> None:
    modes = []

    class Compiled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3 * 8 * 8, 5)

        def forward(self, image: Tensor) -> Tensor:
            modes.append(torch.compiler.is_compiling())
            return self.linear(image.flatten(1)).relu()

    rows = measure(lambda resolution: Compiled(), settings(compiled=[False, True], max_steps=20, turn_seconds=0.0))
    assert [row["compiled"] for row in rows] == [False, True]
    assert [row["status"] for row in rows] == ["completed"] * 2
    # What was true while `forward` was compiled; warm-up, peak of the memory and timed steps.
    assert [modes.count(compiled) for compiled in (False, True)] == [2 + 1 + row["steps"] for row in rows]
    assert rows[1]["speedup_over"] == "eager"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_timed_by_its_own_clock_and_memory() -> None:
    rows = measure(
        lambda resolution: Probe(), settings(modes=list(Mode), batch_sizes=[2, 2**30]), precision="bf16", device="cuda"
    )
    assert [row["status"] for row in rows] == ["completed", "completed", "out_of_memory", "out_of_memory"]
    assert all(0 < row["latency_ms"] < 1000 and 0 < row["peak_memory_mib"] < 100 for row in rows[:2])
