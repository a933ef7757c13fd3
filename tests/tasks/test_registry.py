"""Tasks say everything about themselves, and a file of somebody else's can add one."""

import subprocess
import sys
from dataclasses import asdict, dataclass, fields

import pytest

from tasks import TASKS, AnalysisTask, MixerTask, OverviewTask, Task, load_task_module, register_task, tasks_of
from tests.launch.cells import make_cell
from tests.test_layout import ROOT


def test_every_task_is_of_one_kind_and_settings_start_with_its_name():
    for name, task in TASKS.items():
        assert sum(isinstance(task, kind) for kind in (Task, MixerTask, OverviewTask)) == 1
        assert fields(task.settings)[0].default == name
        assert type(task).__doc__, name


def test_metrics_are_named_once_and_say_what_they_are():
    known = {}
    for task in tasks_of(Task).values():
        names = [metric.name for metric in task.metrics]
        assert len(set(names)) == len(names)
        for metric in task.metrics:
            assert known.setdefault(metric.name, metric) == metric, "two tasks mean different things by one name"


def test_the_files_that_decide_a_result_are_there():
    for name, task in tasks_of(Task).items():
        assert (ROOT / "tasks" / f"{name}.py").is_file()
        for place in task.code:
            assert (ROOT / place).exists(), f"{name}: {place}"


def test_analyses_have_a_section_and_are_known_by_their_settings():
    for name, task in tasks_of(AnalysisTask).items():
        assert task.title
        assert task.says
        config = make_cell().config | {"task": asdict(task.settings()), "weights": "somewhere"}
        assert task.defining(config)["task"]["name"] == name


def test_looking_at_tasks_costs_no_torch():
    program = "import sys, tasks; sys.exit(any(name in sys.modules for name in ('torch', 'pandas', 'scipy', 'hydra')))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


@dataclass
class OtherSettings:
    name: str = "other"


def test_a_name_that_exists_or_is_not_its_settings_is_refused():
    class Other(OverviewTask):
        settings = OtherSettings

        def run(self, output, sweep, settings):
            return 0

    with pytest.raises(ValueError, match=r"task 'train' exists already: tasks\.train"):
        register_task("train")(Other)
    with pytest.raises(ValueError, match="the first field of its settings must be `name: str = 'another'`"):
        register_task("another")(Other)
    assert "another" not in TASKS


def test_a_file_that_fails_leaves_nothing_and_can_be_mended(tmp_path):
    file = tmp_path / "mine.py"
    with pytest.raises(FileNotFoundError, match=r"task module .*mine\.py does not exist"):
        load_task_module(file)
    file.write_text("answer = 42\n")
    with pytest.raises(ValueError, match=r"mine\.py registers no task: decorate its class"):
        load_task_module(file)
    file.write_text(
        "from tests.tasks.test_registry import OtherSettings\n"
        "import beside_mine\n"
        "from tasks import OverviewTask, register_task\n"
        "@register_task('other')\n"
        "class Other(OverviewTask):\n"
        "    settings = OtherSettings\n"
        "    def run(self, output, sweep, settings):\n"
        "        return 0\n"
    )
    (tmp_path / "beside_mine.py").write_text("answer = 42\n")
    try:
        load_task_module(file)
        load_task_module(file)  # is not run twice
        assert TASKS["other"].run(tmp_path, None, OtherSettings()) == 0
    finally:
        TASKS.pop("other", None)
