"""Several ranks train one cell: they stop together, and when one fails, the record says which and why."""

import os
import signal
import time

import pytest

from launch.interruption import PREEMPTED_EXIT_STATUS
from tests.training.test_distributed import start_ranks

from .test_faults import finish, finished_epochs, read_record, result, wait_until

pytestmark = pytest.mark.slow

PROGRAM = "import sys; from tests.launch.training_cell import main; sys.exit(main(*sys.argv[1:]))"


@pytest.fixture
def start():
    """The processes of two ranks."""
    started = []

    def run(output, *arguments, launcher="torchrun"):
        processes = start_ranks(PROGRAM, output, *arguments, launcher=launcher)
        started.extend(processes)
        return processes

    yield run
    for process in started:
        process.kill()
        process.communicate()


def complete(start, output, *arguments):
    for process in start(output, *arguments):
        assert finish(process) == 0, process.errors
    return result(output)


@pytest.mark.parametrize("asked", [0, 1])
def test_a_signal_to_one_rank_stops_all_after_the_same_step(tmp_path, start, asked):
    """The continuation, too, has two ranks; undisturbed or not, their result is the same bit by bit."""
    arguments = ("epochs=12", "workers=1")
    processes = start(tmp_path / "stopped", *arguments, "fault=slow", launcher="srun")
    wait_until(lambda: finished_epochs(tmp_path / "stopped") > 0, processes[0])
    processes[asked].send_signal(signal.SIGUSR2)
    for process in processes:
        assert finish(process) == PREEMPTED_EXIT_STATUS, process.errors
    assert read_record(tmp_path / "stopped")["status"] == "preempted"
    assert 0 < finished_epochs(tmp_path / "stopped") < 12
    assert complete(start, tmp_path / "stopped", *arguments) == complete(start, tmp_path / "straight", *arguments)


def test_a_rank_that_is_killed_fails_the_cell(tmp_path, start):
    processes = start(tmp_path, "epochs=400", "plain=true", "fault=slow")
    wait_until(lambda: finished_epochs(tmp_path) > 0, processes[0])
    processes[1].kill()
    assert finish(processes[0]) == 1
    record = read_record(tmp_path)
    assert record["status"] == "failed"
    assert "another rank died; the same command continues" in record["reason"]
    done = finished_epochs(tmp_path)
    again = start(tmp_path, "epochs=400", "plain=true", "fault=slow")
    wait_until(lambda: finished_epochs(tmp_path) > done, again[0])


def test_what_a_rank_failed_of_is_in_the_record(tmp_path, start):
    processes = start(tmp_path, "plain=true", "fault=greedy", "at_rank=1")
    assert [finish(process) for process in processes] == [1, 1]
    record = read_record(tmp_path)
    assert record["status"] == "out_of_memory"
    assert record["reason"].startswith("rank 1: ")
    assert "can't allocate memory" in record["reason"]


def test_a_second_start_is_refused_on_all_ranks_and_a_finished_cell_is_left_alone(tmp_path, start):
    first = start(tmp_path, "epochs=400", "plain=true", "fault=slow")
    wait_until(lambda: finished_epochs(tmp_path) > 0, first[0])
    for process in start(tmp_path, "epochs=400", "plain=true"):
        assert finish(process) == 1
        assert "Another process works on this cell" in process.output
    for process in first:
        os.kill(process.pid, signal.SIGTERM)
    for process in first:
        assert finish(process) == PREEMPTED_EXIT_STATUS
    complete(start, tmp_path / "whole", "epochs=2", "plain=true")
    before = read_record(tmp_path / "whole")
    time.sleep(1)
    complete(start, tmp_path / "whole", "epochs=2", "plain=true")
    assert read_record(tmp_path / "whole") == before
