"""Several candidates in one measurement: in turns, with ratios whose intervals cover the truth."""

import random
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from analysis.noise import is_noisy
from analysis.settings import SpeedSettings
from analysis.speed import Candidate, measure, speedup
from analysis.speed.traffic import compulsory_bytes
from analysis.speed.turns import Runner, take_turns
from mixers import build_mixer


def settings(**changes: object) -> SpeedSettings:
    quick = {"modes": ["inference"], "batch_sizes": [2], "resolutions": [8], "warmup_seconds": 0.0, "seconds": 0.0}
    return SpeedSettings(**(quick | {"warmup_steps": 1, "turn_seconds": 0.0} | changes))


class Sleeper(nn.Module):
    """Takes `seconds` and writes its name into `diary`."""

    def __init__(self, name: str, seconds: float, diary: list[str]) -> None:
        super().__init__()
        self.name, self.seconds, self.diary = name, seconds, diary
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(self.seconds)
        self.diary.append(self.name)
        return self.linear(x[:, :, 0, 0])


def sleepers(diary: list[str], **seconds: float) -> list[Candidate]:
    def candidate(name: str) -> Candidate:
        return Candidate(name, lambda resolution: Sleeper(name, seconds[name], diary), macs=lambda resolution: 9)

    return [candidate(name) for name in seconds]


def test_candidates_take_turns_and_every_other_turn_goes_backwards() -> None:
    diary: list[str] = []
    rows = measure(sleepers(diary, a=0.0, b=0.0, c=0.0), settings(turns=4, min_steps=2))
    turns = "".join(name for name in diary[3 * 2 :])  # after each one's warm-up and peak of the memory
    assert turns == "abc" + "cba" + "abc" + "cba"
    assert [row["turns"] for row in rows] == [4, 4, 4]


@pytest.mark.parametrize(
    ("changes", "turn", "turns"),
    [
        ({"turns": 3, "seconds": 0.0}, "sfffff", 3),  # five steps of 10 ms take as long as one of 50 ms
        ({"turns": 3, "seconds": 0.4}, "sfffff", 8),  # 0.4 s for each
        ({"turns": 3, "seconds": 9.0, "max_steps": 8}, "sf", 8),
        ({"turns": 3, "seconds": 0.0, "turn_seconds": 0.1}, "ss" + 10 * "f", 3),
    ],
)
def test_turns_are_about_as_long_for_each_and_fill_the_time(changes: dict[str, float], turn: str, turns: int) -> None:
    diary: list[str] = []
    runners = [Runner(lambda: diary.append("s"), 0.05), Runner(lambda: diary.append("f"), 0.01)]
    take_turns(runners, settings(**{"turn_seconds": 0.05, "min_steps": 2} | changes), torch.device("cpu"))
    assert "".join(diary[: len(turn)]) == turn
    assert [len(runner.turns) for runner in runners] == [turns, turns]
    assert len(diary) == turns * len(turn)


def test_what_is_being_done_is_told() -> None:
    told: list[str] = []
    measure(sleepers([], a=0.0, b=0.0), settings(turns=7, batch_sizes=[1]), tell=told.append)
    assert told[:2] == [f"{name}, inference eager fp32 batch 1 at 8×8: warming up" for name in "ab"]
    assert told[2:] == [f"inference eager fp32 batch 1 at 8×8: turn {turn}/7" for turn in range(1, 8)]


def test_a_ratio_is_how_many_times_as_fast_as_the_reference() -> None:
    rows = measure(sleepers([], slow=0.03, fast=0.0, slower=0.15), settings(turns=7))
    slow, fast, slower = rows
    assert slow["speedup"] is None
    assert slow["speedup_over"] is None
    assert fast["speedup_over"] == slower["speedup_over"] == "slow"
    assert fast["speedup_low"] <= fast["speedup"] <= fast["speedup_high"]
    assert fast["speedup"] > 1 > slower["speedup"]


def test_the_reference_is_the_one_that_was_asked_for() -> None:
    rows = measure(sleepers([], a=0.0, b=0.0), settings(against="b"))
    assert [row["speedup_over"] for row in rows] == ["b", None]
    with pytest.raises(ValueError, match=r"task.against=c: choose from a, b"):
        measure(sleepers([], a=0.0, b=0.0), settings(against="c"))


def test_a_candidate_may_be_run_in_fewer_ways_than_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module: module)
    baseline, ours = sleepers([], baseline=0.0, ours=0.0)
    rows = measure([replace(baseline, compiled=(False,)), ours], settings(compiled=[False, True]))
    ways = [(row["candidate"], row["compiled"], row["speedup_over"]) for row in rows]
    # Ours compiled has no compiled baseline, so it is held against the eager one.
    assert ways == [("baseline", False, None), ("ours", False, "baseline eager"), ("ours", True, "baseline eager")]


def test_precisions_of_one_candidate_are_compared_with_the_first() -> None:
    rows = measure(sleepers([], a=0.0), settings(precisions=["fp32", "bf16"]))
    assert [(row["precision"], row["speedup_over"]) for row in rows] == [("fp32", None), ("bf16", "fp32")]


def test_precisions_of_two_candidates_are_compared_like_with_like() -> None:
    rows = measure(sleepers([], a=0.0, b=0.0), settings(precisions=["fp32", "bf16"]))
    assert [row["speedup_over"] for row in rows] == [None, None, "a fp32", "a bf16"]


def test_who_runs_out_of_memory_does_not_stop_the_others() -> None:
    class Glutton(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.empty(2**55)

    rows = measure([Candidate("glutton", lambda resolution: Glutton()), *sleepers([], a=0.0, b=0.0)], settings())
    assert [row["status"] for row in rows] == ["out_of_memory", "completed", "completed"]
    assert [row["speedup"] for row in rows] == [None, None, None]  # there is no reference


def test_drift_of_the_machine_cancels() -> None:
    """Both slow down alike while they are measured, to a third of their speed."""
    drift = np.linspace(1, 3, 9)
    assert speedup(10 * drift, 20 * drift).value == pytest.approx(2.0)
    assert speedup(10 * drift, 20 * drift).low == pytest.approx(2.0)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = random.Random(0)
    covered = 0
    for _ in range(400):
        ratios = [2 * generator.lognormvariate(0, 0.1) for _ in range(9)]
        found = speedup([1.0] * 9, ratios)
        covered += found.low <= 2 <= found.high
    assert 0.93 <= covered / 400 <= 0.99


def test_few_turns_have_no_interval() -> None:
    assert (speedup([1.0] * 5, [2.0] * 5).low, speedup([1.0] * 5, [2.0] * 5).high) == (None, None)
    assert speedup([1.0] * 6, [1, 2, 3, 4, 5, 6]).low == 1


def test_a_mixer_alone_is_timed_on_maps_with_its_rates() -> None:
    seen: list[tuple[tuple[int, ...], bool]] = []

    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.proj = nn.Linear(6, 6, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            seen.append((tuple(x.shape), x.requires_grad))
            return self.proj(x)

    candidate = Candidate("mixer", lambda resolution: Mixer(), dim=6, macs=lambda resolution: 36 * np.prod(resolution))
    rows = measure([candidate], settings(resolutions=[], modes=["inference", "training"]), resolution=(4, 5))
    assert {shape for shape, _ in seen} == {(2, 4, 5, 6)}
    assert {needs for _, needs in seen[-3:]} == {True}  # the gradient of the input is part of the work
    inference, training = rows
    assert (inference["subject"], inference["dim"], inference["resolution"], inference["columns"]) == ("mixer", 6, 4, 5)
    x, weight = 2 * 4 * 5 * 6 * 4, 36 * 4
    assert inference["gb_per_second"] * inference["latency_ms"] * 1e6 == pytest.approx(2 * x + weight)
    assert training["gb_per_second"] * training["latency_ms"] * 1e6 == pytest.approx(3 * (x + weight) + 2 * x)
    assert inference["gmacs_per_second"] * inference["latency_ms"] * 1e6 == pytest.approx(2 * 36 * 20)
    assert training["gmacs_per_second"] * training["latency_ms"] * 1e6 == pytest.approx(3 * 2 * 36 * 20)


def test_bytes_are_counted_in_the_dtype_that_they_have() -> None:
    x = torch.zeros(4, dtype=torch.bfloat16)
    assert compulsory_bytes(x, x, [torch.zeros(3)], training=False) == 8 + 12 + 8


def test_the_machines_rates_are_measured_in_the_same_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.speed.machine_rates.PRODUCT_SIDE", {"cpu": 64})
    monkeypatch.setattr("analysis.speed.machine_rates.COPIED_BYTES", {"cpu": 4096})
    [with_rates] = measure(sleepers([], a=0.0), settings(machine_rates=True))
    assert with_rates["matrix_product_gmacs_per_second"] > 0
    assert with_rates["copy_gb_per_second"] > 0
    share = with_rates["gmacs_per_second"] / with_rates["matrix_product_gmacs_per_second"]
    assert with_rates["product_share_percent"] == pytest.approx(100 * share)
    assert with_rates["turns"] >= 7
    [without] = measure(sleepers([], a=0.0), settings())
    assert without["copy_gb_per_second"] is None


def test_a_row_names_the_implementation_that_ran() -> None:
    def build(resolution: tuple[int, int]) -> nn.Module:
        return build_mixer("dcnv3", 16, resolution, groups=1, implementation="reference")

    [dcnv3] = measure([Candidate("dcnv3", build, dim=16)], settings(resolutions=[5]))
    [plain] = measure(sleepers([], a=0.0), settings())
    assert "reference" in dcnv3["implementation"]
    assert plain["implementation"] == "torch"


@pytest.mark.parametrize(("median", "iqr", "noisy"), [(100.0, 2.9, False), (100.0, 3.1, True), (None, None, False)])
def test_what_is_noisy(median: float | None, iqr: float | None, noisy: bool) -> None:
    assert is_noisy(median, iqr) is noisy
