"""`task=scaling` through the record: counts anywhere, times where they are asked for."""

import pytest

import tasks.scaling
from analysis.comparison import compare
from analysis.report.charts import charts
from conf.errors import ConfigurationError
from tasks import TASKS

from .asking import asked, cell_of

ASK = ("task=scaling", "task.sides=[32,64]", "task.rectangles=[32x64]")


def test_counts_grow_and_a_run_that_was_stopped_goes_on_with_the_next_size(tmp_path, monkeypatch):
    counted, count = [], tasks.scaling._counted

    def counting(spec):
        if len(counted) == 2:
            raise RuntimeError("the power is gone")
        counted.append(spec.img_size)
        return count(spec)

    with monkeypatch.context() as patch:
        patch.setattr(tasks.scaling, "_counted", counting)
        assert asked(tmp_path, *ASK)["reason"] == "RuntimeError: the power is gone"
    with monkeypatch.context() as patch:
        patch.setattr(tasks.scaling, "_counted", lambda spec: counted.append(spec.img_size) or count(spec))
        record = asked(tmp_path, *ASK)
    assert counted == [(16, 16), (32, 32), (32, 64), (64, 64)]
    assert record["status"] == "completed", record["reason"]
    rows = [row for row in record["details"]["observations"] if row["kind"] == "counted"]
    assert [row["macs"] for row in rows] == sorted(row["macs"] for row in rows)
    # Of a convolution's network, all but the classifier is proportional to the pixels.
    assert record["results"]["macs_exponent"] == pytest.approx(1, abs=0.02)
    assert record["results"]["memory_exponent"] == pytest.approx(1, abs=0.02)
    memory = rows[0]["memory_fixed_bytes"] + record["results"]["largest_batch"] * rows[0]["memory_bytes_an_image"]
    assert memory <= 16 * 2**30 < memory + rows[0]["memory_bytes_an_image"]
    asked(tmp_path, *ASK, mixer="global_attention")
    drawn = charts(compare(tmp_path / "runs", analyses={"scaling": TASKS["scaling"]}))
    assert [chart.title for chart in drawn] == ["MACs against the image", "Training memory against the image"]


def test_times_are_another_cell_and_one_that_cannot_be_had_has_its_reason(tmp_path):
    timed = (*ASK, "task.time=true", "task.seconds=0.01", "task.batch_sizes=[1]")
    assert cell_of(tmp_path, *ASK).id == cell_of(tmp_path, *ASK, "task.seconds=2", "precision=bf16").id
    assert cell_of(tmp_path, *timed).id != cell_of(tmp_path, *ASK).id
    record = asked(tmp_path, "task=scaling", "task.sides=[32,64]", "task.rectangles=[]", *timed[3:])
    assert record["status"] == "completed", record["reason"]
    rows = [row for row in record["details"]["observations"] if row["kind"] == "timed"]
    assert len(rows) == 3 * 2
    failed = [row for row in rows if row["status"] == "failed"]
    # One image whose last map is one pixel, and batch norms learn nothing from it.
    assert {(row["rows"], row["mode"], row["batch_size"]) for row in failed} == {
        (16, "training", 1),
        (32, "training", 1),
    }
    assert all("more than 1 value" in row["reason"] and row["latency_ms"] is None for row in failed)
    assert all(row["latency_ms"] > 0 for row in rows if row not in failed)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("task.sides=[32]", "give at least two different ones"),
        ("task.sides=[16,64]", "must be at least 32"),
        ("task.rectangles=[32x]", "as in 224x448"),
    ],
)
def test_sizes_that_cannot_be_are_refused(tmp_path, override, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        cell_of(tmp_path, "task=scaling", override)
