"""A cell's identity changes with what defines its result, and with nothing else."""

import pytest

from launch import Cell

from .cells import make_cell


@pytest.mark.parametrize(
    "change",
    [
        {"mixer__name": "sra"},
        {"mixer__block_size": 8},
        {"contents": {"networks": ["0123456789ab"], "drop_path_rate": 0.0}},
        {"scale": "tiny"},
        {"network__budget": "macs"},
        {"network__options": {"layer_scale_init": 0.1}},
        {"network__mixers": ["halo"] * 4},
        {"data__name": "cifar10"},
        {"data__resolution": 64},
        {"data__options": {"distance": 12}},
        {"recipe__epochs": 2},
        {"seed": 1},
        {"precision": "bf16"},
        {"weights": "official"},
        {"task__name": "complexity"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_defines_the_result_is_in_the_identity(change):
    assert make_cell(**change).id != make_cell().id


@pytest.mark.parametrize(
    "change",
    [
        {"data__root": "/elsewhere"},
        {"data__workers": 4},
        {"data__options": {}},
        {"platform__name": "slurm"},
        {"tracking__mode": "online"},
        {"sweep": "another"},
        {"output": "/scratch/runs"},
        {"rerun": True},
        {"device": "cuda"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_where_a_cell_runs_is_not(change):
    assert make_cell(**change).id == make_cell().id


def test_a_complexity_depends_on_neither_seed_nor_recipe_nor_precision():
    plain = make_cell(task__name="complexity")
    other = make_cell(task__name="complexity", seed=1, recipe__epochs=7, precision="bf16", data__name="cifar10")
    assert other.id == plain.id
    assert other.directory == plain.directory
    assert make_cell(task__name="complexity", data__num_classes=100).id != plain.id


def test_a_speed_belongs_to_a_kind_of_device():
    assert make_cell(task__name="speed", device="cuda").id != make_cell(task__name="speed").id
    assert make_cell(task__name="speed", seed=1).id == make_cell(task__name="speed").id


def test_the_identity_is_the_same_in_every_session():
    """A cell is found again years later only if its id never changes; this one may change with the schema only."""
    assert make_cell().id == make_cell().id
    assert len(make_cell().id) == 12
    assert int(make_cell().id, 16) >= 0


def test_the_directory_tells_people_what_it_is(tmp_path):
    cell = make_cell(tmp_path, seed=3)
    assert cell.directory == tmp_path / "trial" / f"halo-micro-digits-train-seed3-{cell.id}"
    assert make_cell(network__mixers=["halo", "halo", "sra", "sra"], mixer=None).name.startswith(
        "halo+halo+sra+sra-micro"
    )
    assert make_cell(network__name="contnet_tiny", mixer=None, scale=None).name == "contnet_tiny-digits-train-seed0"


def test_a_cell_is_read_back_from_its_own_file(tmp_path):
    cell = make_cell(tmp_path, network__options={"layer_scale_init": 1e-6})
    cell.write_config()
    again = Cell.read(cell.directory)
    assert again.config == cell.config
    assert again.id == cell.id
