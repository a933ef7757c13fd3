"""Accuracy without the mixers: every training cell says what its mixers contribute."""

import torch

from architectures import NetworkSpec, build_network
from tests.training.examples import brief, small_digits, tiny_network
from training.contribution import top1_without_mixers
from training.evaluate import evaluate
from training.nonfinite import NonFiniteLossError
from training.train import train

NAMES = ["top1_without_mixers_percent", *(f"top1_without_mixer_stage_{stage}" for stage in (1, 2, 3, 4))]


def network(mixer: str = "depthwise_conv"):
    torch.manual_seed(0)
    spec = NetworkSpec(mixer=mixer, scale="nano", num_classes=10, options={"layer_scale_init": 1.0}, img_size=(8, 8))
    return build_network(spec)


def trained(tmp_path, network):
    return train(
        network,
        small_digits(),
        brief(),
        directory=tmp_path,
        seed=0,
        precision="fp32",
        device="cpu",
        show_progress=False,
    )


def test_a_training_says_what_its_network_scores_without_mixers(tmp_path):
    net = network()
    results = trained(tmp_path, net)
    assert set(NAMES) <= set(results)
    for block in (block for stage in net.stages for block in stage.blocks):
        torch.nn.init.zeros_(block.mixer.output_proj.weight)
        torch.nn.init.zeros_(block.mixer.output_proj.bias)
    silent = evaluate(net, small_digits(), precision="fp32", device="cpu", batch_size=355, show_progress=False)[
        "top1_percent"
    ]
    assert results["top1_without_mixers_percent"] == silent


def test_the_network_itself_stays_as_it_is(tmp_path):
    net = network()
    results = trained(tmp_path, net)
    again = evaluate(net, small_digits(), precision="fp32", device="cpu", batch_size=355, show_progress=False)
    assert again["top1_percent"] == results["top1_percent"]
    assert not any(module._forward_hooks for module in net.modules())


def test_each_stage_is_silenced_alone():
    net, image = network().eval(), torch.randn(2, 3, 8, 8)
    whole = net(image)
    answers = []

    def answer() -> float:
        answers.append(net(image))
        return 0.0

    assert list(top1_without_mixers(net, answer)) == NAMES
    differences = [float((answer - whole).detach().abs().max()) for answer in answers]
    assert min(differences) > 0
    assert len(set(differences)) == len(NAMES)


def test_networks_of_their_own_have_no_such_scores(tmp_path):
    assert not set(NAMES) & set(trained(tmp_path, tiny_network()))


def test_answers_that_are_not_finite_leave_the_score_out():
    def not_finite() -> float:
        raise NonFiniteLossError("not finite")

    net = network()
    assert top1_without_mixers(net, not_finite) == {}
    assert not any(module._forward_hooks for module in net.modules())
