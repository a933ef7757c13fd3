"""`task=contribution` on a tiny network and the digits, through the record."""

import numpy as np
import pytest

from analysis.comparison import compare
from analysis.report.charts import charts
from conf.errors import ConfigurationError
from tasks import TASKS

from .asking import asked, cell_of, counted_forwards, weights

ASK = ("task=contribution", "task.batch_size=355", "network.options.layer_scale_init=1.0")


def test_every_part_and_replacement_has_its_accuracy_and_a_run_that_was_stopped_goes_on(tmp_path):
    given = f"weights={weights(tmp_path, layer_scale_init=1.0)}"
    with counted_forwards() as forwards:
        forwards.fails_at = 4
        assert asked(tmp_path, *ASK, given)["reason"] == "RuntimeError: the power is gone"
        forwards.fails_at = None
        record = asked(tmp_path, *ASK, given)
    assert record["status"] == "completed", record["reason"]
    # The whole network, the averages, five parts with three replacements each, and eight images for the ranks.
    assert forwards == [355] * 17 + [1] * 8
    whole = asked(tmp_path, *ASK, given, "sweep=whole", "task.blocks=true", "task.instead=[zero]")
    rows = {(row["part"], row.get("instead")): row for row in whole["details"]["observations"]}
    for row in record["details"]["observations"]:
        assert row.get("instead") in ("identity", "average") or rows[row["part"], row.get("instead")] == row
    assert {part for part, way in rows if way == "zero"} > {"all", "stage 3", "stage 3 block 1"}
    results = record["results"]
    assert results["top1_percent"] == asked(tmp_path, "task=evaluate", ASK[2], given)["results"]["top1_percent"]
    lost = rows["all", "zero"]["lost_points"]
    assert lost == pytest.approx(results["top1_percent"] - results["all_zero_top1_percent"])
    outcomes = np.load(cell_of(tmp_path, *ASK, given).directory / "outcomes.npy")
    assert 100 * outcomes["top1"].mean() == pytest.approx(results["top1_percent"])
    drawn = charts(compare(tmp_path / "runs", analyses={"contribution": TASKS["contribution"]}))
    assert len(drawn) == 6  # three replacements and the ranks, and zero and the ranks


def test_what_cannot_be_asked_is_refused_in_a_sentence(tmp_path):
    given = f"weights={weights(tmp_path)}"
    with pytest.raises(ConfigurationError, match=r"task.instead=\[\]: give each of zero, identity, average once"):
        cell_of(tmp_path, *ASK, given, "task.instead=[]")
    with pytest.raises(ConfigurationError, match="network=resnet18: has no mixers that could be replaced"):
        cell_of(tmp_path, "task=contribution", given, "network=resnet18", "scale=null", "~mixer", "data.num_classes=10")
