"""`task=adversarial` on a tiny network, through the record."""

import numpy as np
import pytest

from analysis.comparison import compare
from analysis.report.charts import charts
from conf.errors import ConfigurationError
from tasks import TASKS

from .asking import asked, cell_of, weights

ASK = ("task=adversarial", "task.linf=[0,4,128]", "task.l2=[0.5,64]", "task.steps=3", "task.images=100")


def test_the_record_has_curves_checks_and_outcomes_of_some_of_the_images(tmp_path):
    ask = (*ASK, f"weights={weights(tmp_path)}")
    record = asked(tmp_path, *ask)
    assert record["status"] == "completed", record["reason"]
    rows, results = record["details"]["observations"], record["results"]
    by_place = {(row["norm"], row["attack"], row["strength"]): row["top1_percent"] for row in rows}
    for attack in ("pgd", "fgsm", "noise", "transfer"):
        assert by_place["linf", attack, 0.0] == results["top1_percent"]
    assert by_place["linf", "pgd", 128.0] == by_place["l2", "pgd", 64.0] == 0
    assert results["pgd_linf_top1_percent"] <= results["noise_linf_top1_percent"]
    assert results["failed_checks"] == len(record["details"]["failed_checks"])
    cell = cell_of(tmp_path, *ask)
    whole = asked(tmp_path, "task=evaluate", ask[-1])
    assert whole["status"] == "completed"
    of_all = np.load(cell_of(tmp_path, "task=evaluate", ask[-1]).directory / "outcomes.npy")
    some = np.load(next(cell.directory.glob("views/*/clean/clean.npy")))
    assert np.array_equal(some["image"], of_all["image"][::4])  # 89 of 355: at most 100
    assert np.array_equal(some["answer"], of_all["answer"][::4])
    comparison = compare(tmp_path / "runs", analyses={"adversarial": TASKS["adversarial"]})
    assert [chart.title for chart in charts(comparison)] == [
        "PGD, ℓ∞: top-1", "FGSM, ℓ∞: top-1", "Noise of the same size, ℓ∞: top-1", "PGD, ℓ2: top-1",
        "Noise of the same size, ℓ2: top-1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("task.linf=[-1]", r"task.linf=\[-1.0\]: must not be negative"),
        ("task.steps=0", "task.steps=0: must be at least 1"),
        ("task.images=0", "task.images=0: must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, mistake, said):
    with pytest.raises(ConfigurationError, match=said):
        cell_of(tmp_path, "task=adversarial", mistake, f"weights={weights(tmp_path)}")
