"""`weights=sweep:NAME` finds the training of the same network and seed, or says what there is."""

import pytest

from conf.sweep_weights import resolve
from tests.analysis.record_tree import train_record, write_cell


def asked(record, output):
    return {**record["config"], "output": str(output), "weights": f"sweep:{record['sweep']}"}


def test_the_training_of_the_same_network_and_seed_is_found(tmp_path):
    folders = {}
    for mixer in ("halo", "sra"):
        for seed in (0, 1):
            record = train_record(mixer, 90, seed=seed)
            write_cell(tmp_path, record)
            folders[mixer, seed] = record
    for (mixer, seed), record in folders.items():
        config = asked(record, tmp_path)
        found = resolve(config)
        assert f"{record['name']}-{record['cell']}" in found, (mixer, seed)
    with pytest.raises(ValueError, match=r"none of the completed trainings in .* has this network.*seed=7"):
        resolve(config | {"seed": 7})
    with pytest.raises(ValueError, match="none of the completed trainings"):
        resolve(config | {"weights": "sweep:elsewhere"})
    assert resolve(config | {"weights": "official"}) == "official"
    assert resolve(config | {"weights": None}) is None


def test_of_several_data_sets_it_is_the_cells_own(tmp_path):
    records = [train_record("halo", 90, seed=0), train_record("halo", 80, seed=0)]
    records[1]["config"]["data"] = {**records[1]["config"]["data"], "name": "another"}
    records[1] |= {"cell": "ffffffffffff"}
    for record in records:
        write_cell(tmp_path, record)
    config = asked(records[1], tmp_path)
    assert "ffffffffffff" in resolve(config)
    with pytest.raises(ValueError, match="2 of the completed trainings"):
        resolve(config | {"data": {"name": "a third"}})
