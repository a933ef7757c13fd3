"""A dry run and a measurement of the loader are about the step that training will take."""

from dataclasses import asdict

import pytest
import torch

from launch import execute
from launch.plan import plan
from tasks.loader import LoaderSettings
from tests.training.examples import brief, small_digits
from training.settings import TrainSettings

from .cells import make_cell


def cell(output, settings):
    parts = {"data": asdict(small_digits(resolution=32)), "recipe": asdict(brief())}
    return make_cell(output, mixer={"name": "identity"}, task=asdict(settings), **parts)


def test_a_plan_counts_what_checkpointed_blocks_keep(tmp_path):
    plain, checkpointed = (
        plan(cell(tmp_path, TrainSettings(gradient_checkpointing=wanted))).activations_mib for wanted in (False, True)
    )
    assert checkpointed < 0.5 * plain


@pytest.mark.parametrize("task", [TrainSettings, LoaderSettings])
def test_compiled_steps_are_timed_compiled(tmp_path, monkeypatch, task):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network: compiled.append(network) or network)
    settings = task(compile=True)
    if task is TrainSettings:
        plan(cell(tmp_path, settings))
    else:
        settings.seconds = 0.1
        assert execute(cell(tmp_path, settings)).status == "completed"
    assert len(compiled) == 1
