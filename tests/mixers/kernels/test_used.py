"""What a measurement is told of the code that ran."""

import torch

from mixers import build_mixer
from mixers.kernels.used import note, summary, used_implementations


def test_what_is_noted_is_heard_inside_only() -> None:
    with used_implementations() as outer:
        note("a", "cpp")
        with used_implementations() as inner:
            note("b", "cpp")
    note("c", "cpp")
    assert outer == {("a", "cpp"), ("b", "cpp")}
    assert inner == {("b", "cpp")}


def test_the_summary_names_operations_only_where_they_differ() -> None:
    assert summary(set()) == ""
    assert summary({("dcnv3", "cpp"), ("softmax", "cpp")}) == "cpp"
    assert summary({("softmax", "cpp"), ("dcnv3", "reference")}) == "dcnv3 reference, softmax cpp"


def test_a_mixer_tells_what_it_was_asked_for() -> None:
    mixer = build_mixer("dcnv3", 16, (5, 6), groups=1, implementation="reference")
    with used_implementations() as used:
        mixer(torch.randn(1, 5, 6, 16)).sum().backward()
    assert ("dcnv3", "reference") in used
    assert ("dcnv3", "cpp") not in used
