"""What validation says of a network is true of its weights as they are: bit for bit what `evaluate` finds later."""

import copy
import json
from types import SimpleNamespace

import pytest
import torch

from mixers import MIXERS
from mixers.kernels import linear
from tests.architectures.small import CLASSES, SMALL, STANDING_FOR_ALL, contnet, images, small_network, unified
from tests.training.examples import recipe_settings, small_digits
from training.checkpoint import save_weights
from training.evaluate import evaluate, validate
from training.learner import Learner
from training.train import train
from training.weights import load_weights

FORMS = {
    "fused": {"fused": True},
    "foreach": {"fused": False, "foreach": True},
    "loop": {"fused": False, "foreach": False},
}
WITH_TABLES = ("shifted_window", "halo query-free", "contnet relative")
LEARNING_RATE = 0.03  # moves every entry of a table by as much in a step


class TwoBatches:
    """Validation images in memory."""

    classes = None
    findings = SimpleNamespace(corrupt={})

    def epoch(self, epoch):
        for seed in (1, 2):
            yield images(4, seed=seed), torch.arange(4)


def scores(network):
    return validate(network.to(memory_format=torch.channels_last), TwoBatches(), lambda pixels: pixels, "fp32")


def learner_of(network, form="fused", **changes):
    recipe = recipe_settings(learning_rate=LEARNING_RATE, **changes)
    recipe.optimizer_options = recipe.optimizer_options | FORMS[form]
    return Learner(network, recipe, precision="fp32", device=torch.device("cpu"))


def step(learner, seed=0):
    learner.network.train()
    learner.step(images(4, seed=seed), torch.arange(4) % CLASSES, LEARNING_RATE, 0.0)


@pytest.fixture(autouse=True)
def _onednn_whatever_the_size(monkeypatch):
    """Small networks are to take the ways of large ones."""
    monkeypatch.setattr(linear, "FEWEST_MACS", 0)


def by_default(name, form):
    return name in WITH_TABLES or (form == "fused" and (name in STANDING_FOR_ALL or name not in MIXERS))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        pytest.param(name, form, marks=() if by_default(name, form) else pytest.mark.slow)
        for name in SMALL
        for form in FORMS
    ],
)
def test_after_each_epoch_scores_are_those_of_the_saved_weights(name, form, tmp_path):
    learner = learner_of(small_network(name), form)
    losses = set()
    for epoch in range(3):
        step(learner, seed=epoch)
        found = scores(learner.network)
        save_weights(learner.network, tmp_path / "last.safetensors")
        fresh = small_network(name, seed=9)
        load_weights(fresh, tmp_path / "last.safetensors")
        assert scores(fresh) == found
        losses.add(found["validation_loss"])
    assert len(losses) == 3


def replace_data(network):
    for parameter in network.parameters():
        parameter.data = parameter.data * 1.1


def write_data(network):
    for parameter in network.parameters():
        parameter.data.mul_(1.1)


def write_through_numpy(network):
    for parameter in network.parameters():
        if parameter.is_contiguous():
            parameter.detach().numpy()[...] *= 1.1


def load_others(network):
    network.load_state_dict({key: value + 0.01 for key, value in network.state_dict().items()})


def assign_others(network):
    network.load_state_dict({key: value + 0.01 for key, value in network.state_dict().items()}, assign=True)


def fine_tune_in_eval_mode(network):
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, fused=True)
    with torch.enable_grad():
        network(images(2)).square().sum().backward()
    optimizer.step()
    network.zero_grad()


def take_over_an_average(network):
    learner = learner_of(network, ema_decay=0.5)
    with torch.enable_grad():
        step(learner)
    network.eval()
    average = learner.average.module
    for parameter, averaged in zip(network.parameters(), average.parameters(), strict=True):
        parameter.data, averaged.data = averaged.data, parameter.data


CHANGES = [
    replace_data,
    write_data,
    write_through_numpy,
    load_others,
    assign_others,
    fine_tune_in_eval_mode,
    take_over_an_average,
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in WITH_TABLES else pytest.mark.slow) for name in SMALL]
)
@torch.no_grad()
def test_changed_parameters_are_seen_in_eval_mode(name, change):
    network, x = small_network(name).eval(), images(2)
    before = network(x)
    scored = scores(network)
    change(network)
    after = network(x)
    fresh = small_network(name, seed=9).to(memory_format=torch.channels_last).eval()
    fresh.load_state_dict(network.state_dict())
    assert not torch.equal(after, before)
    assert torch.equal(after, fresh(x))
    assert scores(network) == scores(fresh) != scored


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_parameters_from_outside_and_copies_are_seen(name):
    network, other, x = small_network(name).eval(), small_network(name, seed=1).eval(), images(2)
    want, others = network(x), other(x)
    called = torch.func.functional_call(network, {**other.state_dict()}, (x,))
    torch.testing.assert_close(called, others, rtol=1e-4, atol=1e-5)
    assert torch.equal(network(x), want)
    copied = copy.deepcopy(network)
    copied.load_state_dict(other.state_dict())
    assert torch.equal(copied(x), others)
    assert torch.equal(network(x), want)


class KilledError(Exception):
    pass


def trained(directory, network, recipe, kill_after=None):
    def stop(row):
        if row["epoch"] == kill_after:
            raise KilledError

    options = {"directory": directory, "seed": 0, "precision": "fp32", "device": "cpu", "show_progress": False}
    return train(network, small_digits(resolution=32), recipe, on_epoch=stop, **options)


@pytest.mark.parametrize(
    "build",
    [
        lambda: unified("shifted_window"),
        pytest.param(lambda: unified("halo", relative_embedding="query_free"), marks=pytest.mark.slow),
        pytest.param(lambda: contnet(relative_position_bias=True), marks=pytest.mark.slow),
    ],
    ids=["shifted_window", "halo", "contnet"],
)
def test_a_run_that_was_killed_and_continued_has_the_scores_of_its_last_weights(build, tmp_path):
    """Steps of other sizes than validation's batches; the average of the weights has its own scores."""
    recipe = recipe_settings(epochs=3, batch_size=480, learning_rate=LEARNING_RATE, ema_decay=0.5)
    with pytest.raises(KilledError):
        trained(tmp_path, build(), recipe, kill_after=2)
    trained(tmp_path, build(), recipe)
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    for file, prefix in (("last", ""), ("last_ema", "ema_")):
        fresh = build()
        load_weights(fresh, tmp_path / "checkpoints" / f"{file}.safetensors")
        settings = {"precision": "fp32", "device": "cpu", "batch_size": 64, "show_progress": False}
        found = evaluate(fresh, small_digits(resolution=32), **settings)
        for metric in ("validation_loss", "top1_percent", "top5_percent"):
            assert found[metric] == last[prefix + metric], (file, metric)


def test_validation_leaves_a_network_that_learns(tmp_path):
    """Forms end with the validation: parameters get gradients, and modules are the network's own."""
    network = small_network("shifted_window")
    before = list(network.modules())
    scores(network)
    assert list(network.modules()) == before
    assert all(parameter.requires_grad for parameter in network.parameters())
    step(learner_of(network))
