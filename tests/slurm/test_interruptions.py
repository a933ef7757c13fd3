"""Jobs that are preempted, run out of time, are requeued or lose their node: cells continue, to the same numbers."""

import pytest

from .host_names import can_name_hosts


def train_undisturbed(sweep, *overrides):
    """A cell without interruptions, to compare with: its weights and losses. Steps that wait do not change numbers."""
    sweep.submit("mixer.seconds=0.0", *overrides)
    sweep.wait_until_over()
    [cell] = sweep.cells_with(seconds=0.0)
    return sweep.weights(cell), sweep.losses(cell)


def wait_for_epochs(sweep, count, **options):
    """Until the cell with these options has done some epochs, in the middle of which it then is. Its name."""
    sweep.wait("the cell's start", lambda: sweep.cells_with(**options), seconds=60)
    [cell] = sweep.cells_with(**options)
    sweep.wait(f"{count} epochs", lambda: len(sweep.epochs(cell)) >= count, seconds=60)
    return cell


def test_a_job_that_is_requeued_by_hand_continues(sweep):
    epochs = "recipe.epochs=10"
    expected = train_undisturbed(sweep, epochs)
    sweep.submit("mixer.seconds=0.5", epochs)
    cell = wait_for_epochs(sweep, 2, seconds=0.5)
    [job] = sweep.running()
    sweep.cluster.run("scontrol", "requeue", job)
    sweep.wait_until_over()
    sweep.check(completed=2)
    assert sweep.outcomes(cell) == ["preempted", "completed"]
    assert [attempt["restarts"] for attempt in sweep.attempts(cell)] == [0, 1]
    assert (sweep.weights(cell), sweep.losses(cell)) == expected
    sweep.check_jobs(COMPLETED=2)


def test_a_training_that_is_longer_than_a_job_takes_several(sweep):
    epochs = "recipe.epochs=20"
    expected = train_undisturbed(sweep, epochs)
    # Forty seconds of steps in jobs of one minute, which Slurm tells to save up to half a minute too early.
    sweep.submit("mixer.seconds=1.0", epochs, f"platform.hours={1 / 60}", "platform.signal_seconds=5")
    sweep.wait("the cell's start", lambda: sweep.cells_with(seconds=1.0), seconds=60)
    [cell] = sweep.cells_with(seconds=1.0)
    sweep.wait_until_over()
    sweep.check(completed=2)
    *interrupted, last = sweep.outcomes(cell)
    assert set(interrupted) == {"preempted"}
    assert last == "completed"
    assert (sweep.weights(cell), sweep.losses(cell)) == expected
    sweep.check_jobs(COMPLETED=2)


def test_a_job_may_only_be_interrupted_so_often(sweep):
    sweep.submit("mixer.seconds=0.5", "recipe.epochs=200", "platform.max_requeues=0", "platform.partition=low")
    wait_for_epochs(sweep, 1, seconds=0.5)
    [job] = sweep.running()
    sweep.cluster.run("scancel", "--signal=USR2", job)  # what Slurm sends before preemption and the time limit
    sweep.wait_until_over()
    sweep.check(completed=0, preempted=1)
    sweep.check_jobs(FAILED=1)
    assert "max_requeues" in sweep.describe()


def test_two_nodes_train_one_cell_and_are_preempted_in_the_middle(sweep):
    if not can_name_hosts():
        pytest.skip("nodes find each other by name, for which /etc/hosts has to be written")
    together = ("recipe.epochs=10", "platform.nodes=2", "platform.partition=low")
    expected = train_undisturbed(sweep, *together)
    sweep.submit("mixer.seconds=0.5", *together)
    cell = wait_for_epochs(sweep, 2, seconds=0.5)
    # A job of the higher partition wants all nodes, for a second.
    sweep.cluster.run("sbatch", "--partition=high", "--nodes=4", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    sweep.wait_until_over()
    sweep.check(completed=2)
    assert sweep.outcomes(cell) == ["preempted", "completed"]
    assert (sweep.weights(cell), sweep.losses(cell)) == expected
    sweep.check_jobs(COMPLETED=2)


def test_a_node_that_loses_power(sweep):
    epochs = "recipe.epochs=10"
    expected = train_undisturbed(sweep, epochs)
    sweep.submit("mixer.seconds=0.5", epochs)
    cell = wait_for_epochs(sweep, 2, seconds=0.5)
    [node] = [job["node"] for job in sweep.queue()]
    sweep.cluster.kill_node(node)
    # Slurm notices after SlurmdTimeout, and starts the job again elsewhere.
    sweep.wait_until_over()
    sweep.check(completed=2)
    assert sweep.attempts(cell)[-1]["node"] != node
    assert (sweep.weights(cell), sweep.losses(cell)) == expected


def test_a_node_whose_slurmd_is_down_for_a_while(sweep):
    sweep.submit("mixer.seconds=0.5", "recipe.epochs=80")
    cell = wait_for_epochs(sweep, 2, seconds=0.5)
    [node] = [job["node"] for job in sweep.queue()]
    sweep.cluster.stop_node(node)
    # Slurm gives the node up and starts the job elsewhere, while the processes there still run.
    sweep.wait("the second job", lambda: "Another process works on this cell" in sweep.describe(), seconds=150)
    sweep.cluster.start_node(node)  # which ends what should not run there
    sweep.wait_until_over()
    sweep.check(completed=1)
    assert sweep.attempts(cell)[-1]["node"] != node


def test_the_controller_is_restarted_in_the_middle(sweep):
    sweep.submit("mixer.variant=0,1,2,3", "mixer.seconds=0.5", "recipe.epochs=6", "platform.parallel=2")
    sweep.wait("two jobs", lambda: len(sweep.running()) == 2, seconds=60)
    sweep.cluster.stop_controller()
    sweep.cluster.start_controller()
    sweep.wait_until_over()
    sweep.check(completed=4)
    sweep.check_jobs(COMPLETED=4)
