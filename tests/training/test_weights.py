"""Weights into networks: from wherever a person points, and strictly."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.training.examples import TinyNetwork, tiny_network
from training.checkpoint import save_weights
from training.weights import find_weights, load_weights


@pytest.fixture
def run_directory(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    save_weights(tiny_network(seed=5), tmp_path / "checkpoints" / "last.safetensors")
    return tmp_path


@pytest.mark.parametrize("place", ["", "checkpoints", "checkpoints/last", "checkpoints/last.safetensors"])
def test_a_run_its_checkpoints_and_a_file(run_directory, place):
    network = tiny_network(seed=0)
    load_weights(network, run_directory / place)
    expected = tiny_network(seed=5).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors.pop("norm.bias"), r"last.safetensors has no norm.bias, which the network needs"),
        (lambda tensors: tensors.update(extra=torch.ones(1)), r"has extra, which the network does not know"),
        (
            lambda tensors: tensors.update({"head.bias": torch.ones(3)}),
            r"head.bias of shape \(3,\), the network's is \(10,\)",
        ),
        (lambda tensors: tensors.update({"head.bias": torch.ones(10).char()}), r"head.bias is stored as int8"),
        (lambda tensors: tensors["head.bias"].fill_(torch.nan), r"last.safetensors: head.bias holds NaN"),
    ],
)
def test_weights_that_do_not_fit_are_named(run_directory, change, words):
    file = run_directory / "checkpoints" / "last.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)
    before = tiny_network(seed=0).state_dict()
    network = tiny_network(seed=0)
    with pytest.raises(ValueError, match=words):
        load_weights(network, run_directory)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_damaged_and_missing_files_are_named(run_directory):
    file = run_directory / "checkpoints" / "last.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"last.safetensors is damaged or not a checkpoint"):
        load_weights(TinyNetwork(), run_directory)
    with pytest.raises(FileNotFoundError, match=r"no weights at .*nowhere"):
        load_weights(TinyNetwork(), run_directory / "nowhere")


def test_the_moving_average_of_a_run_is_asked_for_by_name(tmp_path):
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "last.safetensors").touch()
    assert find_weights(tmp_path) == checkpoints / "last.safetensors"
    with pytest.raises(FileNotFoundError, match="no moving average of weights"):
        find_weights(tmp_path, average=True)
    (checkpoints / "last_ema.safetensors").touch()
    assert find_weights(tmp_path, average=True) == checkpoints / "last_ema.safetensors"
    assert find_weights(checkpoints, average=True) == checkpoints / "last_ema.safetensors"
