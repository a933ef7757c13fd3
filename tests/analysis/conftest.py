"""Records that several tests compare."""

import pytest

from .record_tree import cell_record, speed_row, train_record, write_cell


@pytest.fixture
def two_mixers(tmp_path):
    """halo and sra with two seeds each, identity with one; halo with a speed; sra's speed ran out of memory."""
    root = tmp_path / "runs"
    for seed, halo, sra in ((0, 97.0, 90.0), (1, 98.0, 91.0)):
        write_cell(root, train_record("halo", halo, params=4_389_672, macs=61_234_567, seed=seed))
        write_cell(root, train_record("sra", sra, params=3_900_000, macs=44_000_000, seed=seed))
    write_cell(root, train_record("identity", 96.4, params=3_800_000, macs=40_000_000))
    rows = [speed_row("inference", 400.0), speed_row("training", 125.0, peak_memory_mib=777.7)]
    write_cell(root, cell_record("speed", "halo", rows=rows))
    out = {"status": "out_of_memory", "images_per_second": None, "latency_ms": None, "peak_memory_mib": None}
    write_cell(root, cell_record("speed", "sra", rows=[speed_row("inference", 500.0), speed_row("training") | out]))
    return root
