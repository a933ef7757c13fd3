"""`task=invariance` on a tiny network, through the record."""

import numpy as np
import pytest
import torch
from PIL import Image

from analysis.comparison import compare
from analysis.invariance.protocols import SideBySide, views_of
from analysis.invariance.views import Preparation
from analysis.report.charts import charts
from conf.errors import ConfigurationError
from launch import execute
from tasks import TASKS
from tests.training.examples import TinyNetwork, small_digits
from training.data import validation_batches

from .asking import asked, cell_of, counted_forwards, weights

ASK = ("task=invariance", "task.angles=[0,45]", "task.ratios=[0.5,1,1.5]", "task.fractions=[0.5]")


def test_the_record_has_a_row_a_view_and_its_outcomes(tmp_path):
    given = f"weights={weights(tmp_path)}"
    record = asked(tmp_path, *ASK, given)
    assert record["status"] == "completed", record["reason"]
    rows = record["details"]["observations"]
    shifts = [row["strength"] for row in rows if row["kind"] == "translation"]
    assert shifts == [0, 1, 2, 3, 4, 5]
    assert len(rows) == 1 + len(shifts) + 2 + 2 + 3 + 2 + 1
    by_place = {(row["kind"], row["strength"]): row for row in rows}
    # What changes nothing is answered as the standard view; digits fill their images.
    for same in (("standard", 0), ("translation", 0), ("pre_rotation", 0), ("post_rotation", 0), ("scale", 1)):
        assert by_place[same]["consistency_percent"] == 100
        assert by_place[same]["top1_percent"] == record["results"]["top1_percent"]
    of_scale = [row["consistency_percent"] for row in rows if row["kind"] == "scale"]
    assert record["results"]["scale_consistency_percent"] == pytest.approx(sum(of_scale) / 3)
    assert record["results"]["vertical_flip_consistency_percent"] < 100
    files = {path.name for path in cell_of(tmp_path, *ASK, given).directory.glob("views/*/*/*.npy")}
    assert {"standard_0.npy", "translation_5.npy", "scale_0.5.npy", "flip_horizontal.npy"} <= files
    assert len(files) == len(rows)


def test_a_run_that_was_stopped_goes_on_with_the_next_views(tmp_path):
    ask = (*ASK, "task.kinds=[translation,flip,scale]", "task.batch_size=355", f"weights={weights(tmp_path)}")
    with counted_forwards() as forwards:
        forwards.fails_at = 10
        assert asked(tmp_path, *ask)["reason"] == "RuntimeError: the power is gone"
        forwards.fails_at = None
        record = asked(tmp_path, *ask)
    assert forwards == [355] * (10 + 4)  # of 12 views 8 in the first pass, which are not asked again
    assert record["results"] == asked(tmp_path, *ask, "sweep=whole")["results"]


class Everywhere(TinyNetwork):
    """Sums up colours, wherever they are: exactly equivariant, as far as nothing leaves the image."""

    def forward(self, images):
        return images.double().sum((2, 3)).float() @ self.head.weight.T[:3]


def test_a_network_that_looks_everywhere_alike_is_consistent_under_true_shifts(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.from_config.trained.build_network", lambda spec: Everywhere(2))
    monkeypatch.setattr("tasks.from_config.trained.load", lambda *arguments, **options: None)
    draws = np.random.default_rng(0)
    for label in ("ant", "bee"):
        (tmp_path / "val" / label).mkdir(parents=True)
        for number in range(4):
            pixels = np.zeros((32, 36, 3), dtype=np.uint8)
            pixels[12:20, 14:22] = draws.integers(0, 256, (8, 8, 3))
            Image.fromarray(pixels).save(tmp_path / "val" / label / f"{number}.png")
    (tmp_path / "val" / "bee" / "damaged.png").write_bytes(b"nothing")
    files = ["data=image_folder", f"data.root={tmp_path}", "data.resolution=28", "data.workers=0"]
    files += ["data.max_corrupt_share=0.2"]
    corrected = ("task=invariance", "task.protocol=corrected", "task.shifts=[0,3,8]", "task.kinds=[translation,flip]")
    cell = cell_of(tmp_path, *corrected, *files, f"weights={weights(tmp_path)}")
    record = execute(cell, show_progress=False).record
    assert {row["images"] for row in record["details"]["observations"]} == {8}
    results = record["results"]
    assert results["translation_consistency_percent"] == 100
    assert results["vertical_flip_consistency_percent"] == results["horizontal_flip_consistency_percent"] == 100


def test_views_do_not_depend_on_who_makes_them():
    transform = SideBySide(views_of("translation", [1, 3], "authors"), Preparation(32, 1.0, "bicubic"))
    passes = [
        torch.cat([
            pixels
            for pixels, _ in validation_batches(
                small_digits(resolution=32, workers=workers), batch_size=batch_size, device=torch.device("cpu"),
                transform=transform, seed=seed,
            ).epoch(0)
        ])
        for workers, batch_size, seed in ((0, 64, 3), (2, 100, 3), (0, 64, 4))
    ]  # fmt: skip
    assert passes[0].shape == (355, 6, 32, 32)
    assert torch.equal(passes[0], passes[1])
    assert not torch.equal(passes[0], passes[2])


def test_several_networks_have_a_table_and_curves(tmp_path):
    for mixer in ("depthwise_conv", "identity"):
        asked(tmp_path, *ASK, "task.kinds=[scale]", f"weights={weights(tmp_path, mixer)}", mixer=mixer)
    comparison = compare(tmp_path / "runs", analyses={"invariance": TASKS["invariance"]})
    assert set(comparison.sections[0].rows["label"]) == {"depthwise_conv", "identity"}
    drawn = charts(comparison)
    assert [chart.title for chart in drawn] == ["Scale: consistency", "Scale: top-1"]
    assert {chart.kind for chart in drawn} == {"invariance"}


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("task.protocol=mine", "task.protocol='mine': choose from authors, corrected"),
        ("task.kinds=[rotation]", r"task.kinds=\['rotation'\]: choose from translation, pre_rotation"),
        ("task.ratios=[0]", r"task.ratios=\[0.0\]: must be positive"),
        ("task.angles=[5,5]", "task.angles=.*must not repeat a value"),
        ("task.shifts=[0,16]", "task.shifts: 16 pixels leave nothing to see of images whose shorter side is 16 pixels"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, mistake, said):
    with pytest.raises(ConfigurationError, match=said):
        cell_of(tmp_path, "task=invariance", mistake, f"weights={weights(tmp_path)}")
