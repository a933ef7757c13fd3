"""What is measured, what is kept of it and what is said of it; never how fast this machine is."""

import json
import math

import pytest
import torch
from torch import nn

from analysis.records import read_records, read_speed
from analysis.speed import Candidate
from architectures.registry import NETWORKS
from benchmarks import __main__ as command
from benchmarks import dcnv3, memory, runner
from benchmarks.baselines import BASELINES
from benchmarks.candidates import BASELINE, OURS, candidates_of, network_config
from benchmarks.entries import MODES, Setting, contents, entry_names, settings_of
from benchmarks.result import result_of
from benchmarks.table import markdown

SETTING = Setting("unified_pvt_tiny", "training", 2, "fp32", (False,), side=8, target=1.2)


def way(candidate: str, latency_ms: float, **changes: object) -> dict:
    row = {"candidate": candidate, "compiled": False, "status": "completed", "reason": None, "latency_ms": latency_ms}
    row |= {"latency_iqr_ms": 0.01 * latency_ms, "speedup": None, "speedup_low": None, "speedup_high": None}
    row |= {"product_share_percent": 80.0, "copy_share_percent": None}
    row |= {"peak_memory_mib": 100.0, "implementation": "torch"}
    return row | changes


def ours(speedup: float, **changes: object) -> dict:
    limits = {"speedup_low": speedup - 0.1, "speedup_high": speedup + 0.1}
    return way(OURS, 100 / speedup, speedup=speedup, **(limits | changes))


def record(*rows: dict, reason: str | None = None) -> dict:
    return {"rows": list(rows), "reason": reason}


def test_every_entry_has_a_network_a_baseline_and_targets() -> None:
    for name, about in contents()["networks"].items():
        assert name in NETWORKS
        assert name in BASELINES
        assert set(about) - {"smallest_training_batch"} == set(MODES)
        assert all(about[mode] > 1 for mode in MODES)


def test_settings_are_every_combination_by_entry() -> None:
    found = list(
        settings_of(
            entry_names(),
            modes=MODES,
            batch_sizes=[1, 8],
            precision="fp32",
            compiled=[False],
            implementations=["cpp"],
            with_targets=True,
        )
    )
    assert len(found) == (6 + 4) * 2 * 2 - 1
    # Its batch norm of one value per image refuses to train on one image.
    assert "dynamic_dwnet_tiny-training-batch1" not in {setting.name for setting in found}
    assert found[0].name == "unified_halo_tiny-inference-batch1"
    assert found[0].target == 1.8
    assert found[-1].name == "dcnv3-cpp-7x7x512-training-batch8"
    assert len({setting.name for setting in found}) == len(found)


def test_the_rows_of_ours_are_of_the_network_that_the_command_line_builds() -> None:
    unified = network_config("unified_pvt_tiny")
    assert (unified["network"]["name"], unified["mixer"], unified["scale"]) == ("unified", {"name": "sra"}, "tiny")
    assert network_config("dynamic_dwnet_tiny")["network"]["name"] == "dynamic_dwnet_tiny"
    assert network_config("unified_pvt_tiny", BASELINE)["network"]["baseline"] is True


def test_the_operator_computes_what_its_plain_form_does() -> None:
    setting = Setting("dcnv3", "training", 2, "fp32", (False,), side=5, channels=32, implementation="reference")
    plain, fused = (candidate.build((5, 6)) for candidate in candidates_of(setting))
    fused.load_state_dict(plain.state_dict())
    value = torch.randn(2, 5, 6, 32)
    torch.testing.assert_close(fused(value), plain(value), atol=1e-4, rtol=1e-4)
    assert dcnv3.macs((5, 6), 32) == 5 * 9 * 30 * 32


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings measure two small layers instead."""

    def candidates(setting: Setting) -> list[Candidate]:
        def build(resolution: tuple[int, int]) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))

        return [
            Candidate(which, build, macs=lambda resolution: 3 * 8 * 8 * 4, config=network_config(setting.entry, which))
            for which in (BASELINE, OURS)
        ]

    monkeypatch.setattr(runner, "candidates_of", candidates)
    monkeypatch.setattr(runner, "training_peak_mib", lambda entry, which, batch_size, threads: 10.0 + len(which))
    monkeypatch.setattr("analysis.speed.machine_rates.PRODUCT_SIDE", {"cpu": 64})
    monkeypatch.setattr("analysis.speed.machine_rates.COPIED_BYTES", {"cpu": 4096})


@pytest.mark.usefixtures("small")
def test_a_setting_leaves_a_record_that_the_tables_read(tmp_path) -> None:
    settings = runner.speed_settings(SETTING, threads=1, seconds=0.0)
    written = runner.run(SETTING, settings, "cpu", tmp_path)
    assert written["status"] == "completed", written["reason"]
    records = read_records(tmp_path)
    assert list(records["name"]) == ["unified_pvt_tiny-training-batch2"]
    speed = read_speed(records)
    assert list(speed["mode"]) == ["training"] * 2
    assert list(speed["peak_memory_mib"]) == [18.0, 14.0]
    result = result_of(SETTING, written)
    assert result.failure is None
    assert result.eager.speedup > 0
    assert result.eager.low <= result.eager.speedup <= result.eager.high  # seven turns are enough for an interval
    assert result.eager.product_share_percent > 0
    assert all(row["turns"] >= 7 for row in written["rows"])


@pytest.mark.usefixtures("small")
def test_what_was_measured_here_at_this_commit_is_not_measured_again(tmp_path) -> None:
    settings = runner.speed_settings(SETTING, threads=1, seconds=0.0)
    path = runner.record_path(SETTING, runner.cell_of(SETTING, settings, "cpu", tmp_path))
    assert runner.measured_before(path, "any", "any") is None
    found = runner.run(SETTING, settings, "cpu", tmp_path)["environment"]
    assert runner.measured_before(path, found["fingerprint"], found["commit"])
    assert runner.measured_before(path, "another machine", found["commit"]) is None
    assert runner.measured_before(path, found["fingerprint"], "another commit") is None


def test_an_error_is_the_outcome_of_its_setting(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(setting: Setting) -> list[Candidate]:
        raise ValueError("no such kernel")

    monkeypatch.setattr(runner, "candidates_of", fail)
    failed = runner.run(SETTING, runner.speed_settings(SETTING, threads=1, seconds=0.0), "cpu", tmp_path)
    assert failed["status"] == "failed"
    assert "no such kernel" in result_of(SETTING, failed).failure
    assert "no such kernel" in markdown([result_of(SETTING, failed)], {}, command.datetime.now().date())


def test_the_better_of_eager_and_compiled_is_held_against_the_target() -> None:
    met = result_of(SETTING, record(way(BASELINE, 100.0), ours(1.1), ours(1.3, compiled=True)))
    assert met.best is met.compiled
    assert met.met is True
    assert result_of(SETTING, record(way(BASELINE, 100.0), ours(1.1))).met is False
    near = result_of(SETTING, record(way(BASELINE, 100.0), ours(1.25)))
    assert near.met is False  # [1.15, 1.35] does not show 1.2
    assert met.eager.product_share_percent == 80
    assert met.eager.copy_share_percent is None


def test_out_of_memory_has_no_ratio() -> None:
    numbers = dict.fromkeys(("latency_ms", "latency_iqr_ms", "peak_memory_mib"))
    exhausted = way(BASELINE, 1.0) | numbers | {"status": "out_of_memory", "reason": "CUDA out of memory"}
    result = result_of(SETTING, record(exhausted, way(OURS, 100.0)))
    assert (result.baseline, result.met) == (None, None)
    assert result.failure == "baseline: CUDA out of memory"


def test_the_page_says_what_is_met_and_where_it_was_measured() -> None:
    results = [
        result_of(SETTING, record(way(BASELINE, 100.0), ours(1.35, peak_memory_mib=101.0))),
        result_of(SETTING, record(way(BASELINE, 100.0), ours(1.1, latency_iqr_ms=30.0, product_share_percent=60.0))),
    ]
    page = markdown(results, {"cpu": "AMD EPYC", "torch": "2.15.0", "driver": None}, command.datetime.now().date())
    assert "- cpu: AMD EPYC\n- torch: 2.15.0" in page
    assert "driver" not in page
    assert "- precision: fp32" in page
    assert "1 of 2 targets are met" in page
    assert "Peak memory of a training step is above the baseline's in 1 of 2" in page
    assert "1 of 2 networks' steps run at 80 % of the matrix product's rate or more" in page
    [first, second] = [line for line in page.splitlines() if line.startswith("| unified_pvt_tiny")]
    assert "| 1.35 [1.25, 1.45] | 1.2 | yes | 80 % |" in first
    assert "90.9 † |" in second
    assert "| no | 60 % |" in second
    assert "compiled" not in page  # an empty column


@pytest.mark.usefixtures("small")
def test_the_command_prints_every_setting_continues_and_saves(
    tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    threads = torch.get_num_threads()
    arguments = ["unified_pvt_tiny", "--mode", "inference", "--batch", "1", "2", "--seconds", "0", "--save"]
    arguments += ["--device", "cpu", "--threads", str(threads), "--output", str(tmp_path)]
    # Images of 224 × 224 do not fit the small layers.
    monkeypatch.setattr(
        command, "settings_of", lambda *given, **how: [SETTING, Setting(*["other", *MODES[:1], 1, "fp32", (False,), 8])]
    )
    assert command.main(arguments) == 0
    first = capsys.readouterr().out
    assert "unified_pvt_tiny-training-batch2: baseline" in first
    assert "(measured before)" not in first
    assert command.main(arguments) == 0
    assert capsys.readouterr().out.count("(measured before)") == 2
    [page] = (tmp_path / "results").glob("*/table.md")
    kept = json.loads(page.with_name("results.json").read_text())
    assert [result["name"] for result in kept["results"]] == [
        "unified_pvt_tiny-training-batch2",
        "other-inference-batch1",
    ]
    assert kept["environment"]["fingerprint"]


def test_peak_memory_is_measured_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="no_such_network"):
        memory.training_peak_mib("no_such_network", OURS, 1, 1)


@pytest.mark.slow
def test_peak_memory_of_a_real_network() -> None:
    peak = memory.training_peak_mib("unified_pvt_tiny", OURS, 1, 1)
    weights = sum(parameter.numel() for parameter in BASELINES["unified_pvt_tiny"]().parameters()) * 4 / 2**20
    assert math.isfinite(peak)
    assert peak > 4 * weights  # weights, gradients and AdamW's two moments
