"""Every choice composes and builds on the meta device; every mistake is refused, naming the key and the choices."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from conf import ConfigurationError, register_groups, register_overview_groups, to_cell
from mixers import MIXERS
from tests.training.examples import idx_bytes

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(autouse=True)
def hydra(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # nobody's official weights
    register_groups(mixer_module=None)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield
    GlobalHydra.instance().clear()


def cell(*overrides):
    return to_cell(compose("cell", overrides=list(overrides)))


def choices(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize("mixer", sorted(MIXERS))
def test_every_mixer_composes(mixer):
    config = cell(f"mixer={mixer}", "scale=micro", "data=digits", "task=complexity").config
    assert config["mixer"]["name"] == mixer
    assert config["scale"] == "micro"


@pytest.mark.parametrize("network", [name for name in choices("network") if name != "unified"])
def test_every_other_network_composes(network):
    assert cell(f"network={network}", "task=complexity").config["network"]["name"] == network


@pytest.mark.parametrize(
    ("data", "recipe"),
    [(data, "short") for data in choices("data")] + [("imagenet", recipe) for recipe in choices("recipe")],
)
def test_every_data_set_and_recipe_composes(data, recipe, tmp_path):
    (tmp_path / "train" / "one").mkdir(parents=True)
    choice = [f"data={data}", f"recipe={recipe}", f"data.root={tmp_path}"]
    choice += ["data.num_classes=7"] if data in ("tar_shards", "hugging_face") else []
    config = cell("mixer=identity", "scale=micro", *choice).config
    assert config["recipe"]["name"] == recipe
    assert config["data"]["num_classes"] >= 1


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_experiment_composes_its_first_cell(experiment, made_up_images):
    """No experiment finds images that happen to lie on this machine, so that all compose on every other."""
    values = yaml.safe_load((CONF / "experiment" / f"{experiment}.yaml").read_text())
    swept = values["hydra"]["sweeper"]["params"]
    first = [f"{key}={str(value).split(',')[0].replace('glob(*)', 'identity')}" for key, value in swept.items()]
    first += [f"data.root={made_up_images}"]
    first += ["data.num_classes=2"] if {"override /data": "imagenet"} in values["defaults"] else []
    if "mixer" not in swept:  # it is for the user to say which trained network
        (made_up_images / "mine.safetensors").touch()
        first += ["mixer=identity", "scale=nano", "data=digits", f"weights={made_up_images / 'mine.safetensors'}"]
    assert cell(f"experiment={experiment}", *first).config["sweep"] == values["sweep"]


@pytest.fixture
def made_up_images(tmp_path):
    """A few images in the layouts that the experiments' data sets have."""
    for folder in ("train/one", "train/two", "val/one", "val/two"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "image.jpg").touch()
    for prefix in ("train", "t10k"):
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((20, 28, 28), np.uint8)))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(20, dtype=np.uint8) % 10))
    return tmp_path


def test_the_resolved_configuration_is_plain_and_complete():
    config = cell("mixer=halo", "scale=tiny", "task=train", "data=digits", "recipe=short", "seed=3").config
    assert config["seed"] == 3
    assert config["precision"] == "fp32"
    assert config["recipe"]["drop_path_rate"] is None or isinstance(config["recipe"]["drop_path_rate"], float)
    assert yaml.safe_load(yaml.safe_dump(dict(config))) == config


def test_images_are_brought_to_size_as_the_authors_of_the_network_do_unless_told_otherwise():
    data = cell("network=contnet_tiny").config["data"]
    assert (data["crop_pct"], data["interpolation"]) == (0.875, "bilinear")
    data = cell("network=resnet18", "data.interpolation=bilinear").config["data"]
    assert (data["crop_pct"], data["interpolation"]) == (0.95, "bilinear")
    assert cell("network=resnet18", "data=digits").config["data"]["crop_pct"] == 1.0


def test_weights_are_accepted_from_wherever_they_can_be_had(tmp_path):
    """Neither read nor fetched yet."""
    evaluation = ["mixer=halo", "scale=micro", "task=evaluate", "data=digits", "data.num_classes=1000"]
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.safetensors").touch()
    (tmp_path / "theirs.pth").touch()
    for weights in ("official", tmp_path, tmp_path / "checkpoints" / "last", tmp_path / "theirs.pth"):
        assert cell(*evaluation, f"weights={weights}").config["weights"] == str(weights)
    assert cell("network=resnet18", "task=train", "data=digits", "weights=official").config["data"]["num_classes"] == 10


def test_values_by_stage():
    assert cell("mixer=sra", "scale=micro", "mixer.sr_ratio=[4,2,1,1]").config["mixer"]["sr_ratio"] == [4, 2, 1, 1]
    stages = cell("network.mixers=[halo,halo,dcnv3,global_attention]", "scale=micro")
    assert stages.name.startswith("halo+halo+dcnv3+global_attention-micro")


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["mixer=hallo", "scale=micro"], ["hallo", "halo", "shifted_window"]),
        (["scale=micro"], ["mixer", "halo", "dcnv3"]),
        (["mixer=halo"], ["scale", "micro", "base"]),
        (["mixer=halo", "scale=huge"], ["scale", "huge", "micro"]),
        (["mixer=halo", "scale=micro", "mixer.blocksize=7"], ["blocksize"]),
        (["mixer=halo", "scale=micro", "mixer.block_size=seven"], ["block_size", "seven", "int"]),
        (["mixer=halo", "scale=micro", "mixer.block_size=0"], ["block_size", "0"]),
        (["mixer=shifted_window", "scale=micro", "mixer.shift_size=[0,3]"], ["shift_size", "one value or 4"]),
        (["mixer=halo", "scale=micro", "mixer.num_heads=3"], ["num_heads", "3"]),
        (["mixer=sra", "scale=micro", "mixer.sr_ratio=[4,2]"], ["sr_ratio", "one a stage"]),
        (["mixer=shifted_window", "scale=micro", "mixer.shift_size=[0,3]"], ["shift_size", "one a stage"]),
        (["network.mixers=[halo,halo]", "scale=micro"], ["mixer", "one a stage"]),
        (["network.mixers=[halo,halo,sra,sroa]", "scale=micro"], ["sroa", "sra"]),
        (["mixer=halo", "network.mixers=[halo,halo,sra,sra]", "scale=micro"], ["mixer", "either"]),
        (["mixer=halo", "scale=micro", "seed=one"], ["seed", "one"]),
        (["mixer=halo", "scale=micro", "sead=1"], ["sead"]),
        (["mixer=halo", "scale=micro", "precision=fp8"], ["precision", "fp8", "bf16"]),
        (["mixer=halo", "scale=micro", "recipe.learning_rate=fast"], ["learning_rate", "fast"]),
        (["mixer=halo", "scale=micro", "recipe=nope"], ["nope", "short"]),
        (["mixer=halo", "scale=micro", "data=nope"], ["nope", "digits"]),
        (["mixer=halo", "scale=micro", "task=evaluate"], ["weights"]),
        (["mixer=halo", "scale=micro", "task=evaluate", "weights=/nowhere"], ["weights", "/nowhere"]),
        (["network=i_dynamic_dwnet_tiny", "task=evaluate", "weights=official"], ["weights", "i_dynamic_dwnet_tiny"]),
        (["network.mixers=[halo,halo,sra,sra]", "scale=micro", "task=evaluate", "weights=official"], ["halo", "sra"]),
        (["network=contnet_tiny", "task=evaluate", "weights=official"], ["contnet_tiny.pth", "drive.google"]),
        (["network=dwnet_tiny", "task=evaluate", "data=digits", "weights=official"], ["weights", "1000", "10"]),
        (["mixer=halo", "scale=micro", "network.options.layer_scale=1"], ["layer_scale"]),
        (["mixer=halo", "scale=micro", "task=train", "data=digits", "recipe.epochs=0"], ["epochs", "0"]),
        (["mixer=halo", "scale=micro", "task=speed", "task.batch_sizes=[0]"], ["batch_sizes", "0"]),
        (["mixer=halo", "scale=micro", "data.resolution=0"], ["resolution", "0"]),
        (["mixer=halo", "scale=micro", "task=speed", "dim=96"], ["dim", "96", "subject=mixer"]),
        (["mixer=halo", "subject=mixer", "dim=96", "resolution=7"], ["subject", "speed", "complexity"]),
        (["mixer=halo", "subject=mixer", "task=speed", "resolution=7"], ["dim", "channels"]),
        (["mixer=halo", "subject=mixer", "task=speed", "resolution=7", "dim=0"], ["dim=0", "channels"]),
        (
            ["mixer=halo", "subject=mixer", "task=speed", "dim=96", "resolution=7", "network.budget=macs"],
            ["network.budget", "subject=mixer"],
        ),
        (["mixer=halo", "subject=mixer", "task=speed", "dim=96"], ["resolution", "[56,56]", "task.resolutions"]),
        (["mixer=halo", "subject=mixer", "task=speed", "dim=96", "resolution=[7,7,7]"], ["resolution", "[7, 7, 7]"]),
        (["mixer=halo", "subject=mixer", "task=speed", "dim=96", "resolution=wide"], ["resolution", "wide"]),
        (["mixer=halo", "subject=mixer", "task=speed", "dim=97", "resolution=7", "mixer.num_heads=2"], ["num_heads"]),
        (["mixer=halo", "subject=mixer", "task=speed", "dim=96", "scale=tiny", "resolution=7"], ["scale", "dim"]),
        (["network=resnet18", "subject=mixer", "task=speed", "dim=96", "resolution=7"], ["network", "mixer"]),
        (["mixer=halo", "scale=micro", "task=speed", "task.compare=[hallo]"], ["hallo", "halo", "resnet18"]),
        (["mixer=halo", "scale=micro", "task=speed", "task.compare=[halo]"], ["compare", "halo", "own"]),
        (["mixer=halo", "scale=micro", "task=speed", "task.against=sra"], ["against", "sra", "halo"]),
        (["mixer=pooling", "scale=micro", "task=speed", "task.implementations=[cpp]"], ["implementations", "dcnv3"]),
        (["mixer=dcnv3", "scale=micro", "task=speed", "task.implementations=[cp]"], ["implementation", "cp", "cpp"]),
        (["mixer=halo", "scale=micro", "task=speed", "task.precisions=[fp8]"], ["precisions", "fp8", "bf16"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_on_the_command_line_is_refused(overrides, named):
    with pytest.raises((HydraException, OmegaConfBaseException, ConfigurationError)) as refusal:
        cell(*overrides)
    message = f"{refusal.value} {refusal.value.__cause__}"
    assert all(word in message for word in named), message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("scael: micro", ["scael"]),
        ("seed: one", ["seed"]),
        ("recipe: {epoch: 3}", ["epoch"]),
        ("mixer: {blok_size: 3}", ["blok_size"]),
        ("mixer: {block_size: 0}", ["block_size", "0"]),
        ("defaults: [{override /mixer: hallo}]", ["hallo", "halo"]),
    ],
)
def test_a_mistake_in_an_experiment_file_is_refused(text, named, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}\n")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        search = f"hydra.searchpath=[file://{tmp_path}]"
        with pytest.raises((HydraException, OmegaConfBaseException, ConfigurationError)) as refusal:
            cell("experiment=mine", "mixer=halo", "scale=micro", search) if "defaults" not in text else cell(
                "experiment=mine", "scale=micro", search
            )
    message = f"{refusal.value} {refusal.value.__cause__}"
    assert all(word in message for word in named), message


def test_overviews_compose_without_a_network():
    register_overview_groups()
    config = compose("overview", overrides=["task=table", "sweep=digits"])
    assert config.task.name == "table"
    with pytest.raises(HydraException):
        compose("overview", overrides=["task=table", "mixer=halo"])
