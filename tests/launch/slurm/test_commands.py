"""What Slurm's commands print, as this reads it."""

import time

import pytest

from launch.slurm.commands import (
    SlurmError,
    call,
    clean_environment,
    parse_accounting,
    parse_queue,
    queue,
    slurm_time,
)


def test_the_queue():
    jobs = parse_queue(
        "17|0|trial-1|RUNNING|None|n0|23:59:10\n"
        "17|3|trial-1|PENDING|BeginTime||1-00:00:00\n"
        "18|N/A|other|COMPLETING|None|n[1-2]|0:00\n"
    )
    assert jobs[17, 0].state == "RUNNING"
    assert jobs[17, 0].node == "n0"
    assert jobs[17, 3].reason == "BeginTime"
    assert jobs[18, 0].node == "n[1-2]"


def test_within_a_job_its_own_variables_are_not_handed_on(monkeypatch):
    given = {"SLURM_MEM_PER_NODE": "1", "SBATCH_PARTITION": "gpu", "SLURM_CONF": "/etc/slurm.conf"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert set(clean_environment()) & {*given, "CUDA_VISIBLE_DEVICES"} == {"SLURM_CONF", "CUDA_VISIBLE_DEVICES"}
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert set(clean_environment()) & {*given, "CUDA_VISIBLE_DEVICES"} == {"SLURM_CONF"}


def test_the_accounts():
    jobs = parse_accounting(
        "17_0|trial-1|COMPLETED|0:0|n0\n"
        "17_1|trial-1|CANCELLED by 1000|0:15|None assigned\n"
        "17_2|trial-1|NODE_FAIL|1:0|n3\n"
        "17_[3-9%2]|trial-1|PENDING|0:0|None assigned\n"
        "18|other|FAILED|1:0|n1\n"
    )
    assert jobs[17, 1].state == "CANCELLED"
    assert jobs[17, 1].node == ""
    assert jobs[17, 2].state == "NODE_FAIL"
    assert (17, 3) not in jobs
    assert jobs[18, 0].exit_code == "1:0"


def test_a_command_that_fails_says_what_slurm_said(slurm):
    slurm.fail("squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")
    with pytest.raises(SlurmError, match="Unable to contact slurm controller"):
        queue(["trial-1"])


def test_no_slurm_on_this_machine(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SlurmError, match="squeue is not on this machine"):
        call("squeue")


def test_slurms_commands_take_local_time_without_a_zone(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    assert slurm_time("2026-07-01T22:30:15.123456+00:00") == "2026-07-02T00:30:15"
    monkeypatch.undo()
    time.tzset()


def test_a_job_does_not_hand_its_own_options_on(slurm, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "8")
    monkeypatch.setenv("SBATCH_PARTITION", "low")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    (slurm.folder / "bin" / "sacct").write_text("#!/bin/sh\nenv\n")
    environment = call("sacct").splitlines()
    assert "SLURM_CONF=/etc/slurm.conf" in environment
    assert not [line for line in environment if line.startswith(("SLURM_NTASKS", "SBATCH_"))]
