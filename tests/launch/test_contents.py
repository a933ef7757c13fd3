"""A cell is what is in its files and what its options mean, not what they are called or how they were typed."""

import shutil
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from safetensors.torch import save_file

import analysis.environment
import launch.contents
from architectures import NetworkSpec
from architectures.identity import network_identity
from conf import register_groups, to_cell
from launch import Cell
from launch.contents import check_contents
from mixers import MIXERS
from mixers.registry import _OWN_MODULES
from tasks.from_config.device import device_of
from tests.mixers.test_registry import USER_FILE
from tests.slurm.sweeps import write_images
from tests.test_layout import ROOT

FEW = ["mixer=identity", "scale=micro", "recipe=short", "data.resolution=32"]


@pytest.fixture(autouse=True)
def hydra(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    register_groups(mixer_module=None)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield
    GlobalHydra.instance().clear()


def cell(*overrides) -> Cell:
    return to_cell(compose("cell", overrides=list(overrides)))


@pytest.fixture
def images(tmp_path) -> Path:
    write_images(tmp_path / "images")
    return tmp_path / "images"


def trained_on(root: Path, *overrides) -> Cell:
    """As in a session of its own, which looks at the data."""
    launch.contents._DATA.clear()
    return cell(*FEW, "data=image_folder", f"data.root={root}", "task=train", *overrides)


def test_data_are_known_by_their_images_wherever_they_lie(images, tmp_path):
    first = trained_on(images)
    moved = shutil.copytree(images, tmp_path / "moved")
    assert trained_on(moved).id == first.id
    image = moved / "val" / "dark" / "0.png"
    content = bytearray(image.read_bytes())
    content[-1] ^= 1  # of the same size
    image.write_bytes(content)
    assert trained_on(moved).id != first.id
    with pytest.raises(ValueError, match=r"data\.root=.*moved has changed"):
        check_contents(first.config | {"data": first.config["data"] | {"root": str(moved)}})
    check_contents(first.config)
    # What is not looked at decides nothing, and may be missing.
    evaluation = ["task=evaluate", f"weights={weights_file(tmp_path / 'w.safetensors', 0)}"]
    before = trained_on(images, *evaluation).id
    (images / "train" / "dark" / "0.png").unlink()
    assert trained_on(images, *evaluation).id == before
    ids = {cell(*FEW, "data=image_folder", "data.num_classes=2", f"data.root={root}").id for root in (images, "/none")}
    assert len(ids) == 1


def weights_file(path: Path, value: float) -> Path:
    save_file({"one": torch.full((3,), value)}, path)
    return path


@pytest.mark.parametrize("task", ["evaluate", "train"])
def test_weights_are_known_by_what_is_in_their_file(task, tmp_path):
    def of(path: Path) -> str:
        return cell(*FEW, "data=digits", f"task={task}", f"weights={path}").id

    run = tmp_path / "run" / "checkpoints"
    run.mkdir(parents=True)
    first = of(weights_file(run / "last.safetensors", 0.0))
    assert of(tmp_path / "run") == first
    assert of(shutil.copy(run / "last.safetensors", tmp_path / "copy.safetensors")) == first
    weights_file(run / "last.safetensors", 1.0)
    assert of(tmp_path / "run") != first


def test_official_weights_are_the_same_before_and_after_they_were_fetched(tmp_path):
    evaluation = ["task=evaluate", "weights=official", "data=imagenet", f"data.root={tmp_path}"]
    (tmp_path / "val" / "one").mkdir(parents=True)
    (tmp_path / "val" / "one" / "image.jpg").touch()
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "val.txt").write_text("one/image.jpg 0\n")
    first = cell("mixer=halo", "scale=micro", *evaluation)
    (tmp_path / "cache" / "stmbench" / "checkpoints").mkdir(parents=True)
    weights_file(tmp_path / "cache" / "stmbench" / "checkpoints" / "unified_halo_micro.safetensors", 0.0)
    assert cell("mixer=halo", "scale=micro", *evaluation).id == first.id
    # A file that a person put there is known by its content.
    by_hand = tmp_path / "cache" / "stmbench" / "checkpoints" / "contnet_tiny.pth"
    by_hand.write_bytes(b"one")
    one = cell("network=contnet_tiny", *evaluation).id
    by_hand.write_bytes(b"two")
    assert cell("network=contnet_tiny", *evaluation).id != one


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (["mixer=halo"], ["mixer=halo", "mixer.block_size=7"]),
        (["mixer=halo"], ["mixer=halo", "mixer.block_size=[7,7,7,7]"]),
        (["mixer=halo"], ["mixer=halo", "network.options.mlp_ratio=4"]),
        (["mixer=halo"], ["mixer=halo", "network.options.layer_scale_init=1e-6"]),
        (["mixer=halo"], ["network.mixers=[halo,halo,halo,halo]"]),
        (["mixer=halo", "task=train"], ["mixer=halo", "task=train", "recipe.drop_path_rate=0.0"]),
        (["mixer=halo", "task=speed"], ["mixer=halo", "task=speed", "task.precisions=[fp32]"]),
    ],
    ids=lambda overrides: " ".join(overrides),
)
def test_what_means_the_same_is_the_same_cell(one, same):
    common = ["scale=micro", "data=digits", "recipe=short"]
    assert cell(*common, *one).id == cell(*common, *same).id


def test_a_changed_default_is_another_cell(monkeypatch):
    choice = ["mixer=halo", "scale=micro", "data=digits"]
    before, spelt_out = cell(*choice), cell(*choice, "mixer.mask_padding=false")
    monkeypatch.setitem(MIXERS["halo"].__init__.__kwdefaults__, "mask_padding", False)
    monkeypatch.setattr("architectures.identity._KNOWN", {})
    assert cell(*choice).id == spelt_out.id != before.id
    with pytest.raises(ValueError, match=r"the network .* has changed"):
        check_contents(before.config)


def test_an_option_that_is_added_and_changes_nothing_keeps_old_ids(monkeypatch):
    """`implementation` came late: declared neutral, a mixer with it is what it was without."""

    def digest(**options) -> str:
        monkeypatch.setattr("architectures.identity._KNOWN", {})
        return network_identity(NetworkSpec(mixer="halo", scale="micro", mixer_options=options)).digest

    monkeypatch.setattr(MIXERS["halo"], "neutral", {"implementation": "auto"})
    with_it, chosen = digest(), digest(implementation="reference")
    build = MIXERS["halo"].__init__

    def without(self, dim, resolution, *, num_heads: int, block_size: int = 7, halo_size: int = 3,
                relative_embedding: str = "query_related", mask_padding: bool = True) -> None:  # fmt: skip
        build(self, dim, resolution, num_heads=num_heads, block_size=block_size, halo_size=halo_size,
              relative_embedding=relative_embedding, mask_padding=mask_padding)  # fmt: skip

    monkeypatch.setattr(MIXERS["halo"], "__init__", without)
    assert digest() == with_it != chosen


def test_a_speed_belongs_to_the_device_that_it_is_measured_on(monkeypatch):
    def speed(*overrides) -> Cell:
        launch.contents._device_here.cache_clear()
        return cell("mixer=pooling", "scale=micro", "data=digits", "task=speed", *overrides)

    models = {"auto": {"kind": "cpu", "model": "a CPU"}, "cpu": {"kind": "cpu", "model": "a CPU"}}
    monkeypatch.setattr(analysis.environment, "device_model", lambda device: models[device])
    on_login_node = speed()
    assert speed("device=cpu").id == on_login_node.id
    models["auto"] = {"kind": "cuda", "model": "a GPU"}
    with_gpu = speed()
    assert with_gpu.id != on_login_node.id
    # On that device or not at all.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (device_of(on_login_node.config), device_of(with_gpu.config)) == ("cpu", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no GPU"):
        device_of(with_gpu.config)
    models["auto"] = {"kind": "cuda", "model": "another GPU"}
    assert speed().id not in (with_gpu.id, on_login_node.id)
    # Where the node is not known yet, what is asked for counts, wherever it is asked.
    jobs = speed("platform=slurm", "platform.gpus_per_node=1", "platform.partition=a100")
    models["auto"] = {"kind": "cpu", "model": "a CPU"}
    assert speed("platform=slurm", "platform.gpus_per_node=1", "platform.partition=a100").id == jobs.id
    assert speed("platform=slurm", "platform.gpus_per_node=1", "platform.partition=h100").id != jobs.id
    launch.contents._device_here.cache_clear()


def test_an_edited_module_of_a_mixer_is_another_mixer(tmp_path):
    """As in two sessions: the second has not loaded the first version."""
    ids = []
    for session, factor in enumerate((2.0, 3.0, 2.0)):
        folder = tmp_path / str(session)
        folder.mkdir()
        (folder / "mine.py").write_text("from factor_of_0 import FACTOR\n" + USER_FILE.format(name="mine"))
        (folder / "factor_of_0.py").write_text(f"FACTOR = {factor}\n")
        register_groups(str(folder / "mine.py"))
        ids.append(cell(f"mixer_module={folder / 'mine.py'}", "mixer=mine", "scale=micro", "data=digits").id)
        other = cell(f"mixer_module={folder / 'mine.py'}", "mixer=halo", "scale=micro", "data=digits").id
        assert other == cell("mixer=halo", "scale=micro", "data=digits").id
        del MIXERS["mine"]
        _OWN_MODULES.forget(["factor_of_0"])
    assert ids[0] == ids[2] != ids[1]


# Results are found again years later only if these stay. If this fails, ask what has changed. A default that is another
# now: its cells are others now, write the new id. A key or option that is new and, at its default, changes nothing: say
# so in `NEUTRAL` (launch/cell.py), `Mixer.neutral` or `Backbone.neutral`, and leave the ids as they are.
PINNED = {
    "mixer=halo scale=micro task=complexity": "f5a305dda8f9",
    "mixer=shifted_window scale=tiny task=complexity": "d5ec2e090336",
    "mixer=identity scale=micro task=complexity": "675dfb3e67d6",
    "network=contnet_tiny task=complexity": "00f360357849",
    "network=resnet18 task=complexity": "8436ab3783db",
    "mixer=dcnv3 scale=micro data=digits recipe=short task=train": "7905a599c151",
    "mixer=sra scale=tiny data=cifar10 data.root=/data task=train seed=1": "e07d062a9be5",
    "network=dwnet_tiny data=digits recipe=dwnet task=train": "95e1e102f139",
    "mixer=halo scale=micro task=speed platform=slurm device=cpu": "cc4427939dd8",
}


@pytest.mark.parametrize(("overrides", "expected"), PINNED.items())
def test_ids_stay(overrides, expected):
    assert cell(*overrides.split()).id == expected


def test_a_configuration_from_before_there_were_contents_still_has_an_id(tmp_path):
    config = {key: value for key, value in cell(*FEW, "data=digits", "task=train").config.items() if key != "contents"}
    check_contents(config)
    assert Cell(config).id == Cell(config | {"output": str(tmp_path)}).id
