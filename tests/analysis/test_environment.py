import json
import subprocess
import sys
from types import SimpleNamespace

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
        ("_cpu_frequency", "3500000", True),
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


@pytest.mark.parametrize(
    ("answer", "status", "limits"),
    [
        ("1980, 700.00\n", 0, {"gpu_max_mhz": 1980.0, "gpu_power_limit_w": 700.0}),
        ("1980, [N/A]\n", 0, {"gpu_max_mhz": 1980.0, "gpu_power_limit_w": None}),
        ("No devices were found\n", 6, {}),
    ],
)
def test_the_limits_of_a_gpu_are_those_that_nvidias_tool_tells(
    answer: str, status: int, limits: dict, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{answer}'\nexit {status}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))
    assert module._gpu_limits("cuda") == limits
