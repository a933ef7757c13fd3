"""Two ranks on this machine do what one process does, and every launcher's environment is understood."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from architectures.channels_last import normed
from tests.training.examples import brief, small_digits, tiny_network
from training.distributed import ALONE, Ranks, first_node, meeting_point, ranks_of
from training.synchronized_norm import synchronize_batch_norms
from training.train import train

REPOSITORY = Path(__file__).parents[2]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def start_ranks(code, *arguments, count=2, launcher="torchrun"):
    """The processes of `code`, each with the environment that the launcher would give it."""
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "OMP_NUM_THREADS": "1"}
    processes = []
    for rank in range(count):
        own = {
            "torchrun": {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank},
            "srun": {"SLURM_PROCID": rank, "SLURM_STEP_NUM_TASKS": count, "SLURM_LOCALID": rank},
        }[launcher]
        environment = os.environ | common | {name: str(value) for name, value in own.items()}
        command = [sys.executable, "-c", code, *map(str, arguments)]
        processes.append(
            subprocess.Popen(
                command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    return processes


def run_ranks(code, *arguments, **options):
    processes = start_ranks(code, *arguments, **options)
    try:
        outputs = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    return [output for output, _ in outputs]


SAME = {
    "epochs": 2,
    "sync_batch_norm": True,
    "accumulation": 2,
    "ema_decay": 0.9,
    # Not AdamW: it makes a full step even of a gradient that is zero but for rounding, as that of a bias before a norm.
    "optimizer": "momentum",
    "optimizer_options": {"momentum": 0.9},
    "learning_rate": 0.1,
    "clip_gradient_norm": 1.0,
}


class Deterministic(nn.Module):
    """Without dropout, whose draws each rank makes for itself; batch norms in both layouts."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.other = nn.BatchNorm2d(8)
        self.head = nn.Linear(8 * 16, 10)

    def forward(self, images):
        features = self.norm(self.convolution(images)).relu()
        return self.head(normed(self.other, features.permute(0, 2, 3, 1)).flatten(1))


def learn(directory, ranks=ALONE, **changes):
    return train(
        Deterministic(),
        small_digits(),
        brief(**SAME | changes),
        directory=Path(directory),
        seed=0,
        precision="fp32",
        device="cpu",
        ranks=ranks,
        show_progress=False,
    )


TRAIN = """
import sys
from training.distributed import join, ranks_of
from tests.training.test_distributed import learn
ranks = ranks_of()
join(ranks)
learn(sys.argv[1] if ranks.first else sys.argv[1] + "-elsewhere", ranks)
"""


def test_two_ranks_learn_what_one_process_learns_from_the_double_batch_and_the_first_writes(tmp_path):
    learn(tmp_path / "one")
    run_ranks(TRAIN, tmp_path / "two")
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert len(one) == len(two) == 2
    for first, second in zip(one, two, strict=True):
        assert first == pytest.approx(second, rel=1e-4)
    for name in ("last", "last_ema"):
        alone, together = (load_file(tmp_path / run / "checkpoints" / f"{name}.safetensors") for run in ("one", "two"))
        assert alone.keys() == together.keys()
        for key, value in alone.items():
            assert torch.allclose(value.float(), together[key].float(), atol=2e-5, rtol=1e-4), key


NORM = """
import sys, torch
import torch.distributed as dist
from torch import nn
from training.distributed import join, ranks_of
from training.synchronized_norm import synchronize_batch_norms
ranks = ranks_of()
join(ranks)
close = lambda a, b: torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
for kind in ("map", "flat"):
    torch.manual_seed(0)
    norm = {"map": nn.BatchNorm2d, "flat": nn.BatchNorm1d}[kind](5).double().float()
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    shape = {"map": (8, 5, 3, 4), "flat": (8, 5)}[kind]
    whole, pull = torch.randn(shape) * 3 + 20, torch.randn(shape)
    reference = whole.clone().requires_grad_()
    expected = norm(reference)
    (expected * pull).sum().backward()
    gradients = [p.grad.clone() for p in norm.parameters()]
    statistics = [norm.running_mean.clone(), norm.running_var.clone()]

    norm.zero_grad()
    norm.reset_running_stats()
    parent = nn.Sequential(norm)
    synchronize_batch_norms(parent)
    assert type(parent[0]) is not type(norm) and parent[0].weight is norm.weight
    part = whole[ranks.rank :: 2].clone().requires_grad_()
    answer = parent(part)
    (answer * pull[ranks.rank :: 2]).sum().backward()
    close(answer, expected[ranks.rank :: 2])
    close(part.grad, reference.grad[ranks.rank :: 2])
    for parameter, gradient in zip(parent.parameters(), gradients):
        total = parameter.grad.clone()
        dist.all_reduce(total)
        close(total, gradient)
    for buffer, statistic in zip((parent[0].running_mean, parent[0].running_var), statistics):
        close(buffer, statistic)
    assert int(parent[0].num_batches_tracked) == 1
    parent.eval()
    close(parent(part), norm.eval()(part))
"""


def test_synchronized_batch_norm_is_batch_norm_of_all_ranks_images():
    """Outputs, gradients of inputs and parameters, running statistics; of maps and of vectors."""
    run_ranks(NORM, launcher="srun")


LEFT = """
import atexit
import torch.distributed as dist
atexit.register(lambda: print(dist.is_initialized()))  # runs after what is registered later
from training.distributed import join, ranks_of
join(ranks_of())
"""


def test_a_process_leaves_the_others_before_it_ends():
    """Else gloo's threads abort every seventh process that has completed its work."""
    assert run_ranks(LEFT) == ["False\n", "False\n"]


def test_a_batch_norm_of_unknown_layout_is_refused():
    class Own(nn.BatchNorm2d):
        pass

    with pytest.raises(ValueError, match=r"sync_batch_norm=true: .*0 is a Own, known are"):
        synchronize_batch_norms(nn.Sequential(Own(3)))


def test_a_batch_that_cannot_be_divided_among_the_ranks_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"recipe.batch_size=480 cannot be divided among 7 ranks"):
        train(
            tiny_network(), small_digits(), brief(), directory=tmp_path, seed=0, precision="fp32", device="cpu",
            ranks=Ranks(0, 7, 0), show_progress=False,
        )  # fmt: skip


def test_ranks_come_from_torchrun_or_from_a_slurm_step():
    assert ranks_of({}) == ALONE
    assert ranks_of({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}) == ALONE
    torchrun = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    step = {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "1"}
    assert ranks_of(torchrun | step) == Ranks(5, 8, 1)
    assert ranks_of(step) == Ranks(3, 4, 1)
    # In a batch script of four tasks that starts Python itself, this process is alone.
    assert ranks_of({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0"}) == ALONE
    with pytest.raises(ValueError, match="WORLD_SIZE=2 is set, RANK is not"):
        ranks_of({"WORLD_SIZE": "2"})


def test_ranks_meet_where_they_are_told_or_on_the_first_node():
    assert meeting_point({"MASTER_ADDR": "n1", "MASTER_PORT": "1234"}) == "tcp://n1:1234"
    step = {"SLURM_STEP_NODELIST": "gpu[08-11]", "SLURM_JOB_ID": "71", "SLURM_STEP_ID": "0"}
    assert meeting_point(step) == f"tcp://gpu08:{20_000 + 71 * 101}"
    assert meeting_point(step | {"SLURM_STEP_ID": "1"}) != meeting_point(step)
    with pytest.raises(ValueError, match="MASTER_ADDR is not set"):
        meeting_point({})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("n7", "n7"), ("n0,n1", "n0"), ("n[0-3,7],m1", "n0"), ("gpu[08-11]-ib", "gpu08-ib"), ("a-b-c[3,5]", "a-b-c3")],
)
def test_the_first_node_of_slurms_notation(nodes, first):
    assert first_node(nodes) == first
