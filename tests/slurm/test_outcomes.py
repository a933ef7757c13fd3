"""Cells that complete, fail and die: each ends as what it is, and the others are not disturbed."""

import pytest

from .configuration import Features, Hardware
from .conftest import running_cluster
from .sweeps import TrialSweep


def test_thirty_cells_of_which_three_fail(sweep):
    printed = sweep.submit(
        "mixer.variant=range(0,30)", "mixer.fault=error_in_tenth", "platform.cells_per_job=5", "platform.parallel=3"
    )
    assert "array" in printed
    sweep.wait_until_over()
    sweep.check(completed=27, failed=3)
    for variant in (0, 10, 20):
        [cell] = sweep.cells_with(variant=variant)
        record = sweep.record(cell)
        assert record["reason"] == "ArithmeticError: this cell was told to fail"
        assert "in _act" in record["traceback"]
        assert "this cell was told to fail" in sweep.call(sweep.launch_command("logs", cell))
    # Jobs 0, 2 and 4 have a failed cell each; their other cells are completed all the same.
    sweep.check_jobs(COMPLETED=3, FAILED=3)


def test_cells_share_a_job_each_on_its_own_gpu(sweep):
    if not sweep.cluster.hardware.gpus:
        pytest.skip("only root can make fake GPUs")
    sweep.submit(
        *("mixer.variant=range(0,3)", "mixer.fault=none,error"),
        *("platform.packing=gpus", "platform.gpus_per_node=3", "platform.cells_per_job=6"),
    )
    sweep.wait_until_over()
    sweep.check(completed=3, failed=3)
    sweep.check_jobs(FAILED=1)


def test_a_cell_whose_process_is_killed_is_tried_again_at_once(sweep, tmp_path):
    sweep.submit(f"mixer.fault={tmp_path}/killed")
    sweep.wait_until_over()
    sweep.check(completed=1)
    [cell] = sweep.cells()
    assert sweep.outcomes(cell) == ["died", "completed"]
    sweep.check_jobs(COMPLETED=1)


def test_a_cell_that_dies_every_time_fails_with_the_nodes_it_died_on(sweep):
    sweep.submit("mixer.fault=killed", "platform.retries=2")
    sweep.wait_until_over()
    sweep.check(completed=0, failed=1)
    [cell] = sweep.cells()
    attempts = sweep.attempts(cell)
    assert [attempt["status"] for attempt in attempts] == ["died", "died", "died"]
    # Twice on one node is enough: the third time is elsewhere.
    assert attempts[0]["node"] == attempts[1]["node"] != attempts[2]["node"], sweep.describe()
    assert "3 times" in sweep.record(cell)["reason"]
    assert attempts[0]["node"] in sweep.record(cell)["reason"]
    sweep.check_jobs(FAILED=1)


def test_a_cell_that_takes_more_memory_than_its_job_has_fails_alone(images, tmp_path, memory_cgroup):
    hardware = Hardware(nodes=("memory0",), gpus=0)
    with running_cluster("memory", hardware, Features(memory_limits=True)) as cluster:
        sweep = TrialSweep(cluster, tmp_path, images)
        sweep.submit("mixer.fault=none,memory", "platform.memory_gib=1", "platform.retries=0", "recipe.epochs=8")
        sweep.wait_until_over()
        completed, failed = sweep.cells_with(fault="none"), sweep.cells_with(fault="memory")
        sweep.check(completed=1, **{sweep.record(failed[0])["status"]: 1})
        assert sweep.record(completed[0])["status"] == "completed"
        assert "memory" in sweep.record(failed[0])["reason"].lower()
