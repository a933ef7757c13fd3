"""Each promise of a mixer can be broken, and then task=check says so; that ours keep them is in tests/mixers."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from analysis.mixer_contract import CHECKS, COMPILES, Finding, Subject, check_mixer, print_findings, try_out
from mixers import MIXERS, Mixer
from mixers.contract import neighbourhood

ROOT = Path(__file__).parents[2]


class Sound(Mixer):
    """Each pixel by itself, and a table of weights: what the broken ones are made of."""

    def __init__(self, dim: int, resolution: tuple[int, int], *, gain: float = 1.0) -> None:
        super().__init__(dim, resolution)
        self.gain = gain
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        return self.gain * self.proj(x)

    def macs(self, resolution):
        return resolution[0] * resolution[1] * self.dim**2

    def receptive_field(self, position, resolution):
        return neighbourhood(position, resolution, 0)


class Transposed(Sound):
    def forward(self, x):
        return super().forward(x).transpose(1, 2)


class NeedsMany(Sound):
    """Fails on maps of a row or column."""

    def forward(self, x):
        return nn.functional.pad(super().forward(x).permute(0, 3, 1, 2), (1, 1), "reflect")[..., 1:-1].permute(
            0, 2, 3, 1
        )


class Halves(Sound):
    def forward(self, x):
        return super().forward(x).half()


class HalvesUnderAutocast(Sound):
    def forward(self, x):
        y = super().forward(x)
        return y.half() if torch.is_autocast_enabled("cpu") else y


class InPlace(Sound):
    def forward(self, x):
        return super().forward(x.mul_(2))


class Remembers(Sound):
    """The last map's mean, as somebody who counts on batches of one size may."""

    mean = 0.0

    def forward(self, x):
        y = super().forward(x) + self.mean
        self.mean = float(x.mean().detach())
        return y


class MixesTheBatch(Sound):
    def forward(self, x):
        return super().forward(x - x.mean(0, keepdim=True))


class Unused(Sound):
    def __init__(self, dim: int, resolution: tuple[int, int]) -> None:
        super().__init__(dim, resolution)
        self.table = nn.Parameter(torch.ones(dim))


class Drops(Sound):
    """The last row takes no part."""

    def forward(self, x):
        return super().forward(torch.cat((x[:, :-1], torch.zeros_like(x[:, -1:])), 1))


class Cheap(Sound):
    def macs(self, resolution):
        return resolution[0] * resolution[1] * self.dim


class FieldOfAnotherShape(Sound):
    def receptive_field(self, position, resolution):
        return super().receptive_field(position, resolution).T


class FieldTooSmall(Sound):
    def forward(self, x):
        return super().forward(x + x.roll(1, 1))


class FieldTooLarge(Sound):
    def receptive_field(self, position, resolution):
        return neighbourhood(position, resolution, 1)


class RefusesItsDefault(Sound):
    def __init__(self, dim: int, resolution: tuple[int, int], *, gain: float = 1.0, mode: str = "none") -> None:
        super().__init__(dim, resolution, gain=gain)
        if mode == "none":
            raise ValueError("mode='none': choose from a, b")


class Hides(Sound):
    """What it draws is not in its state dict."""

    def __init__(self, dim: int, resolution: tuple[int, int]) -> None:
        super().__init__(dim, resolution)
        self.hidden = torch.rand(dim)

    def forward(self, x):
        return super().forward(x) * self.hidden.to(x.dtype)


class Unpicklable(Sound):
    def __init__(self, dim: int, resolution: tuple[int, int]) -> None:
        super().__init__(dim, resolution)
        self.rule = lambda x: x


class AllocatesElsewhere(Sound):
    def forward(self, x):
        return super().forward(x) + torch.ones(x.shape[-1], dtype=x.dtype, device="cpu")


class FailsWhenSmall(Sound):
    """On the maps of a network's last stage."""

    def forward(self, x):
        if x.shape[1:3] == (3, 3):
            raise RuntimeError("no room for a window")
        return super().forward(x)


@pytest.mark.parametrize(
    ("mixer", "word", "seen"),
    [
        (Transposed, "shape", r"10×9: B, H, W, C = \(2, 10, 9, 64\) became \(2, 9, 10, 64\)"),
        (NeedsMany, "shape", "[Pp]adding"),
        (Halves, "dtype", "float32, 14×14: its output is float16"),
        (HalvesUnderAutocast, "dtype", "under bfloat16 autocast its output is float16"),
        (InPlace, "leaves its input", "changed in place"),
        (Remembers, "same output", "another output for the same input"),
        (MixesTheBatch, "by itself", "alone, an image's output is .* off"),
        (Unused, "gradients", "none reaches table"),
        (Drops, "gradients", "9 of 90 input pixels get none"),
        (Cheap, "macs", r"declares 12544, the trace counts 802816"),
        (FieldOfAnotherShape, "receptive_field", r"returned \(9, 10\), bool for a map of \(10, 9\)"),
        (FieldTooSmall, "receptive_field", r"the output at \(0, 0\) depends on \(9, 0\), which receptive_field"),
        (FieldTooLarge, "receptive_field", r"has \(0, 1\) for the output at \(0, 0\), which never depends on it"),
        (RefusesItsDefault, "options", "mode='none': choose from a, b"),
        (Hides, "saved", "something learned is not in state_dict"),
        (Unpicklable, "copied", "[Pp]ickle"),
        (AllocatesElsewhere, "meta", "device"),
        (FailsWhenSmall, "network", "mixer mine in stage 4 of 4, block 1 of .*: RuntimeError: no room for a window"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_broken_promise_is_found_and_said(mixer, word, seen, monkeypatch):
    monkeypatch.setitem(MIXERS, "mine", mixer)
    given = {"mode": "a"} if mixer is RefusesItsDefault else {}
    [sentence] = [sentence for sentence in CHECKS if word in sentence]
    finding = try_out(sentence, CHECKS[sentence], Subject("mine", given))
    assert not finding.holds
    assert re.search(seen, finding.seen), finding.seen


def test_a_sound_mixer_breaks_none_and_options_are_those_that_were_given(monkeypatch):
    monkeypatch.setitem(MIXERS, "mine", Sound)
    assert [finding for finding in check_mixer("mine", {"gain": 2.0}, dim=24, compile=False) if not finding.holds] == []
    with pytest.raises(ValueError, match="no option 'gian'"):
        list(check_mixer("mine", {"gian": 2.0}, dim=64, compile=False))


class Bare(Mixer):
    """All that a mixer must have."""

    def forward(self, x):
        return x + x.roll(1, 2)


def test_what_a_mixer_does_not_say_of_itself_is_measured(monkeypatch):
    monkeypatch.setitem(MIXERS, "mine", Bare)
    findings = {finding.sentence: finding for finding in check_mixer("mine", {}, dim=64, compile=False)}
    assert [finding for finding in findings.values() if not finding.holds] == []
    seen = {finding.seen for finding in findings.values()}
    assert "measured: 0 at 14×14, 0 at 10×9, 0 at 20×7" in seen
    assert "measured: 2 pixels at (0, 0), 2 pixels at (5, 4), 2 pixels at (9, 8)" in seen


def test_a_mixer_that_cannot_be_built_is_one_finding(monkeypatch):
    class Unbuilt(Sound):
        def __init__(self, dim: int, resolution: tuple[int, int]) -> None:
            raise RuntimeError("no table for this size")

    monkeypatch.setitem(MIXERS, "mine", Unbuilt)
    [finding] = check_mixer("mine", {}, dim=64, compile=False)
    assert finding == Finding("can be built", False, "RuntimeError: no table for this size")


def test_findings_are_printed_on_any_terminal():
    findings = [Finding("keeps its shape", True, "10×9"), Finding("is copied", False, "[red]")]
    for encoding, signs in (("utf-8", ("✓", "✗")), ("ascii", ("ok", "BROKEN"))):
        screen = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        print_findings("mine", findings, Console(file=screen, width=80))
        screen.flush()
        printed = screen.buffer.getvalue().decode(encoding)
        assert all(sign in printed for sign in signs)
        assert "[red]" in printed
        assert "2 sentences: 1 broken" in printed


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MIXERS))
def test_a_mixer_is_compiled(name):
    *_, finding = check_mixer(name, {}, dim=64, compile=True)
    assert finding.sentence == COMPILES
    assert finding.holds, finding.seen


MIXER_FILE = """
from mixers import Mixer, register

@register("mine")
class Mine(Mixer):
    def __init__(self, dim: int, resolution: tuple[int, int], *, share: float = 1.0) -> None:
        super().__init__(dim, resolution)
        self.share = share

    def forward(self, x):
        return x - self.share * x.mean(0, keepdim=True)

    def macs(self, resolution):
        return 0

    def receptive_field(self, position, resolution):
        return MIXERS["identity"](self.dim, resolution).receptive_field(position, resolution)

from mixers import MIXERS
"""


def test_the_command_answers_in_words_and_by_its_exit_status(tmp_path):
    """For each mixer of a sweep; one that is broken is enough."""
    (tmp_path / "mine.py").write_text(MIXER_FILE)
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "run.py",
            "-m",
            "task=check",
            "mixer_module=mine.py",
            "mixer=mine",
            "mixer.share=0.5,0.0",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    first, second = " ".join(done.stdout.split()).split("13 sentences: ")[1:]
    assert "BROKEN treats each image of a batch by itself" in done.stdout.replace("  ", " ")
    assert first.startswith("1 broken")
    assert second.startswith("all hold")
    assert not list(tmp_path.rglob("record.json"))
