"""Fixtures: Slurm's commands without a Slurm, and settings of the platform."""

import pytest
import yaml

from launch.settings import platform_settings
from tests.test_layout import ROOT

from .commands import FakeSlurm


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    fake = FakeSlurm(tmp_path / "slurm")
    fake.install()
    monkeypatch.setenv("PATH", fake.path)
    return fake


@pytest.fixture
def platform():
    """A function that makes the `platform` of a configuration, with changes."""
    values = yaml.safe_load((ROOT / "conf" / "platform" / "slurm.yaml").read_text())
    del values["defaults"]
    return lambda **changes: values | changes


@pytest.fixture
def settings(platform):
    return lambda **changes: platform_settings(platform(**changes))
