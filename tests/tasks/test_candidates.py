"""What a cell of task=speed times."""

import pytest

from analysis.settings import SpeedSettings
from analysis.speed import measure
from tasks.from_config.candidates import candidates, check_candidates, own_resolution
from tests.launch.cells import make_cell

UNIFIED = {"name": "unified", "options": {}, "mixers": None, "budget": "params"}


def speed_cell(**changes):
    task = {"name": "speed", "compare": [], "against": None, "implementations": [], "resolutions": []}
    task |= changes.pop("task", {})
    return make_cell(**{"task": task, "subject": "network", "dim": None, "resolution": None} | changes)


def names(cell):
    return [candidate.name for candidate in candidates(cell.config)]


def test_the_cells_own_network_comes_first():
    cell = speed_cell(task={"compare": ["sra", "resnet18"]})
    assert names(cell) == ["halo", "sra", "resnet18"]
    assert cell.name == "halo-vs-sra-vs-resnet18-micro-speed"
    halo, sra, resnet = candidates(cell.config)
    assert halo.config["mixer"]["name"] == "halo"
    assert (sra.config["mixer"]["name"], sra.config["scale"]) == ("sra", "micro")
    assert (resnet.config["network"]["name"], resnet.config["mixer"], resnet.config["scale"]) == (
        "resnet18",
        None,
        None,
    )
    assert resnet.macs((32, 32)) > 0


def test_a_cell_need_not_have_a_network_of_its_own():
    cell = speed_cell(mixer=None, task={"compare": ["sra", "pooling"], "against": "pooling"})
    check_candidates(cell.config)
    assert names(cell) == ["sra", "pooling"]
    assert cell.label == "sra vs pooling"


def test_implementations_multiply_the_mixers_that_have_them():
    cell = speed_cell(mixer=None, task={"compare": ["pooling", "dcnv3"], "implementations": ["reference", "cpp"]})
    assert names(cell) == ["pooling", "dcnv3 reference", "dcnv3 cpp"]
    assert [candidate.config["mixer"].get("implementation") for candidate in candidates(cell.config)] == [
        None,
        "reference",
        "cpp",
    ]


def test_what_is_compared_is_part_of_the_identity():
    assert speed_cell(task={"compare": ["sra"]}).id != speed_cell().id
    assert speed_cell(subject="mixer", dim=96).id != speed_cell(subject="mixer", dim=64).id
    assert speed_cell(subject="mixer", dim=96, resolution=[7, 8]).id != speed_cell(subject="mixer", dim=96).id


@pytest.mark.parametrize(("given", "expected"), [([56, 28], (56, 28)), (14, (14, 14))])
def test_a_mixer_alone_has_the_resolution_of_its_own_key(given, expected):
    cell = speed_cell(subject="mixer", dim=32, scale=None, resolution=given)
    assert own_resolution(cell.config) == expected
    assert cell.name == "halo-dim32-speed"


def test_a_mixer_alone_is_built_as_in_the_first_stage_and_measured():
    mixer = {"name": "sra", "sr_ratio": None}
    cell = speed_cell(subject="mixer", mixer=mixer, dim=32, scale=None, resolution=[16, 8], task={"compare": ["halo"]})
    found = candidates(cell.config)
    assert found[0].build((16, 8)).sr_ratio == 8
    settings = SpeedSettings(modes=["inference"], batch_sizes=[1], seconds=0.0, warmup_seconds=0.0, turn_seconds=0.0)
    rows = measure(found, settings, resolution=own_resolution(cell.config))
    assert [(row["candidate"], row["resolution"], row["columns"], row["dim"]) for row in rows] == [
        ("sra", 16, 8, 32),
        ("halo", 16, 8, 32),
    ]
    assert [row["macs"] for row in rows] == [candidate.build((16, 8)).macs((16, 8)) for candidate in found]


def test_an_option_of_ones_own_is_kept_by_the_cells_own_mixer_only():
    cell = speed_cell(mixer={"name": "sra", "sr_ratio": 2}, dim=32, subject="mixer", scale=None, resolution=8)
    [own] = candidates(cell.config)
    assert own.build((8, 8)).sr_ratio == 2
