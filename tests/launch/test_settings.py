"""Values of `platform` that cannot work are refused with the key and what it may be."""

import pytest
import yaml

from launch.settings import Packing, platform_settings
from tests.test_layout import ROOT


def values(name, **changes):
    text = (ROOT / "conf" / "platform" / f"{name}.yaml").read_text()
    return {key: value for key, value in yaml.safe_load(text).items() if key != "defaults"} | changes


@pytest.mark.parametrize("name", ["here", "local", "slurm"])
def test_the_values_of_conf_are_complete(name):
    assert platform_settings(values(name)).name == name


def test_one_task_a_gpu():
    settings = platform_settings(values("slurm", nodes=3, gpus_per_node=8, packing="sequence"))
    assert (settings.tasks_on_each_node, settings.tasks) == (8, 24)
    assert settings.packing is Packing.sequence
    assert platform_settings(values("slurm")).tasks == 1


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("slurm", {"hours": 0}, "platform.hours=0"),
        ("slurm", {"hours": 0.01}, "platform.signal_seconds=120: must be less than the time limit, 36 s"),
        ("slurm", {"nodes": 0}, "platform.nodes=0: must be at least 1"),
        ("slurm", {"parallel": 0}, "platform.parallel=0"),
        ("slurm", {"retries": -1}, "platform.retries=-1"),
        ("slurm", {"packing": "both"}, "sequence, gpus"),
        ("slurm", {"packing": "gpus"}, "needs gpus_per_node"),
        ("slurm", {"houres": 3}, "no key houres; its keys are account"),
        ("slurm", {"hours": float("inf")}, "platform.hours=inf: must be a finite number"),
        ("slurm", {"hours": "long"}, "platform.hours=long: must be a finite number"),
        ("slurm", {"nodes": True}, "platform.nodes=True: must be a whole number"),
        ("slurm", {"nodes": None}, "platform.nodes=None: must be a whole number"),
        ("slurm", {"setup": "module load"}, "platform.setup=module load: must be a list of texts"),
        ("local", {"processes": 0}, "platform.processes=0"),
        ("local", {"processes": 100_000}, "platform.processes=100000: must be at most 1024"),
        ("local", {"retrys": 1}, "did you mean retries?"),
        ("kubernetes", {}, "here, local, slurm"),
    ],
)
def test_what_cannot_work_is_refused(name, changes, words):
    with pytest.raises(ValueError, match=words):
        platform_settings(values(name, **changes) if name != "kubernetes" else {"name": name})
