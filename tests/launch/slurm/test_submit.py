"""Each cell gets one job, whoever is refused, killed or at it at the same time."""

import json
import multiprocessing
import re
from dataclasses import replace

import pytest

from analysis.record import write_record
from launch import attempts
from launch.execute import opening_record
from launch.slurm.cells import resubmit, submit_cells
from launch.slurm.commands import SlurmError
from launch.slurm.settle import settle
from launch.slurm.submit import SubmissionRefusedError, submit_backlog
from launch.submission import Sweep
from mixers import module_digest
from tests.launch.cells import make_cell


@pytest.fixture
def cells(tmp_path, platform):
    return lambda count, **changes: [
        make_cell(tmp_path, platform=platform(**changes), seed=seed) for seed in range(count)
    ]


@pytest.fixture
def sweep(tmp_path):
    return Sweep(tmp_path / "trial")


def complete(cell, status="completed"):
    write_record(
        cell.record_path, opening_record(cell) | {"status": status, "reason": None if status == "completed" else "no"}
    )


def names(cells):
    return [cell.directory.name for cell in cells]


def submitted(sweep):
    """Every cell that Slurm has got, as often as it has."""
    return [cell for one in sweep.submissions() if one.job_id is not None for cells in one.jobs for cell in cells]


def resume(sweep, settings, cells, **options):
    values = dict.fromkeys(names(cells), settings)
    return resubmit(sweep, values, **{"insist": False, "new_code": False} | options)


def test_cells_that_are_completed_or_in_jobs_are_not_submitted(slurm, sweep, cells, settings):
    every = cells(5)
    complete(every[0])
    first = submit_cells(sweep, every[:3], settings(), rerun=False)
    assert (first.cells, first.completed, first.live) == (2, 1, 0)
    second = submit_cells(sweep, every, settings(), rerun=False)
    assert (second.cells, second.completed, second.live) == (2, 1, 2)
    assert sorted(submitted(sweep)) == sorted(names(every[1:]))
    assert submit_cells(sweep, every, settings(), rerun=False).cells == 0


def test_completed_cells_run_again_when_asked_for(slurm, sweep, cells, settings):
    every = cells(2)
    complete(every[0])
    assert submit_cells(sweep, every, settings(), rerun=True).cells == 2
    assert sweep.submissions()[0].rerun


def test_failed_cells_are_resumed_and_completed_ones_are_not(slurm, sweep, cells, settings):
    every = cells(3)
    submit_cells(sweep, every, settings(), rerun=False)
    slurm.answer("squeue", "")
    complete(every[0])
    complete(every[1], "failed")
    done = resume(sweep, settings(), every)
    assert (done.cells, done.completed) == (2, 1)
    assert sweep.submissions()[-1].jobs == [[name] for name in names(every[1:])]


def test_a_job_runs_the_code_and_the_configuration_of_its_submission(slurm, sweep, cells, settings, tmp_path):
    module = tmp_path / "mine.py"
    module.write_text("first = 1\n")
    mine = {"mixer_module": str(module), "contents": {"mixer_module": module_digest(module), "drop_path_rate": 0.0}}
    [cell] = [type(one)(one.config | mine) for one in cells(1)]
    submit_cells(sweep, [cell], settings(), rerun=False)
    module.write_text("second = 2\n")
    [submission] = sweep.submissions()
    assert f"export PYTHONPATH={submission.code}$" in slurm.scripts()[0]
    frozen = sweep.cell(cell.directory.name)
    assert (tmp_path / frozen.config["mixer_module"]).read_text() == "first = 1\n"
    assert frozen.id == cell.id
    # Continued from the same code, unless somebody asks for the new.
    slurm.answer("squeue", "")
    resume(sweep, settings(), [cell])
    assert sweep.submissions()[-1].code == submission.code


def test_sbatch_refuses_in_the_middle_and_a_resume_submits_the_rest(slurm, sweep, cells, settings):
    slurm.answer("scontrol", "MaxArraySize = 2\n")
    slurm.take(2)
    every = cells(8)
    with pytest.raises(SubmissionRefusedError, match=r"QOSMaxSubmitJobPerUserLimit\n2 of 4 arrays"):
        submit_cells(sweep, every, settings(), rerun=False)
    assert submitted(sweep) == names(every[:4])
    slurm.take(100)
    assert resume(sweep, settings(), every).cells == 4
    assert sorted(submitted(sweep)) == sorted(names(every))
    assert not list((sweep.launch_folder / "backlog").glob("*.json"))


def test_sbatch_refuses_everything(slurm, sweep, cells, settings):
    slurm.fail("sbatch", "sbatch: error: invalid partition specified: gpu\n")
    with pytest.raises(SubmissionRefusedError, match="invalid partition specified: gpu"):
        submit_cells(sweep, cells(2), settings(partition="gpu"), rerun=False)
    slurm.work("sbatch")
    assert resume(sweep, settings(), cells(2)).cells == 2
    assert sorted(submitted(sweep)) == sorted(names(cells(2)))


@pytest.mark.parametrize("command", ["squeue", "scontrol"])
def test_nothing_is_submitted_while_slurm_does_not_answer(slurm, sweep, cells, settings, command):
    submit_cells(sweep, cells(1), settings(), rerun=False)
    slurm.fail(command, "Unable to contact slurm controller\n")
    with pytest.raises(SlurmError, match="Unable to contact"):
        submit_cells(sweep, cells(3), settings(), rerun=False)
    assert len(slurm.scripts()) == 1


def test_a_driver_killed_before_it_wrote_the_job_id_down(slurm, sweep, cells, settings):
    """Slurm has the array, under a name that no other has."""
    every = cells(3)
    submit_cells(sweep, every, settings(), rerun=False)
    [submission] = sweep.submissions()
    replace(submission, job_id=None).write(sweep.submission_folder(submission.name))
    assert resume(sweep, settings(), every).live == 3
    assert sweep.submissions()[0].job_id == 1
    assert len(slurm.scripts()) == 1


def test_a_driver_killed_before_sbatch(slurm, sweep, cells, settings):
    every = cells(3)
    submit_cells(sweep, every, settings(), rerun=False)
    [submission] = sweep.submissions()
    replace(submission, job_id=None).write(sweep.submission_folder(submission.name))
    slurm.answer("squeue", "")
    assert resume(sweep, settings(), every).cells == 3
    assert [one.job_id for one in sweep.submissions()] == [2]


def _resume(sweep, settings, cells, barrier):
    barrier.wait()
    resume(sweep, settings, cells)


def test_two_people_resume_at_once(slurm, sweep, cells, settings):
    every = cells(20)
    for cell in every:
        cell.write_config()
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    people = [context.Process(target=_resume, args=(sweep, settings(), every, barrier)) for _ in range(3)]
    for person in people:
        person.start()
    for person in people:
        person.join(60)
    assert [person.exitcode for person in people] == [0, 0, 0]
    assert sorted(submitted(sweep)) == sorted(names(every))


def test_what_has_no_room_in_the_queue_is_submitted_by_the_jobs(slurm, sweep, cells, settings):
    slurm.answer("sacctmgr", "lab|4||normal|\n")
    every = cells(10)
    done = submit_cells(sweep, every, settings(), rerun=False)
    assert (done.cells, done.waiting) == (3, 7)
    slurm.answer("squeue", "1|2|x|RUNNING|None|n0|1:00\n".replace("x", sweep.submissions()[0].name))
    for cell in every[:2]:
        complete(cell)
    with sweep.lock():
        submissions, left = submit_backlog(sweep, settle(sweep))
    assert (sum(len(one.jobs) for one in submissions), left) == (3, 4)
    assert sorted(submitted(sweep)) == sorted(names(every[:6]))


def test_later_arrays_wait_where_the_running_ones_use_up_what_may_run(slurm, sweep, cells, settings):
    every = cells(6)
    submit_cells(sweep, every[:4], settings(parallel=2), rerun=False)
    submit_cells(sweep, every, settings(parallel=2), rerun=False)
    assert "--array=0-3%2" in slurm.scripts()[0]
    assert "--dependency=afterany:1" in slurm.scripts()[1]
    submit_cells(sweep, cells(9), settings(parallel=9), rerun=False)
    assert "--dependency" not in slurm.scripts()[2]


@pytest.mark.parametrize(("state", "ends"), [("NODE_FAIL", "died"), ("CANCELLED by 0", "preempted")])
def test_a_job_that_vanished_is_judged_by_the_accounts(slurm, sweep, cells, settings, state, ends):
    [cell] = cells(1)
    submit_cells(sweep, [cell], settings(), rerun=False)
    [submission] = sweep.submissions()
    complete(cell, "running")
    attempts.begin(cell.directory, f"{submission.name}/0", {"job": "1_0", "restarts": 0, "node": "n3"})
    slurm.answer("squeue", "")
    slurm.answer("sacct", f"1_0|{submission.name}|{state}|1:0|n3\n")
    resume(sweep, settings(), [cell])
    [attempt] = attempts.read_attempts(cell.directory)
    assert attempt.status == ends
    assert len(slurm.scripts()) == 2


def test_a_cell_that_dies_again_and_again_is_given_up_and_avoids_its_node(slurm, sweep, cells, settings):
    one, other = cells(2)
    for cell in (one, other):
        cell.write_config()
        complete(cell, "running")
    place = {"job": "1_0", "restarts": 0, "node": "n3"}
    for _ in range(2):
        attempts.begin(one.directory, "x/0", place)
        attempts.end(one.directory, attempts.DIED, "killed on n3")
    resume(sweep, settings(retries=2), [one, other])
    assert [re.search("--exclude=(.*)", script) is not None for script in slurm.scripts()] == [True, False]
    assert "--exclude=n3" in slurm.scripts()[0]
    slurm.answer("squeue", "")
    attempts.begin(one.directory, "x/1", place | {"node": "n1"})
    attempts.end(one.directory, attempts.DIED, "killed on n1")
    done = resume(sweep, settings(retries=2), [one, other])
    assert list(done.given_up) == [one.directory.name]
    assert done.cells == 1
    slurm.answer("squeue", "")
    assert resume(sweep, settings(retries=2), [one], insist=True).cells == 1


def test_the_submission_says_what_each_job_of_the_array_runs(slurm, sweep, cells, settings):
    every = cells(5)
    submit_cells(sweep, every, settings(cells_per_job=2), rerun=False)
    [path] = sweep.launch_folder.glob("submissions/*/submission.json")
    assert json.loads(path.read_text())["jobs"] == [names(every[0:2]), names(every[2:4]), names(every[4:])]
    assert "--array=0-2" in slurm.scripts()[0]
