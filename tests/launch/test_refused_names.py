"""Names and folders that are given: what cannot be is refused in a sentence, and nothing is written outside."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch import LaunchError, dispatch
from launch.nearest import did_you_mean, nearest
from launch.sweep_name import check_sweep_name
from launch.terminal import accept_any_encoding

from .cells import make_cell

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["default", "digits", "2026-11-21_a.b+c", "_hidden_no", "a" * 100])
def test_ordinary_names_of_sweeps(name):
    check_sweep_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../evil", "/tmp/evil", "a/b", ".launch", "-m", "a%j", "a b", "ä", "a\n"]
)
def test_names_that_lead_elsewhere(name):
    with pytest.raises(ValueError, match="must be 1 to 100 letters"):
        check_sweep_name(name)


def test_commands_about_a_sweep_refuse_them_and_name_the_nearest(tmp_path):
    make_cell(tmp_path, sweep="digits").write_config()

    def status(name):
        command = [sys.executable, "-m", "launch", "--output", tmp_path, "status", name]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)

    assert "did you mean digits?" in status("digts").stderr
    assert "sweep=..: must be 1 to 100 letters" in status("..").stderr


def test_a_name_of_data_separates_no_folders(tmp_path):
    cell = make_cell(tmp_path, data__name="../../a/b")
    assert cell.directory.parent == tmp_path / "trial"
    long = make_cell(tmp_path, data__name="é" * 300)
    assert len(long.directory.name.encode()) < 200


@pytest.mark.parametrize(("output", "said"), [("file", "give another folder"), ("file/below", "give another folder")])
def test_an_output_that_is_no_folder(tmp_path, output, said):
    (tmp_path / "file").touch()
    with pytest.raises(LaunchError, match=said):
        dispatch([make_cell(tmp_path / output)])


def test_an_output_where_no_folder_can_be_made():
    with pytest.raises(LaunchError, match=r"output=/proc/nothing: .*give another one"):
        dispatch([make_cell(Path("/proc/nothing"))])


def test_an_output_on_a_full_disk(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def flush(self):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("launch.output.tempfile.TemporaryFile", lambda **options: Full())
    with pytest.raises(LaunchError, match="the disk is full: free some space"):
        dispatch([make_cell(tmp_path)])
    assert not list(tmp_path.rglob("config.yaml"))


def test_the_nearest_of_some_names():
    assert nearest("blocksize", ["seed", "mixer.block_size", "recipe.name"]) == "mixer.block_size"
    assert did_you_mean("zzz", ["halo"]) == ""


def test_a_terminal_of_few_characters_gets_them_spelt_out(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    accept_any_encoding()
    print("97.2 ± 0.3 ≈ 2× → é 漢")
    sys.stdout.flush()
    assert written.getvalue() == b"97.2 +- 0.3 ~ 2x -> e ?\n"
