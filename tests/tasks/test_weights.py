"""The weights that a task starts from: a run's, the authors' file, their release; and what fine-tuning changes."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import training.evaluate
import training.train
from architectures import NetworkSpec, build_network
from architectures.checkpoints import CheckpointError, UnavailableError
from launch.perform import perform
from tasks import Hooks
from tasks.from_config.weights import check_weights, load
from tests.launch.cells import make_cell
from training.checkpoint import save_weights

from ..golden.fill import state_dict_for

GOLDEN = Path(__file__).parents[1] / "golden" / "stm"
CONVNEXT = NetworkSpec(mixer="depthwise_conv", scale="micro")
TEN_CLASSES = NetworkSpec(mixer="depthwise_conv", scale="micro", num_classes=10)


def official(network):
    weights = state_dict_for(json.loads((GOLDEN / f"{network}.json").read_text())["manifest"])
    return {key: value.float() for key, value in weights.items()}


@pytest.fixture(scope="module")
def convnext():
    return official("unified_convnext_micro")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Where official weights are looked for; empty at first."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "stmbench" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(params=["official", "theirs.pth", "theirs.tar"])
def weights(request, cache, tmp_path, convnext):
    """The same weights as a release and as files."""
    place = cache / "unified_convnext_micro.pth" if request.param == "official" else tmp_path / request.param
    torch.save({"model": convnext}, place)
    return "official" if request.param == "official" else str(place)


def start(spec, weights, fine_tuning=False):
    network = build_network(spec)
    check_weights(spec, weights, fine_tuning=fine_tuning)
    load(network, spec, weights, fine_tuning=fine_tuning, show_progress=False)
    return network


@pytest.mark.parametrize("fine_tuning", [False, True])
def test_the_authors_weights_are_taken_whole(weights, convnext, fine_tuning):
    network = start(CONVNEXT, weights, fine_tuning)
    assert torch.equal(network.head.weight, convnext["head.weight"])
    assert torch.equal(network.stem.conv1.weight, convnext["downsample_layers.0.stem.0.weight"])


def test_fine_tuning_on_other_classes_keeps_the_networks_own_classifier(weights, convnext, caplog):
    torch.manual_seed(0)
    fresh = build_network(TEN_CLASSES).head
    torch.manual_seed(0)
    with caplog.at_level(logging.INFO):
        network = start(TEN_CLASSES, weights, fine_tuning=True)
    assert torch.equal(network.head.weight, fresh.weight)
    assert torch.equal(network.head.bias, fresh.bias)
    assert torch.equal(network.conv_head.conv.weight, convnext["conv_head.0.weight"])
    assert "another number of classes: head.weight, head.bias left as initialised" in caplog.text


def test_evaluation_on_other_classes_is_refused(weights):
    with pytest.raises(ValueError, match=r"1000.*\b10\b"):
        start(TEN_CLASSES, weights)


def test_both_classifiers_of_conformer_are_kept_when_fine_tuning(tmp_path):
    save_weights(build_network(NetworkSpec("conformer_tiny_patch16", num_classes=7)), tmp_path / "seven.safetensors")
    network = start(NetworkSpec("conformer_tiny_patch16", num_classes=3), str(tmp_path / "seven"), fine_tuning=True)
    assert len(network.token_classifier.weight) == len(network.map_classifier.weight) == 3


def test_tables_are_resized_to_the_image(cache):
    swin = official("unified_swin_micro")
    torch.save(swin, cache / "unified_swin_micro.pth")
    network = start(NetworkSpec(mixer="shifted_window", scale="micro", img_size=(160, 160)), "official")
    ours = network.state_dict()
    key = "blocks.0.mixer.relative_position_bias_table"
    assert ours[f"stages.3.{key}"].shape == (81, 8)
    assert torch.equal(ours[f"stages.0.{key}"], swin["stages.0.0.attn.relative_position_bias_table"])


def test_tables_are_resized_to_the_window(cache, tmp_path, caplog):
    """Of the authors' release, of their file, and of a run of ours; then the result is one and the same."""
    torch.save(official("unified_swin_micro"), cache / "unified_swin_micro.pth")
    larger = NetworkSpec(mixer="shifted_window", scale="micro", mixer_options={"window_size": 14})
    network = start(larger, "official")
    table = network.stages[0].blocks[1].mixer.relative_position_bias_table
    assert table.shape == (27**2, 1)
    save_weights(start(NetworkSpec(mixer="shifted_window", scale="micro"), "official"), tmp_path / "run.safetensors")
    with caplog.at_level(logging.INFO):
        ours = start(larger, str(tmp_path / "run.safetensors"))
    assert "run.safetensors is of another window or image size: 13 tables resized" in caplog.text
    for key, entry in ours.state_dict().items():
        assert torch.equal(entry, network.state_dict()[key]), key
    with pytest.raises(ValueError, match=r"relative_position_bias_table of shape \(169, 1\), the network's is"):
        start(NetworkSpec(mixer="shifted_window", scale="micro", mixer_options={"num_heads": 2}), str(tmp_path / "run"))


def test_position_embeddings_of_a_run_are_resized_to_the_image(tmp_path):
    save_weights(build_network(NetworkSpec(mixer="sra", scale="micro")), tmp_path / "run.safetensors")
    network = start(NetworkSpec(mixer="sra", scale="micro", img_size=(64, 96)), str(tmp_path / "run"))
    assert network.stages[0].blocks[0].position.weight.shape == (16, 24, 32)


@pytest.mark.parametrize("changes", [{"budget": "macs"}, {"depths": (1, 1, 1, 1)}])
def test_only_the_published_size_has_official_weights(cache, changes):
    torch.save(official("unified_swin_micro"), cache / "unified_swin_micro.pth")
    with pytest.raises(ValueError, match=r"shifted_window at scale micro, of other dims and depths than published"):
        check_weights(NetworkSpec(mixer="shifted_window", scale="micro", **changes), "official", fine_tuning=True)


def test_our_own_files_and_runs(tmp_path):
    trained = build_network(TEN_CLASSES)
    (tmp_path / "checkpoints").mkdir()
    save_weights(trained, tmp_path / "checkpoints" / "last.safetensors")
    for path in (tmp_path, tmp_path / "checkpoints" / "last.safetensors"):
        assert torch.equal(start(TEN_CLASSES, str(path)).head.weight, trained.head.weight)
    with pytest.raises(ValueError, match=r"head.weight of shape \(10, 384\), the network's is \(1000, 384\)"):
        start(CONVNEXT, str(tmp_path))
    assert start(CONVNEXT, str(tmp_path), fine_tuning=True).head.out_features == 1000


@pytest.mark.parametrize("file", ["ours", "theirs.pth"])
def test_a_detection_form_starts_from_classification(file, tmp_path, convnext, caplog):
    """Of a run, or of the authors; it has no classifier to evaluate."""
    save_weights(build_network(TEN_CLASSES), tmp_path / "ours.safetensors")
    torch.save({"model": convnext}, tmp_path / "theirs.pth")
    form = replace(TEN_CLASSES, options={"detection": True})
    with caplog.at_level(logging.INFO):
        network = start(form, str(tmp_path / file), fine_tuning=True)
    assert "from classification to detection: new are output_norms.0" in caplog.text
    assert "without a classifier: head.weight, head.bias left as initialised" in caplog.text
    if file == "theirs.pth":
        assert torch.equal(network.stem.conv1.weight, convnext["downsample_layers.0.stem.0.weight"])
    with pytest.raises(ValueError, match=r"has no head\.weight, which the network needs"):
        start(form, str(tmp_path / file))


def test_only_the_classifier_may_differ(tmp_path, convnext):
    """Fine-tuning is no licence for weights of another network."""
    save_file(convnext, tmp_path / "theirs.safetensors")
    torch.save(official("unified_swin_micro"), tmp_path / "swin.pth")
    with pytest.raises(ValueError, match=r"theirs\.safetensors has no stem\.conv1\.weight"):
        start(CONVNEXT, str(tmp_path / "theirs.safetensors"), fine_tuning=True)
    with pytest.raises(CheckpointError, match=r"swin\.pth: .*unified_convnext_micro: .* is missing"):
        start(CONVNEXT, str(tmp_path / "swin.pth"), fine_tuning=True)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.ones(1000).bool(), "head.bias is stored as bool"),
        (torch.full((1000,), torch.inf), "head.bias holds NaN or infinite values"),
    ],
)
@pytest.mark.parametrize("file", ["official", "theirs.pth"])
def test_what_no_weight_can_be_is_refused_whoever_stored_it(file, value, words, cache, tmp_path, convnext):
    place = cache / "unified_convnext_micro.pth" if file == "official" else tmp_path / file
    torch.save(convnext | {"head.bias": value}, place)
    with pytest.raises(CheckpointError, match=rf"\.pth: .*{words}"):
        start(CONVNEXT, "official" if file == "official" else str(place))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (NetworkSpec(mixer="pooling", scale="micro"), "unified_pooling_micro"),
        (NetworkSpec(mixer=("halo", "halo", "sra", "sra"), scale="micro"), "mixer halo, halo, sra, sra at scale micro"),
        (NetworkSpec("i_dynamic_dwnet_base"), "i_dynamic_dwnet_base"),
    ],
)
def test_networks_without_official_weights(cache, spec, words):
    with pytest.raises(ValueError, match=words):
        check_weights(spec, "official", fine_tuning=True)


def test_weights_that_are_not_there(cache, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        check_weights(CONVNEXT, str(tmp_path / "nowhere"), fine_tuning=False)
    with pytest.raises(UnavailableError, match=f"save the file as {cache / 'contnet_medium.pth'}"):
        check_weights(NetworkSpec("contnet_medium"), "official", fine_tuning=False)


@pytest.mark.parametrize("task", ["train", "evaluate"])
def test_tasks_start_from_them(task, cache, convnext, monkeypatch, tmp_path):
    torch.save({"model": convnext}, cache / "unified_convnext_micro.pth")
    given = []

    def follow(network, *arguments, **keywords):
        given.append(network)
        return {"top1_percent": 0.0}

    monkeypatch.setattr({"train": training.train, "evaluate": training.evaluate}[task], task, follow)
    for settings in ("DataSettings", "RecipeSettings"):
        monkeypatch.setattr(f"tasks.{task}.{settings}", dict, raising=False)
    cell = make_cell(
        tmp_path,
        mixer={"name": "depthwise_conv"},
        task={"name": task} | ({"batch_size": 2} if task == "evaluate" else {}),
        data__resolution=64,
        data__num_classes=10 if task == "train" else 1000,
        weights="official",
    )
    perform(cell, Hooks(show_progress=False))
    [network] = given
    assert torch.equal(network.conv_head.conv.weight, convnext["conv_head.0.weight"])
    assert torch.equal(network.head.weight, convnext["head.weight"]) == (task == "evaluate")
