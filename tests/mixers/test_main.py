"""`python -m mixers`, as it is typed."""

import re
import subprocess
import sys
from pathlib import Path

from mixers import MIXERS


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mixers", *arguments], cwd=cwd, capture_output=True, text=True)


def test_lists_every_mixer_with_what_it_is(tmp_path):
    done = run(cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines.keys() == MIXERS.keys()
    assert lines["pooling"] == "Average pooling: mixing without a single parameter"


def test_says_what_a_mixer_is_costs_and_sees(tmp_path):
    done = run("shifted_window", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for said in ("arXiv:2103.14030", "Cost: H W (4 C^2 + 2 w^2 C)", "window_size: side of the window, in pixels."):
        assert said in done.stdout
    table = {row: cells for row, *cells in (re.split(r"  +", line) for line in done.stdout.splitlines())}
    assert table["num_heads"] == ["3", "6", "12", "24"]
    assert table["shift_size"] == ["0 / 3"] * 4
    assert table["MACs, millions"][0] == f"{56**2 * (4 * 96**2 + 2 * 49 * 96) / 1e6:.1f}"
    assert table["reach"] == ["49"] * 4


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path):
    done = run("shifted_windows", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    wanted = "there is no mixer 'shifted_windows', did you mean shifted_window? `python -m mixers` lists all\n"
    assert done.stderr == wanted
