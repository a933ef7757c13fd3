"""What a person sees, in a terminal and in a log."""

import io
import re

import pytest
from rich.console import Console

from tests.training.examples import brief, small_digits, tiny_network
from training import progress as progress_module
from training.train import train


def output_of_training(tmp_path, monkeypatch, *, terminal, show=True):
    stream = io.StringIO()
    monkeypatch.setattr(
        progress_module,
        "Console",
        lambda file, quiet: Console(file=stream, quiet=quiet, force_terminal=terminal, width=160),
    )
    train(
        tiny_network(),
        small_digits(),
        brief(),
        directory=tmp_path,
        seed=0,
        precision="fp32",
        device="cpu",
        show_progress=show,
    )
    return stream.getvalue()


def test_a_log_gets_one_plain_line_per_epoch(tmp_path, monkeypatch):
    lines = output_of_training(tmp_path, monkeypatch, terminal=False).splitlines()
    assert len(lines) == 2
    for number, line in enumerate(lines, start=1):
        assert re.fullmatch(
            rf"train on digits: epoch {number}/2  train loss [\d.]+  validation loss [\d.]+  top-1 [\d.]+ %  "
            r"\d+ images/s  \d+ % waiting for data  [\d.]+ s",
            line,
        )


def test_a_terminal_gets_a_live_line_that_goes_away(tmp_path, monkeypatch):
    text = output_of_training(tmp_path, monkeypatch, terminal=True)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert re.search(r"epoch 2/2 .*loss [\d.]+ .*images/s", plain)
    assert "6/6" in plain
    assert "top-1" in plain
    assert text.endswith("\x1b[2K")  # the line is erased


@pytest.mark.parametrize("terminal", [True, False])
def test_silence_when_asked(tmp_path, monkeypatch, terminal):
    assert output_of_training(tmp_path, monkeypatch, terminal=terminal, show=False) == ""
