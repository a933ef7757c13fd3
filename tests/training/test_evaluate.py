"""Scores against counting by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.contrasts import read_outcomes
from tests.training.examples import small_digits, tiny_network
from training.data import digits
from training.data.findings import Findings
from training.evaluate import NonFiniteLossError, evaluate, validate

OPTIONS = {"precision": "fp32", "device": "cpu", "batch_size": 100, "show_progress": False}


def test_scores_are_those_counted_by_hand():
    network = tiny_network()
    data = small_digits()
    scores = evaluate(network, data, **OPTIONS)
    images = digits.load(data, "validation")
    mean, std = torch.tensor(data.mean)[:, None, None], torch.tensor(data.std)[:, None, None]
    with torch.no_grad():
        logits = network((images.pixels.float() / 255 - mean) / std)
    order = logits.argsort(dim=1, descending=True)
    assert scores["validation_images"] == 355
    assert scores["top1_percent"] == pytest.approx(100 * (order[:, 0] == images.labels).float().mean().item())
    right5 = sum(int(label) in best[:5].tolist() for best, label in zip(order, images.labels, strict=True))
    assert scores["top5_percent"] == pytest.approx(100 * right5 / 355)
    assert scores["validation_loss"] == pytest.approx(F.cross_entropy(logits, images.labels).item(), rel=1e-5)


def test_what_is_answered_to_each_image_is_left_beside_the_scores(tmp_path):
    scores = evaluate(tiny_network(), small_digits(), **OPTIONS, directory=tmp_path)
    outcomes = read_outcomes(tmp_path / "outcomes.npy")
    assert len(outcomes) == scores["validation_images"] == len(set(outcomes["image"]))
    assert 100 * outcomes["top1"].mean() == scores["top1_percent"]
    assert 100 * outcomes["top5"].mean() == pytest.approx(scores["top5_percent"])
    assert -outcomes["log_probability"].astype("float64").mean() == pytest.approx(scores["validation_loss"], rel=1e-3)
    assert outcomes["label"].tolist() == digits.load(small_digits(), "validation").labels.tolist()


def test_the_batch_size_does_not_change_the_result():
    whole = evaluate(tiny_network(), small_digits(), **OPTIONS | {"batch_size": 355})
    small = evaluate(tiny_network(), small_digits(), **OPTIONS | {"batch_size": 7})
    assert whole["top1_percent"] == small["top1_percent"]
    assert whole["validation_loss"] == pytest.approx(small["validation_loss"], rel=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_really_computes_in_it(precision):
    seen = []
    network = tiny_network()
    network.convolution.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    scores = evaluate(network, small_digits(), **OPTIONS | {"precision": precision})
    assert set(seen) == {{"bf16": torch.bfloat16, "fp16": torch.float16}[precision]}
    assert 0 <= scores["top1_percent"] <= 100


def test_with_fewer_than_five_classes_every_guess_is_among_five():
    class ThreeClasses:
        findings = Findings(images=9, max_share=0.0)
        classes = None

        def __len__(self):
            return 1

        def epoch(self, epoch):
            yield torch.zeros(9, 3, 8, 8), torch.arange(9) % 3

    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    assert validate(network, ThreeClasses(), lambda pixels: pixels, "fp32")["top5_percent"] == 100


def test_of_several_right_answers_any_counts_and_images_without_one_do_not():
    class SeveralAnswers:
        findings = Findings(images=4, max_share=0.0)
        classes = None

        def epoch(self, epoch):
            yield torch.eye(6)[:4], torch.tensor([[0, -1], [5, 1], [-1, -1], [0, 1]])

    class Sharp(nn.Module):
        def forward(self, images):
            return 10 * images - torch.arange(6) * 1e-3  # the image's own class first, then in order

    scores = validate(Sharp(), SeveralAnswers(), lambda pixels: pixels, "fp32")
    assert scores["validation_images"] == 3
    assert scores["top1_percent"] == pytest.approx(200 / 3)
    assert scores["top5_percent"] == 100
    logits = Sharp()(torch.eye(6)[:4])
    chances = logits.softmax(1)
    expected = -(chances[0, 0].log() + chances[1, [1, 5]].sum().log() + chances[3, [0, 1]].sum().log()) / 3
    assert scores["validation_loss"] == pytest.approx(float(expected), rel=1e-5)


def test_answers_that_are_not_finite_are_an_error():
    class Broken(nn.Module):
        def forward(self, images):
            return images.new_full((len(images), 10), float("nan"))

    with pytest.raises(NonFiniteLossError, match="not finite"):
        evaluate(Broken(), small_digits(), **OPTIONS)


def test_an_unknown_precision_names_the_choices():
    with pytest.raises(ValueError, match=r"precision='fp8'.*fp32, bf16, fp16"):
        evaluate(tiny_network(), small_digits(), **OPTIONS | {"precision": "fp8"})
