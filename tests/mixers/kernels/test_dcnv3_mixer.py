"""The mixer samples with the implementation it was built with."""

import pytest
import torch

from mixers import build_mixer
from mixers.kernels.dcnv3 import implementations


def test_option_decides_which_code_samples(monkeypatch):
    used = []
    module_of = implementations.module_of
    monkeypatch.setattr("mixers.kernels.dcnv3.operator.module_of", lambda name: used.append(name) or module_of(name))
    for implementation in ("reference", "auto"):
        mixer = build_mixer("dcnv3", 16, (4, 5), groups=2, implementation=implementation)
        mixer(torch.randn(1, 4, 5, 16))
    assert used == ["reference", implementations.implementation_for(torch.empty(0))]


def test_unknown_implementation_is_refused_when_it_is_built():
    with pytest.raises(ValueError, match=r"implementation='fast': must be one of auto, cpp, cuda, triton, reference"):
        build_mixer("dcnv3", 16, (4, 5), groups=2, implementation="fast")
