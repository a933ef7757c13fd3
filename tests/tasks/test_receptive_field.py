"""`task=receptive_field` on tiny networks and the digits, through the record."""

import pytest

from analysis import receptive_field
from analysis.comparison import compare
from analysis.report.charts import charts
from conf.errors import ConfigurationError
from tasks import TASKS
from tasks.from_config.trained import spread

from .asking import asked, cell_of, weights

ASK = ("task=receptive_field", "task.images=24", "task.batch_size=8")


@pytest.fixture
def passes(monkeypatch):
    """Counts batches; a fault stops the one that would be `passes.fails_at`."""
    taken, centre_energy = [], receptive_field.centre_energy

    def counting(maps, images, generator):
        if len(taken) == counting.fails_at:
            raise RuntimeError("the power is gone")
        taken.append(len(images))
        return centre_energy(maps, images, generator)

    counting.fails_at, counting.taken = None, taken
    monkeypatch.setattr(receptive_field, "centre_energy", counting)
    return counting


def test_trained_and_untrained_are_measured_and_drawn_side_by_side(tmp_path):
    reached = {}
    for mixer in ("pooling", "identity"):
        given = f"weights={weights(tmp_path, mixer, layer_scale_init=1.0)}"
        record = asked(tmp_path, *ASK, given, "network.options.layer_scale_init=1.0", mixer=mixer)
        assert record["status"] == "completed", record["reason"]
        rows = record["details"]["observations"]
        assert [(row["state"], row["stage"]) for row in rows] == [
            (state, stage) for state in ("trained", "untrained") for stage in (1, 2, 3, 4)
        ]
        assert rows[3]["energy_90_area_percent"] == record["results"]["energy_90_area_percent"]
        reached[mixer] = sum(level > -60 for row in rows[0]["heat_map_db"] for level in row)
    # The stem's 7 x 7 pixels at the most, and more with a mixer that mixes.
    assert reached["identity"] <= 49 < reached["pooling"]
    comparison = compare(tmp_path / "runs", analyses={"receptive_field": TASKS["receptive_field"]})
    titles = [chart.title for chart in charts(comparison)]
    assert titles[:2] == ["Effective receptive fields, trained", "Effective receptive fields, untrained"]
    assert len(titles) == 4


def test_without_weights_it_is_of_the_network_as_it_is_initialised(tmp_path):
    record = asked(tmp_path, *ASK)
    assert record["status"] == "completed", record["reason"]
    assert {row["state"] for row in record["details"]["observations"]} == {"untrained"}
    other = asked(tmp_path, *ASK, "seed=1")
    assert other["cell"] != record["cell"]
    assert other["results"] != record["results"]


def test_a_run_that_was_stopped_goes_on_with_the_next_batch(tmp_path, passes):
    passes.fails_at = 2
    assert asked(tmp_path, *ASK)["reason"] == "RuntimeError: the power is gone"
    passes.fails_at = None
    record = asked(tmp_path, *ASK)
    assert passes.taken == [8, 8, 8]
    assert record["results"] == asked(tmp_path, *ASK, "sweep=whole")["results"]


def test_images_are_spread_over_the_data_set():
    assert spread(10, 3) == [1, 5, 8]
    assert spread(2, 3) == [0, 1]


def test_impossible_settings_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"task.images=0: must be at least 1"):
        cell_of(tmp_path, *ASK, "task.images=0")
