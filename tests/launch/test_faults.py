"""What clusters do to training cells, really done: none loses a finished epoch, each ends in a record that says why.

The program in `training_cell` is killed, interrupted and starved; then the same command continues it, and in the end
its metrics and weights are those of a run that nobody disturbed, bit by bit.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

import analysis.record
import training.run
from launch import execute
from launch.interruption import PREEMPTED_EXIT_STATUS
from launch.lock import owner_of
from tests.training.examples import TinyNetwork

from .training_cell import make_training_cell, use

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def start():
    """Runs the program, as the leader of a process group of its own."""
    processes = []

    def run(output, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.launch.training_cell", str(output), *arguments],
            cwd=REPOSITORY,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def finish(process):
    """Its exit status, once it has ended by itself."""
    process.output, process.errors = process.communicate(timeout=300)
    return process.returncode


def directory_of(output):
    [directory] = Path(output).glob("trial/*")
    return directory


def read_record(output):
    return json.loads((directory_of(output) / "record.json").read_text())


def finished_epochs(output):
    paths = list(Path(output).glob("trial/*/metrics.jsonl"))
    return len(paths[0].read_text().splitlines()) if paths else 0


def wait_until(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def result(output):
    """What may not depend on what happened on the way."""
    directory = directory_of(output)
    names = ("metrics.jsonl", *(f"checkpoints/{name}.safetensors" for name in ("last", "best")))
    return {name: (directory / name).read_bytes() for name in names}


@pytest.fixture
def tiny(monkeypatch):
    """Cells that run in this process train the tiny network, too."""
    monkeypatch.setattr("architectures.build_network", None)
    monkeypatch.setattr("tasks.from_config.cost.describe", None)
    monkeypatch.setattr("tasks.from_config.cost.size_of", None)
    use(TinyNetwork)


@pytest.fixture
def straight(tmp_path, tiny):
    """The result of a cell that nobody disturbs; takes the keys of `make_training_cell`."""

    def run(**options):
        outcome = execute(make_training_cell(tmp_path / "straight", **options), show_progress=False)
        assert outcome.status == "completed", outcome.record["traceback"]
        return result(tmp_path / "straight")

    return run


def complete(output, **options):
    """The same command again, in this process."""
    outcome = execute(make_training_cell(output, **options), show_progress=False)
    assert outcome.status == "completed", outcome.record["traceback"]
    assert read_record(output)["status"] == "completed"
    return result(output)


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGTERM, PREEMPTED_EXIT_STATUS),
        pytest.param(signal.SIGUSR2, PREEMPTED_EXIT_STATUS, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_the_whole_process_group_ends_in_a_checkpoint(tmp_path, straight, number, status, start):
    """As Slurm and terminals send it: data workers get it, too."""
    options = {"epochs": 8}
    process = start(tmp_path / "stopped", "epochs=8", "workers=1", "fault=slow")
    wait_until(lambda: finished_epochs(tmp_path / "stopped") > 0, process)
    time.sleep(random.random() / 10)
    os.killpg(process.pid, number)
    assert finish(process) == status, process.errors
    assert "Stopped; the same command continues where this one ended." in process.errors
    assert "Traceback" not in process.errors
    record = read_record(tmp_path / "stopped")
    assert record["status"] == "preempted"
    assert record["reason"] == "Stopped before the end; the same command continues it."
    done = finished_epochs(tmp_path / "stopped")
    assert 0 < done < 8
    last = max(path.name for path in (directory_of(tmp_path / "stopped") / "checkpoints").glob("trainer_step_*"))
    assert int(last[13:21]) >= 3 * done
    assert owner_of(directory_of(tmp_path / "stopped")) is None
    assert complete(tmp_path / "stopped", **options) == straight(**options)


@pytest.mark.slow
def test_sigkill_at_random_steps_and_another_number_of_workers_each_time(tmp_path, straight, start):
    """Checkpoints are made so often that most fall into the middle of an epoch."""
    options = {"epochs": 30, "minutes": 1e-6}
    reached = -1
    for workers in (0, 2, 1, 3):
        process = start(tmp_path / "killed", "epochs=30", "minutes=0.000001", f"workers={workers}", "fault=slow")
        wait_until(lambda: newest_step(tmp_path / "killed") > reached, process)  # noqa: B023
        time.sleep(random.random())
        process.kill()
        assert finish(process) == -signal.SIGKILL
        assert read_record(tmp_path / "killed")["status"] == "running"
        assert newest_step(tmp_path / "killed") > reached
        reached = newest_step(tmp_path / "killed")
    assert reached < 90
    assert complete(tmp_path / "killed", **options) == straight(**options)


def newest_step(output):
    names = [path.name for path in Path(output).glob("trial/*/checkpoints/trainer_step_*.pt")]
    return int(max(names)[13:21]) if names else -1


def test_sigkill_while_a_checkpoint_is_written(tmp_path, straight, start):
    process = start(tmp_path / "killed", "plain=true", "fault=die_while_writing")
    assert finish(process) == -signal.SIGKILL
    checkpoints = directory_of(tmp_path / "killed") / "checkpoints"
    assert [path.name for path in checkpoints.glob("trainer_step_*")] == ["trainer_step_00000003.pt"]
    assert len(list(checkpoints.glob(".trainer_step_00000006.pt.*"))) == 1
    assert finished_epochs(tmp_path / "killed") == 1
    assert complete(tmp_path / "killed", plain=True) == straight(plain=True)
    assert not list(checkpoints.glob(".*"))


def test_sigkill_between_the_last_step_and_the_record(tmp_path, straight, start):
    """Nothing that the next process needs is removed before the record says completed."""
    process = start(tmp_path / "killed", "plain=true", "fault=die_before_completion")
    assert finish(process) == -signal.SIGKILL
    assert read_record(tmp_path / "killed")["status"] == "running"
    assert newest_step(tmp_path / "killed") == 9
    timings = directory_of(tmp_path / "killed") / "timings.jsonl"
    before = timings.read_text()
    assert complete(tmp_path / "killed", plain=True) == straight(plain=True)
    assert timings.read_text() == before  # no epoch was trained again
    assert newest_step(tmp_path / "killed") == -1


def test_a_completed_cell_keeps_its_weights_and_trainer_state_only_where_asked(tmp_path, tiny):
    weights = {"last.safetensors", "best.safetensors", "last_ema.safetensors"}
    for output, keep in (("lean", False), ("kept", True)):
        complete(tmp_path / output, workers=0, keep=keep)
        files = {path.name for path in (directory_of(tmp_path / output) / "checkpoints").iterdir()}
        states = {"trainer_step_00000006.pt", "trainer_step_00000009.pt"} if keep else set()
        assert files == weights | states
    assert directory_of(tmp_path / "lean").name == directory_of(tmp_path / "kept").name  # the same cell
    again = execute(make_training_cell(tmp_path / "lean"), show_progress=False, rerun=True)
    assert again.status == "completed"
    assert newest_step(tmp_path / "lean") == -1


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"a file system can be mounted by root only: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.slow
def test_a_full_disk(small_disk, straight, start):
    process = start(small_disk, "epochs=40", "plain=true", "fault=slow")
    wait_until(lambda: finished_epochs(small_disk) > 1, process)
    filler = small_disk / "filler"
    fill(filler)
    assert finish(process) == 1, process.errors
    done = finished_epochs(small_disk)
    assert 1 < done < 40
    record = read_record(small_disk)
    assert record["status"] == "failed"
    assert "the disk is full: free some space, then the same command continues" in record["reason"]
    filler.unlink()
    assert complete(small_disk, epochs=40, plain=True) == straight(epochs=40, plain=True)


def fill(path):
    with open(path, "wb", buffering=0) as file:
        for size in (2**16, 2**12):
            try:
                while True:
                    file.write(b"\x55" * size)
            except OSError:
                continue


@pytest.mark.slow
def test_a_directory_that_becomes_read_only(small_disk, straight, start):
    process = start(small_disk, "epochs=40", "plain=true", "fault=slow")
    wait_until(lambda: finished_epochs(small_disk) > 1, process)
    # A file system with files open for writing can only be made read-only for those who come by this path.
    subprocess.run(["mount", "--bind", small_disk, small_disk], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", small_disk], check=True)
    try:
        assert finish(process) == 1
        assert "the file system is read-only: make it writable, then the same command continues" in process.output
    finally:
        subprocess.run(["umount", small_disk], check=True)
    assert 1 < finished_epochs(small_disk) < 40
    assert complete(small_disk, epochs=40, plain=True) == straight(epochs=40, plain=True)


@pytest.mark.slow
def test_a_data_worker_that_dies(tmp_path, straight, start):
    process = start(tmp_path / "hurt", "epochs=10", "workers=2", "fault=slow")
    wait_until(lambda: finished_epochs(tmp_path / "hurt") > 0, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    assert finish(process) == 1
    record = read_record(tmp_path / "hurt")
    assert record["status"] == "failed"
    assert "a process that reads images died, often for lack of memory: lower data.workers=2" in record["reason"]
    assert complete(tmp_path / "hurt", epochs=10) == straight(epochs=10)


@pytest.mark.slow
def test_out_of_memory_is_recorded(tmp_path, straight, start):
    process = start(tmp_path / "hungry", "plain=true", "fault=greedy")
    assert finish(process) == 1
    record = read_record(tmp_path / "hungry")
    assert record["status"] == "out_of_memory"
    assert "training needs less with task.gradient_checkpointing=true" in record["reason"]
    assert finished_epochs(tmp_path / "hungry") == 1
    assert complete(tmp_path / "hungry", plain=True) == straight(plain=True)


@pytest.mark.slow
def test_a_second_process_is_refused_and_does_not_disturb_the_first(tmp_path, tiny, start):
    first = start(tmp_path, "epochs=400", "plain=true", "fault=slow")
    wait_until(lambda: finished_epochs(tmp_path) > 0, first)
    before = read_record(tmp_path)
    outcome = execute(make_training_cell(tmp_path, epochs=400, plain=True), show_progress=False)
    assert outcome.status == "running"
    assert f"Another process works on this cell: process {first.pid} on" in outcome.record["reason"]
    assert read_record(tmp_path) == before
    done = finished_epochs(tmp_path)
    wait_until(lambda: finished_epochs(tmp_path) > done, first)
    first.terminate()
    assert finish(first) == PREEMPTED_EXIT_STATUS


class LosesItself(TinyNetwork):
    """Its norm answers NaN from the fifth step on."""

    steps = 0

    def __init__(self):
        super().__init__()

        def spoil(module, inputs, output):
            self.steps += module.training
            return output * (float("nan") if self.steps > 4 else 1.0)

        self.norm.register_forward_hook(spoil)


def test_a_loss_that_becomes_nan(tmp_path, tiny, straight):
    expected = straight(plain=True)
    use(LosesItself)
    outcome = execute(make_training_cell(tmp_path / "lost", plain=True), show_progress=False)
    assert outcome.status == "failed"
    reason = read_record(tmp_path / "lost")["reason"]
    assert "the training loss became nan at step 4 (epoch 2, step 2 of 3)" in reason
    assert "the first tensor that is not finite is the output of norm (BatchNorm2d)" in reason
    assert finished_epochs(tmp_path / "lost") == 1
    use(TinyNetwork)
    assert complete(tmp_path / "lost", plain=True) == expected


class Explodes(TinyNetwork):
    """Its loss stays finite, but the gradient of its convolution does not."""

    def __init__(self):
        super().__init__()
        self.convolution.weight.register_hook(lambda gradient: gradient * float("inf"))


def test_a_gradient_that_becomes_infinite(tmp_path, tiny):
    use(Explodes)
    outcome = execute(make_training_cell(tmp_path, plain=True), show_progress=False)
    assert outcome.status == "failed"
    assert (
        "at step 0 (epoch 1, step 1 of 3): the first tensor that is not finite is the gradient of convolution.weight"
        in (outcome.record["reason"])
    )


def test_a_label_out_of_range(tmp_path, tiny):
    outcome = execute(make_training_cell(tmp_path, plain=True, num_classes=7), show_progress=False)
    assert outcome.status == "failed"
    assert "has label 7, but data.num_classes=7 allows 0 to 6" in outcome.record["reason"]


def test_a_clock_that_goes_backwards(tmp_path, straight, monkeypatch):
    """An hour at each look, for everything that asks for the time of day."""
    expected = straight(plain=True)
    hours = iter(range(10**6, 0, -1))
    monkeypatch.setattr(time, "time", lambda: 3600.0 * next(hours))

    class Backwards(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(time.time(), tz)

    monkeypatch.setattr(analysis.record, "datetime", Backwards)
    assert complete(tmp_path / "backwards", plain=True, minutes=1e-6) == expected
    record = read_record(tmp_path / "backwards")
    assert record["started"] > record["finished"]
    assert record["seconds"] >= 0
    timings = (directory_of(tmp_path / "backwards") / "timings.jsonl").read_text().splitlines()
    assert all(value >= 0 for line in timings for value in json.loads(line).values())


def test_a_damaged_last_checkpoint_gives_way_to_the_one_before(tmp_path, straight, monkeypatch):
    with monkeypatch.context() as once:
        once.setattr(training.run.Run, "finish_epoch", interrupt_after(2, training.run.Run.finish_epoch))
        with pytest.raises(KeyboardInterrupt):
            execute(make_training_cell(tmp_path / "damaged", plain=True), show_progress=False)
    checkpoints = directory_of(tmp_path / "damaged") / "checkpoints"
    newest = max(checkpoints.glob("trainer_step_*"))
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    completed = complete(tmp_path / "damaged", plain=True)
    assert f"{newest} is damaged" in (directory_of(tmp_path / "damaged") / "log").read_text()
    assert completed == straight(plain=True)


def interrupt_after(epoch, finish_epoch):
    def finish_and_stop(run, scores, **keywords):
        row = finish_epoch(run, scores, **keywords)
        if row["epoch"] == epoch:
            raise KeyboardInterrupt
        return row

    return finish_and_stop
