"""The copy of the code: complete, the same for the same code, and it says where it is from."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import analysis.environment
import launch.snapshot
from analysis.environment import commit
from launch.snapshot import freeze_module, take_snapshot
from launch.submission import LaunchError
from mixers import module_digest
from tests.test_layout import ROOT


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A small repository with the folders that a snapshot takes."""
    folder = tmp_path / "checkout"
    for package in launch.snapshot.PACKAGES:
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text(f"{package} = 1\n")
    for module in (launch.snapshot, analysis.environment):
        monkeypatch.setattr(module, "REPOSITORY", folder)
    return folder


def test_an_edited_mixer_file_is_not_frozen_under_its_old_name(tmp_path):
    module = tmp_path / "mine.py"
    module.write_text("first = 1\n")
    config = {"mixer_module": str(module), "contents": {"mixer_module": module_digest(module)}}
    module.write_text("second = 2\n")
    with pytest.raises(LaunchError, match=r"mine\.py was edited"):
        freeze_module(config, "mixer_module", tmp_path / "frozen")
    assert list((tmp_path / "frozen").iterdir()) == []
    module.write_text("first = 1\n")
    frozen = freeze_module(config, "mixer_module", tmp_path / "frozen")
    module.write_text("second = 2\n")
    assert Path(frozen["mixer_module"]).read_text() == "first = 1\n"
    for again in (config, frozen):
        assert freeze_module(again, "mixer_module", tmp_path / "frozen") == frozen


def git(folder, *arguments):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_the_same_code_is_copied_once(checkout, tmp_path):
    first = take_snapshot(tmp_path / "code")
    assert take_snapshot(tmp_path / "code") == first
    (checkout / "mixers" / "__init__.py").write_text("mixers = 2\n")
    second = take_snapshot(tmp_path / "code")
    assert second != first
    assert (first / "mixers" / "__init__.py").read_text() == "mixers = 1\n"
    assert sorted(path.name for path in (tmp_path / "code").iterdir()) == sorted([first.name, second.name])


def test_it_says_which_commit_it_is_from_and_how_it_differs(checkout, tmp_path, monkeypatch):
    git(checkout, "init", "-q")
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "all")
    head, dirty = commit()
    assert not dirty
    clean = take_snapshot(tmp_path / "code")
    assert json.loads((clean / "snapshot.json").read_text())["commit"] == head
    assert not (clean / "changes.diff").exists()
    (checkout / "launch" / "__init__.py").write_text("launch = 2\n")
    (checkout / "training" / "new.py").write_text("new = 1\n")
    changed = take_snapshot(tmp_path / "code")
    text = (changed / "changes.diff").read_text()
    assert "+launch = 2" in text
    assert "# not tracked: training/new.py" in text
    # What runs from the copy records that commit.
    monkeypatch.setattr(analysis.environment, "REPOSITORY", changed)
    assert commit() == (head, True)


def test_an_installed_package_has_no_commit(checkout, tmp_path):
    place = take_snapshot(tmp_path / "code")
    assert json.loads((place / "snapshot.json").read_text()) == {"source": str(checkout), "commit": None, "dirty": None}


def test_a_checkout_of_somebody_else_has_no_commit(checkout, tmp_path, caplog):
    (checkout / ".git").mkdir()  # git fails, as it does for another owner's repository
    assert commit() == (None, None)
    assert "the commit is not recorded" in caplog.text


def test_a_process_runs_from_the_copy_wherever_it_is(tmp_path):
    """As jobs do: the checkout is the working directory, and it is also installed."""
    place = take_snapshot(tmp_path / "code")
    code = "import launch.worker, mixers, analysis; print(launch.__file__, mixers.__file__, analysis.__file__)"
    environment = os.environ | {"PYTHONPATH": f"{place}{os.pathsep}{ROOT}", "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert all(Path(file).is_relative_to(place) for file in done.stdout.split())


def test_a_full_disk_leaves_no_half_of_a_copy(checkout, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(launch.snapshot.shutil, "copytree", fail)
    with pytest.raises(OSError, match="No space left"):
        take_snapshot(tmp_path / "code")
    assert list((tmp_path / "code").iterdir()) == []
