"""The cluster that the other tests rely on: it schedules, accounts, fails as asked, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from .cluster import Cluster, ClusterError
from .configuration import Features
from .conftest import CLUSTERS, running_cluster, stop_abandoned_clusters
from .host_names import HOSTS
from .processes import processes_of


def submit(cluster, script, *options):
    text = cluster.run("sbatch", "--parsable", f"--output={cluster.base}/log/job.txt", *options, "--wrap", script)
    return text.strip()


def state(cluster, job):
    return cluster.run("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T").strip()


def accounted(cluster, job):
    return cluster.run("sacct", "--noheader", "-X", "--parsable2", f"--jobs={job}", "--format=State,ExitCode").strip()


def test_a_job_runs_gets_its_gpus_and_is_accounted(cluster):
    job = submit(cluster, "echo GPUs $CUDA_VISIBLE_DEVICES; exit 3", "--gpus-per-node=2")
    cluster.wait_for("the job's end", lambda: state(cluster, job) == "FAILED", seconds=30)
    cluster.wait_for("accounting", lambda: accounted(cluster, job) == "FAILED|3:0", seconds=30)
    if cluster.hardware.gpus:
        assert (cluster.base / "log" / "job.txt").read_text() == "GPUs 0,1\n"


def test_two_nodes_find_each_other_by_name(cluster):
    if "n0" not in HOSTS.read_text():
        pytest.skip(f"{HOSTS} cannot be written here")
    job = submit(cluster, "getent hosts $(scontrol show hostnames)", "--nodes=2")
    cluster.wait_for("the job's end", lambda: state(cluster, job) == "COMPLETED", seconds=30)


def test_a_node_that_loses_power_takes_its_jobs_along_and_comes_back(cluster):
    job = submit(cluster, "srun sleep 600", "--nodelist=n3")
    cluster.wait_for("the job's step", lambda: any(p.name == "sleep" for p in processes_of(cluster.base)), seconds=30)
    cluster.kill_node("n3")
    assert not [process for process in processes_of(cluster.base) if process.node == "n3"]
    cluster.wait_for("the requeue", lambda: state(cluster, job) == "PENDING", seconds=90)
    assert cluster.node_state("n3") == "DOWN*"
    cluster.start_node("n3")


def test_the_controller_can_be_restarted_under_a_running_job(cluster):
    job = submit(cluster, "sleep 600")
    cluster.wait_for("the job", lambda: state(cluster, job) == "RUNNING", seconds=30)
    cluster.stop_controller()
    with pytest.raises(ClusterError):
        cluster.run("squeue", seconds=5)
    cluster.start_controller()
    assert state(cluster, job) == "RUNNING"


def test_without_accounting_sacct_says_so(cluster_without_accounting):
    with pytest.raises(ClusterError, match="accounting storage is disabled"):
        cluster_without_accounting.run("sacct")


def test_two_clusters_do_not_see_each_other(cluster, cluster_without_accounting):
    job = submit(cluster_without_accounting, "sleep 600")
    assert job in cluster_without_accounting.run("squeue")
    assert not cluster.run("squeue", "--noheader")
    assert cluster.environment["SLURM_CONF"] != cluster_without_accounting.environment["SLURM_CONF"]


def test_stop_leaves_neither_processes_nor_files_nor_names(cluster):
    with running_cluster("short-lived") as other:
        submit(other, "srun sleep 600", "--nodes=2")
        other.wait_for("the steps", lambda: any(p.name == "sleep" for p in processes_of(other.base)), seconds=30)
        assert str(other.base) in HOSTS.read_text() or not os.access(HOSTS, os.W_OK)
    assert not list(processes_of(other.base))
    assert not other.base.exists()
    assert str(other.base) not in HOSTS.read_text()


def test_what_a_killed_session_left_is_taken_down_by_the_next(tmp_path):
    code = textwrap.dedent("""
        import time
        from tests.slurm.conftest import running_cluster
        from tests.slurm.configuration import Features

        with running_cluster("abandoned", features=Features(accounting=False)) as cluster:
            cluster.run("sbatch", "--output=/dev/null", "--wrap", "sleep 600")
            cluster.wait_for("the job", lambda: "R" in cluster.run("squeue", "--noheader", "--format=%t"), seconds=30)
            print(cluster.base, flush=True)
            time.sleep(600)
    """)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as session:
        base = CLUSTERS / session.stdout.readline().strip()
        session.send_signal(signal.SIGKILL)
    names = {process.name for process in processes_of(base)}
    assert {"munged", "slurmctld", "slurmd", "slurmstepd", "sleep"} <= names
    stop_abandoned_clusters()
    assert not list(processes_of(base))
    assert not base.exists()


def test_a_daemon_that_cannot_start_is_named_with_its_log(tmp_path):
    cluster = Cluster(tmp_path / "broken", features=Features(accounting=False, options={"SelectType": "select/none"}))
    with pytest.raises(ClusterError, match=r"the controller[\s\S]*select/none"):
        cluster.start()
    cluster.stop()
