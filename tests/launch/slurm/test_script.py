"""What sbatch gets."""

import re
import sys

import pytest

from launch.slurm.script import ArrayScript


@pytest.fixture
def options(settings, tmp_path):
    """The `#SBATCH` options of a script with these settings."""

    def read(jobs=3, throttle=None, dependency=None, **changes):
        script = ArrayScript(
            tmp_path, "trial-1", jobs, settings(**changes), "/code", "/work", throttle=throttle, dependency=dependency
        )
        read.text = script.text
        return {
            match[1]: match[2] or True for match in re.finditer(r"^#SBATCH --([a-z-]+)(?:=(.*))?$", script.text, re.M)
        }

    return read


def test_a_job_on_several_nodes_has_one_task_a_gpu(options):
    found = options(
        partition="gpu", account="vision", nodes=2, gpus_per_node=8, cpus_per_task=10, memory_gib=300.5, hours=1.5
    )
    assert found["nodes"] == "2"
    assert found["ntasks-per-node"] == "8"
    assert found["gpus-per-node"] == "8"
    assert found["cpus-per-task"] == "10"
    assert found["mem"] == "307712M"
    assert found["time"] == "90"
    assert found["partition"] == "gpu"
    assert found["account"] == "vision"
    assert found["signal"] == "USR2@120"
    assert found["requeue"] is True
    assert found["job-name"] == "trial-1"


def test_what_is_not_set_is_left_to_the_cluster(options):
    absent = {"partition", "account", "qos", "mem", "cpus-per-task", "gpus-per-node", "exclude", "constraint", "wckey"}
    assert not absent & set(options())


def test_a_folder_with_a_sign_that_slurm_replaces(settings, tmp_path):
    script = ArrayScript(tmp_path / "50%a", "trial-1", 3, settings(), "/code", "/work")
    assert f"#SBATCH --output={tmp_path}/50%%a/%a.log" in script.text


def test_arrays_throttles_and_dependencies(options):
    assert options(jobs=1)["array"] == "0-0"
    assert options(jobs=5)["array"] == "0-4"
    assert options(jobs=5, throttle=2)["array"] == "0-4%2"
    assert options(jobs=2, throttle=2)["array"] == "0-1"
    assert options(dependency="afterany:17")["dependency"] == "afterany:17"


def test_further_options_and_lines_of_shell(options):
    found = options(sbatch={"reservation": "deadline", "exclusive": True, "reboot": False}, setup=["module load cuda"])
    assert found["reservation"] == "deadline"
    assert found["exclusive"] is True
    assert "reboot" not in found
    lines = options.text.splitlines()
    assert "module load cuda" in lines
    # The code of the submission comes before whatever a module puts on the path.
    assert lines.index("module load cuda") < lines.index("export PYTHONPATH=/code${PYTHONPATH:+:$PYTHONPATH}")
    assert lines[-1].startswith(f"exec {sys.executable} -P -m launch.slurm.batch ")
