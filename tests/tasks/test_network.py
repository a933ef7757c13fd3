"""From a cell's configuration to the network that it names."""

import pytest

from tasks.from_config.network import network_spec
from tests.launch.cells import make_cell

RULES = {"dims": None, "depths": None}


@pytest.mark.parametrize(
    ("mixer", "network", "expected"),
    [
        ("halo", {"budget": None, **RULES}, None),
        ("halo", {"budget": "params", **RULES}, "params"),
        # As cells were configured before there were rules: a published row won over every budget.
        ("halo", {"budget": "params"}, None),
        ("halo", {"budget": "macs"}, None),
        ("pooling", {"budget": "params"}, "params"),
        ("pooling", {"budget": "macs"}, "macs"),
    ],
)
def test_older_cells_are_run_again_as_they_were(tmp_path, mixer, network, expected):
    network = {"name": "unified", "options": {}, "mixers": None} | network
    cell = make_cell(tmp_path, network=network, mixer={"name": mixer}, scale="micro")
    assert network_spec(cell.config).budget == expected


def test_dims_and_depths_are_told(tmp_path):
    network = {
        "name": "unified",
        "options": {},
        "mixers": None,
        "budget": None,
        "dims": [8, 16, 24, 32],
        "depths": None,
    }
    spec = network_spec(make_cell(tmp_path, network=network, mixer={"name": "halo"}, scale="micro").config)
    assert (spec.dims, spec.depths) == ((8, 16, 24, 32), None)
