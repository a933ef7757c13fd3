"""`task=robustness` on a tiny network, through the record."""

import pytest

from analysis.comparison import compare
from analysis.report.charts import charts
from conf.errors import ConfigurationError
from tasks import TASKS

from .asking import asked, cell_of, counted_forwards, weights

ASK = ("task=robustness", "task.batch_size=355", "task.occlusion_grid=4", "task.occluded=[0,1]", "task.grids=[1,4]")
FEW = ("task.cutoffs=[0.25,2]", "task.weight_noise=[0,0.5]", "task.weight_draws=2")


def test_a_run_that_was_stopped_goes_on_and_what_changes_nothing_costs_nothing(tmp_path):
    ask = (*ASK, *FEW, f"weights={weights(tmp_path)}")
    with counted_forwards() as forwards:
        forwards.fails_at = 7
        assert asked(tmp_path, *ask)["reason"] == "RuntimeError: the power is gone"
        forwards.fails_at = None
        record = asked(tmp_path, *ask)
    assert record["status"] == "completed", record["reason"]
    assert forwards == [355] * (1 + 4 * 2 + 2 * 2)  # no pass was finished in vain: it stopped between two
    rows, results = record["details"]["observations"], record["results"]
    by_place = {(row["kind"], row["strength"]): row["top1_percent"] for row in rows}
    assert len(rows) == 13
    for same in (("occlusion", 0), ("patch_shuffle", 1), ("low_pass", 2), ("weight_noise", 0)):
        assert by_place[same] == pytest.approx(results["top1_percent"], abs=0.6)
    for constant in (("occlusion", 1), ("high_pass", 2)):
        assert by_place[constant] < 20
    assert results["occlusion_top1_percent"] == (by_place["occlusion", 0] + by_place["occlusion", 1]) / 2
    comparison = compare(tmp_path / "runs", analyses={"robustness": TASKS["robustness"]})
    assert [chart.title for chart in charts(comparison)] == [
        "Occlusion: top-1", "Shuffled squares: top-1", "Low-pass filter: top-1", "High-pass filter: top-1"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("task.kinds=[fog]", r"task.kinds=\['fog'\]: choose from occlusion, patch_shuffle"),
        ("task.grids=[3]", "task.grids: 3 does not divide images of 16 pixels"),
        ("task.cutoffs=[1,1]", "task.cutoffs=.*: must not repeat a value"),
        ("task.occluded=[1.5]", "task.occluded=.*: must be between 0 and 1"),
        ("task.occlusion_grid=20", "task.occlusion_grid=20: must be at most data.resolution=16"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, mistake, said):
    with pytest.raises(ConfigurationError, match=said):
        cell_of(tmp_path, "task=robustness", mistake, f"weights={weights(tmp_path)}")
