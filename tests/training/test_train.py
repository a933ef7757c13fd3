"""The loop on real images: it learns, repeats itself, continues where it was killed, and says what went wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from analysis.contrasts import read_outcomes
from architectures import NetworkSpec, build_network
from tests.training.examples import brief, recipe_settings, small_digits, tiny_network
from training.evaluate import NonFiniteLossError, evaluate
from training.learner import Learner, mean_loss
from training.settings import TrainSettings
from training.train import train
from training.weights import load_weights

CPU = torch.device("cpu")
REPOSITORY = Path(__file__).parents[2]
# Everything that draws random numbers or keeps state is switched on.
EVERYTHING = {
    "epochs": 3,
    "mixup": 0.8,
    "cutmix": 1.0,
    "mix_probability": 0.8,
    "cutmix_share": 0.5,
    "random_erasing": 0.3,
}
EVERYTHING |= {"ema_decay": 0.9, "accumulation": 2}


class KilledError(Exception):
    pass


def run(directory, recipe, *, network=None, data=None, seed=0, kill_after=None, precision="fp32", settings=None):
    def stop(row):
        if row["epoch"] == kill_after:
            raise KilledError

    return train(
        network or tiny_network(),
        data or small_digits(),
        recipe,
        directory=directory,
        seed=seed,
        precision=precision,
        device="cpu",
        settings=settings,
        on_epoch=stop,
        show_progress=False,
    )


def rows(directory, name="metrics"):
    return [json.loads(line) for line in (directory / f"{name}.jsonl").read_text().splitlines()]


def weights(directory, name="last"):
    return load_file(directory / "checkpoints" / f"{name}.safetensors")


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_it_learns_digits_and_leaves_what_it_promises(tmp_path):
    recipe = recipe_settings(epochs=4, learning_rate=0.01)
    seen = []
    network = tiny_network()
    scores = train(
        network,
        small_digits(),
        recipe,
        directory=tmp_path,
        seed=0,
        precision="fp32",
        device="cpu",
        on_epoch=seen.append,
        show_progress=False,
    )
    assert scores["top1_percent"] > 85
    lines = [row | timing for row, timing in zip(rows(tmp_path), rows(tmp_path, "timings"), strict=True)]
    assert lines == seen
    assert [row["epoch"] for row in lines] == [1, 2, 3, 4]
    for row in lines:
        assert row["train_images"] == 22 * 64
        assert row["images_per_second"] == pytest.approx(22 * 64 / row["train_seconds"])
        assert 0 <= row["data_wait_percent"] <= 100
        assert row["top1_percent"] <= row["top5_percent"] <= 100
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    best = max(lines, key=lambda row: row["top1_percent"])
    assert (scores["best_top1_percent"], scores["best_epoch"]) == (best["top1_percent"], best["epoch"])
    assert {name: scores[name] for name in ("top1_percent", "top5_percent", "train_loss", "validation_loss")} == {
        name: lines[-1][name] for name in ("top1_percent", "top5_percent", "train_loss", "validation_loss")
    }
    assert scores["train_images_per_second"] == pytest.approx(4 * 22 * 64 / sum(row["train_seconds"] for row in lines))
    fresh = tiny_network(seed=9)
    load_weights(fresh, tmp_path)
    again = evaluate(fresh, small_digits(), precision="fp32", device="cpu", batch_size=64, show_progress=False)
    assert again["top1_percent"] == scores["top1_percent"]
    load_weights(fresh, tmp_path / "checkpoints" / "best")
    again = evaluate(fresh, small_digits(), precision="fp32", device="cpu", batch_size=64, show_progress=False)
    assert again["top1_percent"] == scores["best_top1_percent"]


def test_the_last_epoch_leaves_the_answer_to_each_image(tmp_path):
    asked = []

    def look(row):
        asked.append((tmp_path / "outcomes.npy").exists())

    recipe = brief(ema_decay=0.5)
    options = {"directory": tmp_path, "seed": 0, "precision": "fp32", "device": "cpu", "show_progress": False}
    results = train(tiny_network(), small_digits(), recipe, on_epoch=look, **options)
    assert asked == [False, True]
    for file, top1 in (("outcomes.npy", "top1_percent"), ("outcomes_ema.npy", "ema_top1_percent")):
        assert 100 * read_outcomes(tmp_path / file)["top1"].mean() == pytest.approx(results[top1])


def test_the_seed_decides_everything(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.rand(seed + len(name))  # whatever was drawn before must not matter
        run(tmp_path / name, brief(**EVERYTHING), seed=seed)
    assert rows(tmp_path / "a") == rows(tmp_path / "b") != rows(tmp_path / "c")
    assert equal(weights(tmp_path / "a"), weights(tmp_path / "b"))


@pytest.mark.parametrize("changes", [EVERYTHING, {"random_augment": "rand-m9-mstd0.5-inc1"}])
def test_a_killed_run_continues_as_if_nothing_had_happened(tmp_path, changes):
    recipe = brief(**changes)
    straight = run(tmp_path / "straight", recipe)
    for epoch in range(1, recipe.epochs):
        with pytest.raises(KilledError):
            run(tmp_path / "killed", recipe, network=tiny_network(seed=epoch - 1), kill_after=epoch)
    continued = run(tmp_path / "killed", recipe, network=tiny_network(seed=7))
    assert continued["top1_percent"] == straight["top1_percent"]
    assert rows(tmp_path / "killed") == rows(tmp_path / "straight")
    for name in ("last", "best") + (("last_ema",) if recipe.ema_decay else ()):
        assert equal(weights(tmp_path / "killed", name), weights(tmp_path / "straight", name)), name


def test_sigkill_at_any_moment_changes_nothing(tmp_path):
    code = (
        "import pathlib, sys; from tests.training.test_train import *;"
        "run(pathlib.Path(sys.argv[1]), brief(**EVERYTHING | {'epochs': 400}))"
    )
    victim = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "killed")], cwd=REPOSITORY)
    metrics = tmp_path / "killed" / "metrics.jsonl"
    while victim.poll() is None and not (metrics.exists() and len(metrics.read_text().splitlines()) > 2):
        time.sleep(0.003)
    victim.send_signal(signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    reached = len(metrics.read_text().splitlines())
    recipe = brief(**EVERYTHING | {"epochs": 400})
    for name in ("killed", "straight"):
        with pytest.raises(KilledError):
            run(tmp_path / name, recipe, kill_after=reached + 3)
    assert rows(tmp_path / "killed") == rows(tmp_path / "straight")
    assert equal(weights(tmp_path / "killed"), weights(tmp_path / "straight"))


def test_a_damaged_last_state_costs_one_epoch_only(tmp_path, caplog):
    recipe = brief(**EVERYTHING)
    run(tmp_path / "straight", recipe)
    with pytest.raises(KilledError):
        run(tmp_path / "damaged", recipe, kill_after=2)
    state = tmp_path / "damaged" / "checkpoints" / "trainer_step_00000006.pt"
    state.write_bytes(state.read_bytes()[:-100])
    run(tmp_path / "damaged", recipe)
    assert "trainer_step_00000006.pt is damaged" in caplog.text
    assert rows(tmp_path / "damaged") == rows(tmp_path / "straight")


def test_a_finished_run_is_not_repeated(tmp_path):
    first = run(tmp_path, brief())
    before = (tmp_path / "metrics.jsonl").read_text()
    network = tiny_network(seed=3)
    assert run(tmp_path, brief(), network=network) == first
    assert (tmp_path / "metrics.jsonl").read_text() == before
    assert equal(network.state_dict(), weights(tmp_path))


def test_another_runs_directory_is_refused(tmp_path):
    run(tmp_path, brief())
    with pytest.raises(ValueError, match=r"holds a run with recipe.epochs=2, not 3: use another directory"):
        run(tmp_path, brief(epochs=3))
    with pytest.raises(ValueError, match=r"holds a run with seed=0, not 1"):
        run(tmp_path, brief(), seed=1)
    with pytest.raises(ValueError, match=r"holds a run of another network"):
        run(tmp_path, brief(), network=nn.Sequential(nn.Flatten(), nn.Linear(192, 10)))
    assert run(tmp_path, brief(), data=small_digits(root="/elsewhere", workers=1))["epochs"] == 2


class LosesItself(nn.Module):
    """Answers NaN from a given step on."""

    def __init__(self, at):
        super().__init__()
        self.inner = tiny_network()
        self.left = at

    def forward(self, images):
        self.left -= self.training
        return self.inner(images) * (float("nan") if self.left < 0 else 1.0)


def test_a_loss_that_is_not_finite_stops_with_its_step_and_keeps_the_epochs_before(tmp_path):
    with pytest.raises(NonFiniteLossError, match=r"became nan at step 4 \(epoch 2, step 2 of 3\)"):
        run(tmp_path, brief(), network=LosesItself(at=4))
    assert [row["epoch"] for row in rows(tmp_path)] == [1]
    assert all(value.isfinite().all() for value in weights(tmp_path).values())


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = tiny_network(0), tiny_network(1)

    def forward(self, images):
        first, second = self.first(images), self.second(images)
        return (first, second) if self.training else first + second


def test_two_answers_are_trained_on_the_mean_of_their_losses(tmp_path):
    torch.manual_seed(0)
    answers, labels = (torch.randn(6, 10), torch.randn(6, 10)), torch.arange(6)
    expected = sum(nn.functional.cross_entropy(answer, labels) for answer in answers) / 2
    assert mean_loss(answers, labels, 0.0) == pytest.approx(expected.item())
    assert run(tmp_path, brief(), network=TwoHeads())["epochs"] == 2


@pytest.mark.parametrize("parts", [2, 5])
def test_accumulation_gives_the_gradient_of_the_whole_batch(parts):
    images, labels = torch.randn(20, 3, 8, 8), torch.arange(20) % 10
    learners = [
        Learner(
            nn.Sequential(nn.Flatten(), nn.Linear(192, 10)),
            recipe_settings(batch_size=20, accumulation=accumulation, optimizer="sgd", optimizer_options={}),
            precision="fp32",
            device=CPU,
        )
        for accumulation in (1, parts)
    ]
    learners[1].network.load_state_dict(learners[0].network.state_dict())
    losses = [learner.step(images, labels, 0.1, 0.1) for learner in learners]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    for one, other in zip(*(learner.network.parameters() for learner in learners), strict=True):
        assert torch.allclose(one, other, atol=1e-7)


def test_accumulation_shows_batch_norms_a_part_at_a_time():
    images, labels = torch.randn(20, 3, 8, 8), torch.arange(20) % 10
    network = tiny_network()
    learner = Learner(network, recipe_settings(batch_size=20, accumulation=2), precision="fp32", device=CPU)
    convolution = deepcopy(network.convolution)
    learner.step(images, labels, 0.1, 0.1)
    expected = torch.zeros(16)
    for part in images.chunk(2):
        expected = 0.9 * expected + 0.1 * convolution(part).mean((0, 2, 3))
    assert torch.allclose(network.norm.running_mean, expected, atol=1e-6)
    assert network.norm.num_batches_tracked == 2


def test_gradients_are_clipped_to_the_norm():
    recipe = recipe_settings(
        clip_gradient_norm=0.01, optimizer="momentum", optimizer_options={"momentum": 0.0}, weight_decay=0.0
    )
    network = tiny_network()
    learner = Learner(network, recipe, precision="fp32", device=CPU)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    learner.step(torch.randn(8, 3, 8, 8), torch.arange(8), 1.0, 0.0)
    moved = torch.cat([(new - old).flatten() for new, old in zip(network.parameters(), before, strict=True)])
    assert moved.norm().item() == pytest.approx(0.01, rel=1e-3)


def test_the_moving_average_is_one():
    network = tiny_network()
    learner = Learner(network, recipe_settings(ema_decay=0.75), precision="fp32", device=CPU)
    expected = network.head.weight.detach().clone()
    for _ in range(3):
        learner.step(torch.randn(8, 3, 8, 8), torch.arange(8), 0.01, 0.0)
        expected = 0.75 * expected + 0.25 * network.head.weight.detach()
    assert torch.allclose(learner.average.module.head.weight, expected, atol=1e-6)
    assert int(learner.average.module.norm.num_batches_tracked) == int(network.norm.num_batches_tracked) == 3


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_trains_float32_weights_and_continues(tmp_path, precision):
    seen = set()
    network = tiny_network()
    network.convolution.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    recipe = brief(epochs=3, learning_rate=0.01)
    with pytest.raises(KilledError):
        run(tmp_path, recipe, network=network, precision=precision, kill_after=1)
    scores = run(tmp_path, recipe, network=network, precision=precision)
    assert seen == {{"bf16": torch.bfloat16, "fp16": torch.float16}[precision]}
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert scores["top1_percent"] > 30


def test_what_cannot_work_is_refused_before_anything_is_written(tmp_path):
    for changes, words in (({"recipe": brief(epochs=0)}, "recipe.epochs=0"), ({"precision": "fp8"}, "precision='fp8'")):
        with pytest.raises(ValueError, match=words):
            run(tmp_path / "run", **{"recipe": brief()} | changes)
    with pytest.raises(ValueError, match=r"data.source='none'"):
        run(tmp_path / "run", brief(), data=small_digits(source="none"))
    assert not os.path.exists(tmp_path / "run")


def test_fp16_skips_a_step_whose_gradients_overflow_and_lowers_the_scale():
    network = tiny_network()
    learner = Learner(network, recipe_settings(), precision="fp16", device=CPU)
    network.head.weight.register_hook(
        lambda gradient: gradient * (float("inf") if learner.scaler.get_scale() > 9999 else 1)
    )
    before = network.head.weight.detach().clone()
    scale = learner.scaler.get_scale()
    while learner.scaler.get_scale() > 9999:
        learner.step(torch.randn(8, 3, 8, 8), torch.arange(8), 0.1, 0.0)
        assert torch.equal(network.head.weight, before)
    assert learner.scaler.get_scale() < scale
    learner.step(torch.randn(8, 3, 8, 8), torch.arange(8), 0.1, 0.0)
    assert not torch.equal(network.head.weight, before)


def test_fp16_does_not_skip_for_ever():
    network = tiny_network()
    learner = Learner(network, recipe_settings(), precision="fp16", device=CPU)
    network.head.weight.register_hook(lambda gradient: gradient * float("inf"))
    images, labels = torch.randn(8, 3, 8, 8), torch.arange(8)
    while learner.scaler.get_scale() > 1:
        learner.step(images, labels, 0.1, 0.0)
    with pytest.raises(NonFiniteLossError, match=r"the gradient became infinite at this step.*gradient of head.weight"):
        learner.step(images, labels, 0.1, 0.0)


def unified_step(settings):
    torch.manual_seed(0)
    spec = NetworkSpec("unified", mixer="pooling", scale="micro", num_classes=10, img_size=(32, 32))
    learner = Learner(build_network(spec), recipe_settings(), precision="fp32", device=CPU, settings=settings)
    learner.network.train()
    images, labels = torch.randn(4, 3, 32, 32), torch.arange(4)
    losses = [learner.step(images, labels, 0.01, 0.0).item() for _ in range(2)]
    return losses, learner.network.state_dict()


@pytest.mark.filterwarnings("default")  # of the compiler itself
@pytest.mark.parametrize(
    "settings",
    [
        TrainSettings(gradient_checkpointing=True),
        pytest.param(TrainSettings(compile=True), marks=pytest.mark.slow),
    ],
)
def test_computing_again_and_compiling_change_nothing_but_rounding(settings):
    losses, weights = unified_step(None)
    other_losses, other_weights = unified_step(settings)
    assert losses[0] == pytest.approx(other_losses[0], rel=1e-5)
    # AdamW's first step is as long for a tiny gradient as for a large one, so it enlarges what rounding changed.
    assert losses[1] == pytest.approx(other_losses[1], rel=1e-3)
    assert weights.keys() == other_weights.keys()
    assert int(weights["conv_head.norm.num_batches_tracked"]) == int(
        other_weights["conv_head.norm.num_batches_tracked"]
    )


def test_a_network_without_blocks_cannot_compute_them_again():
    with pytest.raises(ValueError, match=r"task.gradient_checkpointing=true: this network has no blocks"):
        Learner(
            tiny_network(), recipe_settings(), precision="fp32", device=CPU,
            settings=TrainSettings(gradient_checkpointing=True),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"), [("checkpoint_epochs", 0), ("checkpoint_minutes", 0.0), ("kept_checkpoints", 0)]
)
def test_impossible_checkpoint_settings_are_refused(key, value):
    with pytest.raises(ValueError, match=f"task.{key}={value}"):
        TrainSettings(**{key: value})


def test_checkpoints_every_other_epoch_and_as_many_as_asked_for(tmp_path):
    recipe = brief(epochs=5)
    with pytest.raises(KilledError):
        run(tmp_path, recipe, kill_after=4, settings=TrainSettings(checkpoint_epochs=2, kept_checkpoints=1))
    assert [path.name for path in (tmp_path / "checkpoints").glob("trainer_step_*")] == ["trainer_step_00000012.pt"]
    run(tmp_path, recipe, settings=TrainSettings(checkpoint_epochs=2, kept_checkpoints=3))
    assert len(list((tmp_path / "checkpoints").glob("trainer_step_*"))) == 2
    assert [row["epoch"] for row in rows(tmp_path)] == [1, 2, 3, 4, 5]
