"""A second process is refused while the first lives, on this machine and on another; a dead one is no obstacle."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from launch import lock as module
from launch.lock import CellBusyError, CellLock, owner_of

REPOSITORY = Path(__file__).parents[2]
HOLD = """
import os, sys, time
from pathlib import Path
if sys.argv[2] == "late fork":
    os.register_at_fork(after_in_child=lambda: time.sleep(1))  # before the lock's own: the child is slow to let go
from launch.lock import CellLock
with CellLock(Path(sys.argv[1]), beat_seconds=0.05) as lock:
    lock.progress = {"epoch": 3}
    if "fork" in sys.argv[2] and os.fork() == 0:
        time.sleep(2)  # a data worker that outlives its parent
        os._exit(0)
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of tmp_path."""
    processes = []

    def start(mode="alone"):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), mode], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def lock(directory, **changes):
    return CellLock(directory, **({"beat_seconds": 0.1, "patience_seconds": 0.5} | changes))


def leave_a_lock_from_elsewhere(directory, **changes):
    """The lock of a process on another machine, which nothing but its beats tells anything about."""
    with lock(directory):
        owner = owner_of(directory)
    elsewhere = replace(owner, **({"host": "node7", "boot": "another"} | changes))
    (directory / "lock").write_text(json.dumps(asdict(elsewhere)))
    return elsewhere


def test_it_is_there_while_held_and_tells_who_and_how_far(tmp_path):
    with lock(tmp_path) as held:
        owner = owner_of(tmp_path)
        assert owner.process == os.getpid()
        held.progress = {"epoch": 2, "step": 17}
        deadline = time.monotonic() + 10
        while owner_of(tmp_path).progress != held.progress:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert owner_of(tmp_path).started == owner.started
    assert owner_of(tmp_path) is None
    assert os.listdir(tmp_path) == []
    with lock(tmp_path):
        pass


def test_a_second_process_is_refused_and_told_by_whom(tmp_path, holder):
    process = holder()
    with pytest.raises(CellBusyError, match=f"process {process.pid} on "), lock(tmp_path):
        pass
    assert owner_of(tmp_path).process == process.pid


@pytest.mark.parametrize("mode", ["alone", "fork", "late fork"])
def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path, holder, mode, caplog):
    process = holder(mode)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / "lock").exists()
    start = time.monotonic()
    with lock(tmp_path, patience_seconds=60):
        assert owner_of(tmp_path).process == os.getpid()
    assert time.monotonic() - start < 30
    assert "its owner is gone" in caplog.text


def test_without_kernel_locks_the_process_table_decides(tmp_path, holder, monkeypatch):
    def unsupported(descriptor, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(module.fcntl, "flock", unsupported)
    process = holder()
    with pytest.raises(CellBusyError), lock(tmp_path):
        pass
    process.kill()
    process.wait()
    with lock(tmp_path, patience_seconds=60):
        pass


def test_another_machine_that_beats_is_alive_whatever_its_clock_says(tmp_path):
    elsewhere = leave_a_lock_from_elsewhere(tmp_path, beat="1999-12-31T23:59:59+00:00")
    ended = threading.Event()

    def beat():
        while not ended.wait(0.1):
            backwards = replace(elsewhere, beat=f"1999-01-01T00:00:{time.time() % 60:09.6f}+00:00")
            (tmp_path / "lock").write_text(json.dumps(asdict(backwards)))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(CellBusyError, match="on node7"), lock(tmp_path, patience_seconds=5):
            pass
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("content", ["whole", "damaged"])
def test_another_machine_that_stopped_beating_gives_way(tmp_path, content):
    leave_a_lock_from_elsewhere(tmp_path, beat="2999-12-31T23:59:59+00:00")
    if content == "damaged":
        (tmp_path / "lock").write_text('{"host": "no')
    start = time.monotonic()
    with lock(tmp_path):
        assert owner_of(tmp_path).process == os.getpid()
    assert time.monotonic() - start >= 0.5


def test_who_was_taken_over_finds_out_and_leaves_the_new_owner_alone(tmp_path):
    with lock(tmp_path) as held:
        (tmp_path / "lock").unlink()
        taker = leave_a_lock_elsewhere_by_hand(tmp_path)
        deadline = time.monotonic() + 10
        while not held.lost:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert owner_of(tmp_path) == taker


def leave_a_lock_elsewhere_by_hand(directory):
    other = directory / "other"
    other.mkdir()
    taker = leave_a_lock_from_elsewhere(other)
    os.replace(other / "lock", directory / "lock")
    return taker


def test_many_at_once_and_one_gets_it(tmp_path):
    """Eight processes, started together: one holds, seven are refused."""
    code = (
        "import sys, time; from pathlib import Path; from launch.lock import *\n"
        "try:\n"
        "    with CellLock(Path(sys.argv[1])): print('held', flush=True); time.sleep(4)\n"
        "except CellBusyError: print('refused', flush=True)\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    answers = sorted(process.communicate(timeout=120)[0].strip() for process in processes)
    assert answers == ["held"] + ["refused"] * 7
