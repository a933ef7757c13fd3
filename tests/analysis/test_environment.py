import json
import subprocess
import sys

import pytest
import torch

from analysis import environment as module
from analysis.environment import DECIDES_SPEED, REPOSITORY, environment


def test_an_environment_is_plain_values_that_name_versions_device_and_code() -> None:
    found = environment("cpu")
    assert json.loads(json.dumps(found)) == found
    assert found["torch"] == torch.__version__
    assert found["device"] == "cpu"
    assert found["threads"] == torch.get_num_threads()
    assert found["cpu"]
    assert (found["cuda"], found["cudnn"], found["driver"], found["tf32"]) == (None,) * 4
    assert set(DECIDES_SPEED) < set(found)


def test_auto_is_the_cpu_where_there_is_no_gpu() -> None:
    if not torch.cuda.is_available():
        assert environment("auto") == environment("cpu")


def test_the_commit_is_this_repositorys() -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a clone")
    git = ["git", "-C", str(REPOSITORY)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert environment("cpu")["commit"] == head
    assert type(environment("cpu")["dirty"]) is bool


def test_a_copy_without_git_has_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    found = environment("cpu")
    assert (found["commit"], found["dirty"]) == (None, None)


@pytest.mark.parametrize(
    ("attribute", "value", "changes"),
    [
        ("_cpu", "another processor", True),
        ("commit", ("0" * 40, True), False),
        ("_version", "9.9.9", True),
        ("_driver", "1.2", False),
    ],
)
def test_the_fingerprint_is_of_what_decides_speed(
    attribute: str, value: object, changes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = environment("cpu")["fingerprint"]
    assert environment("cpu")["fingerprint"] == before
    monkeypatch.setattr(module, attribute, lambda *arguments: value)
    assert (environment("cpu")["fingerprint"] != before) is changes


def test_the_number_of_threads_decides_speed() -> None:
    before, threads = environment("cpu")["fingerprint"], torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert environment("cpu")["fingerprint"] != before
    finally:
        torch.set_num_threads(threads)


def test_settings_display_and_this_module_need_no_torch() -> None:
    code = "import sys, analysis.settings, analysis.display, analysis.environment; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
