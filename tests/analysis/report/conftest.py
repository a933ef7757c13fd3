"""A report of made-up records: what the tests of this folder look at."""

from pathlib import Path

import pytest

from analysis.comparison import compare
from analysis.report import write_report
from tests.analysis.record_tree import cell_record, failed, speed_row, train_record, write_cell

# Mixer -> top-1 of two seeds, MACs, inference and training images/s.
MEASURED = {
    "halo": ((97.0, 98.0), 61_000_000, 210.0, 70.0),
    "sra": ((94.0, 95.0), 44_000_000, 400.0, 130.0),
    "dcnv3": ((97.6, 98.2), 46_000_000, 150.0, 44.0),
    "identity": ((88.0, 88.4), 40_000_000, 800.0, 260.0),
}


def fill(root: Path, scale: str = "micro", factor: int = 1) -> None:
    """Four mixers at one scale: trainings of two seeds with metrics, speeds at two batch sizes."""
    for mixer, (scores, macs, inference, training) in MEASURED.items():
        for seed, top1 in enumerate(scores):
            record = train_record(mixer, top1, 4_000_000 * factor, macs * factor, seed=seed, scale=scale)
            write_cell(root, record, curve=[50.0, 80.0, top1])
        rows = [
            speed_row(mode, speed * gain / factor, batch_size=batch_size)
            for mode, speed in (("inference", inference), ("training", training))
            for batch_size, gain in ((8, 1.0), (64, 1.25))
        ]
        if mixer == "dcnv3":
            rows[-1] |= {"status": "out_of_memory", "images_per_second": None, "latency_ms": None}
        write_cell(root, cell_record("speed", mixer, scale=scale, rows=rows))


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    fill(root)
    fill(root, scale="tiny", factor=7)
    reason = "ValueError: <script>alert('no')</script> & more"
    write_cell(root, failed(train_record("pooling", 0.0), reason))
    return root


@pytest.fixture(scope="session")
def report(runs, tmp_path_factory) -> Path:
    return write_report(compare(runs, "digits"), tmp_path_factory.mktemp("report"))
