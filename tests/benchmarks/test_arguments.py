"""Numbers on the command lines of benchmarks/: what cannot work is refused in one sentence that names the option."""

import pytest
import torch

from benchmarks import __main__ as speed
from benchmarks import anatomy
from launch import LaunchError


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        (speed, ["--batch", "-1"], "argument --batch: -1 must be a whole number, at least 1"),
        (speed, ["--batch", "8", "0"], "argument --batch: 0 must be a whole number, at least 1"),
        (speed, ["--threads", "100000"], "argument --threads: 100000 must be at most 1024"),
        (speed, ["--seconds", "nan"], "argument --seconds: nan must be a finite number of seconds, at least 0"),
        (speed, ["--device", "abacus"], "argument --device: abacus is no device here"),
        (anatomy, ["--batch", "-1"], "argument --batch: -1 must be a whole number, at least 1"),
        (anatomy, ["--repeats", "many"], "argument --repeats: many must be a whole number, at least 1"),
    ],
)
def test_a_number_that_cannot_work(command, arguments, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["unified_pvt_tiny", *arguments])
    assert said in capsys.readouterr().err


def test_an_output_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    threads = ["--threads", str(torch.get_num_threads())]
    with pytest.raises(LaunchError, match="give another folder"):
        speed.main(["unified_pvt_tiny", *threads, "--output", str(tmp_path / "file")])
