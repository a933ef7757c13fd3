"""The cells of a sweep are composed as Hydra itself would, only faster, and a mistake is found before anything runs."""

from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict

from conf import SweepComposer, register_groups

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def loader():
    setup_globals()
    register_groups(mixer_module=None)
    return ConfigLoaderImpl(config_search_path=create_config_search_path(str(CONF)))


@pytest.fixture
def master(loader):
    return loader.load_configuration("cell", ["scale=micro"], RunMode.MULTIRUN)


@pytest.mark.parametrize(
    "overrides",
    [
        ["mixer=halo", "scale=micro", "seed=3"],
        ["mixer=halo", "scale=tiny", "mixer.block_size=7", "recipe.learning_rate=1e-3"],
        ["scale=micro", "mixer=sra", "data=digits", "task=train", "mixer.sr_ratio=[4,2,1,1]"],
        ["experiment=digits", "mixer=sra", "network.options.layer_scale_init=1e-6"],
        ["network=contnet_tiny", "task=speed", "platform=slurm", "+platform.sbatch.reservation=deadline"],
        ["mixer=halo", "scale=micro", "+network.options.layer_scale=1"],
    ],
    ids=lambda overrides: overrides[-1],
)
def test_cells_are_composed_as_by_hydra(loader, master, overrides):
    expected = loader.load_sweep_config(master, overrides)
    with open_dict(expected):
        expected.pop("hydra")
    composer = SweepComposer(loader, master)
    composer.compose([*overrides, "output=elsewhere"])  # what was composed before leaves no traces
    assert OmegaConf.to_container(composer.compose(overrides)) == OmegaConf.to_container(expected)


@pytest.mark.parametrize(
    "overrides", [["mixer=hallo"], ["sead=1"], ["seed=one"], ["mixer=halo", "mixer.blocksize=7"], ["platform.hours=2"]]
)
def test_a_mistake_in_any_cell_is_refused(loader, master, overrides):
    composer = SweepComposer(loader, master)
    composer.compose(["mixer=halo", "seed=1"])
    with pytest.raises(HydraException):
        composer.compose(overrides)
