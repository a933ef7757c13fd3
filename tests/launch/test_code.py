"""The digest of code: a change is in the part that it concerns, and only there."""

import shutil
import subprocess
import sys

import pytest

import launch.code
from launch.code import code_of, other_code
from tests.test_layout import ROOT

from .cells import make_cell


@pytest.fixture
def repository(tmp_path, monkeypatch):
    for package in ("mixers", "architectures", "training", "analysis", "launch", "tasks"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(launch.code, "REPOSITORY", tmp_path)
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    for cached in ("_code", "_mixer_files", "_sources", "_digest_of_file"):
        getattr(launch.code, cached).cache_clear()


CELL = make_cell().config  # halo, task=train


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("mixers/halo_attention.py", ["mixer"]),
        ("mixers/shifted_window_attention.py", []),
        ("mixers/a_new_one.py", []),
        ("mixers/contract.py", ["mixers"]),
        ("mixers/kernels/local_attention/local_attention.cpp", ["mixers"]),
        ("architectures/block.py", ["architectures"]),
        ("training/optimizer.py", ["task"]),
        ("tasks/train.py", ["task"]),
        ("tasks/evaluate.py", []),
        ("analysis/speed/measurement.py", []),
        ("analysis/table/columns.py", []),
    ],
)
def test_an_edit_changes_its_part(repository, file, changed):
    before = code_of(CELL)
    path = repository / file
    text = path.read_text() if path.exists() else '@register("a_new_one")\nclass New: pass\n'
    path.write_text(f"{text}\n")
    forget()
    now = code_of(CELL)
    assert [part for part in before if before[part] != now[part]] == changed


def test_another_mixers_file_that_a_mixer_imports_from_is_its_code_too(repository):
    file = repository / "mixers" / "halo_attention.py"
    file.write_text(f"{file.read_text()}\nfrom .identity import Identity\n")
    forget()
    before = code_of(CELL)["mixer"]["halo"]
    other = repository / "mixers" / "identity.py"
    other.write_text(f"{other.read_text()}\n")
    forget()
    assert code_of(CELL)["mixer"]["halo"] != before


def test_what_is_another_is_said():
    now = code_of(CELL)
    assert other_code({"config": CELL, "code": now}) == ""
    assert other_code({"config": CELL}) == "code that was not recorded"
    told = other_code({"config": CELL, "code": dict(now) | {"task": "0123456789ab", "mixer": {"halo": "ba9876543210"}}})
    assert f"task 0123456789ab is now {now['task']}" in told
    assert f"mixer halo ba9876543210 is now {now['mixer']['halo']}" in told


def test_looking_after_a_sweep_imports_no_torch():
    program = f"import sys; from launch.code import code_of; code_of({CELL!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
