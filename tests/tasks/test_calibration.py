"""`task=calibration` on a tiny network and the digits, through the record."""

import numpy as np
import pytest

from analysis.calibration.diagrams import TITLES
from analysis.comparison import compare
from analysis.report.charts import charts
from conf.errors import ConfigurationError
from tasks import TASKS

from .asking import asked, cell_of, counted_forwards, weights

ASK = ("task=calibration", "task.batch_size=100")


def test_the_record_has_scores_bins_and_the_outcomes_of_evaluation(tmp_path):
    given = f"weights={weights(tmp_path)}"
    record = asked(tmp_path, *ASK, given)
    assert record["status"] == "completed", record["reason"]
    evaluated = asked(tmp_path, "task=evaluate", "task.batch_size=100", given)
    results = record["results"]
    assert results["top1_percent"] == evaluated["results"]["top1_percent"]
    assert results["nll_nats"] == pytest.approx(evaluated["results"]["validation_loss"], rel=1e-5)
    # The temperature is the best of the other half: an untrained network gains nothing by it, and loses little.
    assert results["scaled_nll_nats"] < results["judged_nll_nats"] + 1e-2
    cell, other = cell_of(tmp_path, *ASK, given), cell_of(tmp_path, "task=evaluate", given)
    mine, theirs = (np.load(each.directory / "outcomes.npy") for each in (cell, other))
    for name in ("image", "label", "answer", "top1"):
        assert (mine[name] == theirs[name]).all()
    assert not list(cell.directory.glob("views/*/logits"))
    bins = [row for row in record["details"]["observations"] if row["bins"] == "equal mass"]
    assert sum(row["images"] for row in bins if row["of"] == "all images") == len(mine)
    judged = {of: sum(row["images"] for row in bins if row["of"] == of) for of in ("judged", "judged, scaled")}
    assert judged["judged"] == judged["judged, scaled"] == (mine["image"] % 2 == 1).sum()


def test_a_run_that_was_stopped_goes_on_behind_the_last_batch(tmp_path):
    given = f"weights={weights(tmp_path)}"
    with counted_forwards() as forwards:
        forwards.fails_at = 2
        assert asked(tmp_path, *ASK, given)["reason"] == "RuntimeError: the power is gone"
        kept = next(cell_of(tmp_path, *ASK, given).directory.glob("views/*/logits"))
        with kept.open("ab") as file:
            file.write(b"half an entry")
        forwards.fails_at = None
        record = asked(tmp_path, *ASK, given)
    whole = asked(tmp_path, *ASK, given, "sweep=whole")
    assert forwards == [100, 100, 100, 55]
    assert record["results"] == whole["results"]


def test_several_networks_have_a_table_and_two_diagrams(tmp_path):
    for mixer in ("depthwise_conv", "identity"):
        asked(tmp_path, *ASK, f"weights={weights(tmp_path, mixer)}", mixer=mixer)
    comparison = compare(tmp_path / "runs", analyses={"calibration": TASKS["calibration"]})
    assert set(comparison.sections[0].rows["label"]) == {"depthwise_conv", "identity"}
    assert comparison.sections[0].rows["ece_percent"].notna().all()
    drawn = charts(comparison)
    assert [chart.title for chart in drawn] == list(TITLES.values())
    assert drawn[0].conditions == "nano, digits, 16×16, fp32"


def test_impossible_settings_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"task.bins=0: must be at least 1"):
        cell_of(tmp_path, *ASK, "task.bins=0", f"weights={weights(tmp_path)}")
    with pytest.raises(ConfigurationError, match="task=calibration needs weights"):
        cell_of(tmp_path, *ASK)
