"""The commands of the README, as a new user types them, from a folder of their own."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch

from architectures import NetworkSpec, build_network
from architectures.budget import scale_budget
from tests.commands import command, fresh_command
from training.checkpoint import save_weights

ROOT = Path(__file__).parent.parent
# Small enough for a test: few steps of a small network on digits.
QUICK = ["data=digits", "recipe=short", "recipe.epochs=1", "recipe.batch_size=256", "tracking.mode=disabled"]


def records(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("runs/*/*/record.json"))]


@pytest.fixture
def my_mixer(tmp_path):
    """The mixer that the README shows, word for word."""
    block = re.search(r"```python\n(# my_mixer\.py.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    path = tmp_path / "my_mixer.py"
    path.write_text(block.group(1))
    return path


@pytest.fixture
def my_task(tmp_path):
    """The task that the README shows, word for word."""
    block = re.search(r"```python\n(# my_task\.py.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    path = tmp_path / "my_task.py"
    path.write_text(block.group(1))
    return path


def test_a_task_of_ones_own_has_a_section_in_the_table(tmp_path, my_task):
    spec = NetworkSpec(mixer="depthwise_conv", scale="nano", num_classes=10, img_size=(32, 32))
    save_weights(build_network(spec), tmp_path / "light.safetensors")
    ask = [f"task_module={my_task}", "task=dark", "mixer=depthwise_conv", "scale=nano", "weights=light.safetensors"]
    done = command("-m", *ask, *QUICK, "task.brightness=0,1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    dark, light = sorted(records(tmp_path), key=lambda record: record["config"]["task"]["brightness"])
    assert dark["status"] == light["status"] == "completed"
    assert dark["cell"] != light["cell"]
    assert 5 < dark["results"]["dark_top1_percent"] < 15  # whatever it answers, it answers one class of ten
    assert "no records to compare" in command("task=table", cwd=tmp_path).stderr  # which knows nothing of the task
    shown = command("task=table", f"task_module={my_task}", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "In the dark" in shown.stdout
    assert f"{dark['results']['dark_top1_percent']:.2f}" in shown.stdout
    page = (tmp_path / "runs" / "tables" / "report.html").read_text()
    assert '<section class="sortable" id="dark"><h2>In the dark</h2>' in page
    misspelt = command(*ask, *QUICK, "task.brightnes=1", cwd=tmp_path)
    assert misspelt.returncode == 2
    assert "did you mean task.brightness?" in misspelt.stderr
    my_task.write_text(my_task.read_text().replace("batch_size=64", "batch_size=32"))
    again = command(*ask, *QUICK, "task.brightness=1", cwd=tmp_path)
    assert "done before" not in again.stdout
    assert len(records(tmp_path)) == 3


def test_help_lists_every_group_and_its_choices(tmp_path):
    printed = command("--help", cwd=tmp_path).stdout
    for group, choice in (
        ("mixer", "inhomogeneous_dynamic_depthwise_conv"),
        ("network", "contnet_medium"),
        ("data", "fashion_mnist"),
        ("recipe", "unified_attention"),
        ("task", "evaluate"),
        ("platform", "here"),
        ("experiment", "digits"),
    ):
        line = next(line for line in printed.splitlines() if line.startswith(f"{group}:"))
        assert choice in line
    assert not list(tmp_path.iterdir())


def test_a_sweep_of_complexities_prints_one_table_of_all_cells(tmp_path):
    done = command("-m", "mixer=halo,dcnv3", "scale=micro,tiny", "task=complexity", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = records(tmp_path)
    assert {(record["config"]["mixer"]["name"], record["config"]["scale"]) for record in found} == {
        (mixer, scale) for mixer in ("halo", "dcnv3") for scale in ("micro", "tiny")
    }
    params = {record["name"]: record["results"]["params"] for record in found}
    assert params["halo-micro-complexity"] == 4_389_672
    assert params["dcnv3-tiny-complexity"] == 29_933_272
    rows = [line for line in done.stdout.splitlines() if re.search(r"(halo|dcnv3).*(micro|tiny).*\d\.\d", line)]
    assert len(rows) >= 4
    again = command("-m", "mixer=halo,dcnv3", "scale=micro,tiny", "task=complexity", cwd=tmp_path)
    assert "4 done before" in again.stdout


def test_a_mixer_of_ones_own_is_trained_and_stands_in_the_table(tmp_path, my_mixer):
    mine = [f"mixer_module={my_mixer}", "mixer=shift", "scale=micro", "sweep=mine"]
    assert command(*mine, "task=complexity", cwd=tmp_path).returncode == 0
    done = command(*mine, "task=train", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    by_task = {record["task"]: record for record in records(tmp_path)}
    budget = 4_389_672
    assert abs(by_task["complexity"]["results"]["params"] / budget - 1) < 0.02
    assert 0 <= by_task["train"]["results"]["top1_percent"] <= 100
    table = command("task=table", "sweep=mine", cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    [csv_file] = tmp_path.glob("runs/mine/tables/*.csv")
    assert any("shift" in row.values() for row in csv.DictReader(csv_file.read_text().splitlines()))
    quick = ["task.seconds=0.0", "task.warmup_seconds=0.0", "tracking.mode=disabled"]
    speed = ["task=speed", "subject=mixer", "dim=32", "resolution=[8,8]", *quick]
    done = command(*mine[:2], "sweep=mine", *speed, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["macs"] for record in records(tmp_path) for row in record["rows"]} == {8 * 8 * 32**2}
    # An edit of the file is another mixer: its cells are not taken for done.
    my_mixer.write_text(my_mixer.read_text().replace("distance: int = 1", "distance: int = 2"))
    command(*mine, "task=complexity", cwd=tmp_path)
    assert sum(record["task"] == "complexity" for record in records(tmp_path)) == 2


@pytest.mark.parametrize(
    "network",
    [
        ["mixer=shifted_window", "scale=micro", "network.options.layer_scale_init=0.1"],
        pytest.param(
            [
                "mixer=halo",
                "mixer.relative_embedding=query_free",
                "scale=micro",
                "network.options.layer_scale_init=0.1",
            ],
            marks=pytest.mark.slow,
        ),
        pytest.param(["network=contnet_tiny", "network.options.relative_position_bias=true"], marks=pytest.mark.slow),
    ],
    ids=["shifted_window", "halo", "contnet"],
)
def test_a_trained_cell_is_evaluated_from_its_directory(network, tmp_path):
    """And has the scores of its last epoch, bit for bit, although the tables of biases changed since the first."""
    cell = [*network, *QUICK, "recipe.epochs=2", "recipe.learning_rate=1e-2"]
    assert command(*cell, "task=train", cwd=tmp_path).returncode == 0
    [trained] = records(tmp_path)
    [directory] = tmp_path.glob("runs/default/*")
    assert (directory / "checkpoints" / "best.safetensors").is_file()
    *_, last = [json.loads(row) for row in (directory / "metrics.jsonl").read_text().splitlines()]
    assert last["epoch"] == 2
    done = command(*cell, "task=evaluate", f"weights={directory}", "sweep=evaluations", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    [evaluated] = [record for record in records(tmp_path) if record["task"] == "evaluate"]
    for score in ("validation_loss", "top1_percent", "top5_percent"):
        assert evaluated["results"][score] == trained["results"][score] == last[score]
    assert evaluated["environment"]["kernels"].keys() >= {"gelu", "linear", "residual"}


def test_a_sweep_with_a_failing_cell_finishes_and_exits_with_1(tmp_path):
    """A learning rate that overflows is found by the cell itself, not beforehand."""
    done = command(
        "-m", "mixer=identity", "scale=micro", "task=train", "sweep=mixed", *QUICK,
        "recipe.clip_gradient_norm=null", "recipe.warmup_epochs=0", "recipe.learning_rate=1e-3,1e30",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert sorted(record["status"] for record in records(tmp_path)) == ["completed", "failed"]
    failed = next(record for record in records(tmp_path) if record["status"] == "failed")
    assert "loss" in failed["reason"]
    assert failed["reason"].split(": ", 1)[1][:20] in done.stdout.replace("\n", " ")
    assert "Traceback" not in done.stderr
    status = command("status", "mixed", cwd=tmp_path, program="launch")
    assert status.returncode == 1
    assert "failed" in status.stdout


def test_a_mistake_in_any_cell_is_found_before_the_first_one_starts(tmp_path):
    done = command("-m", "mixer=halo", "scale=micro", "task=complexity", "mixer.block_size=7,0", cwd=tmp_path)
    assert done.returncode == 2
    assert "block_size" in done.stderr
    assert "Traceback" not in done.stderr
    assert not records(tmp_path)
    single = command("mixer=halo", "scale=micro", "task=complexity", "mixer.num_heads=3", cwd=tmp_path)
    assert single.returncode == 2
    assert "num_heads" in single.stderr
    assert "Traceback" not in single.stderr


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("recipe.no_decay=['*pe.*']", "recipe.no_decay: '*pe.*' matches no whole name of a parameter"),
        ("recipe.random_augment=rand-zzz", "recipe.random_augment='rand-zzz'"),
    ],
)
def test_a_recipe_that_would_not_do_what_it_says_is_refused(mistake, said, tmp_path):
    done = command("network=contnet_tiny", "recipe=contnet_strong", "data=digits", "task=train", mistake, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_weights_that_nobody_trained_are_named_and_not_trained_on(tmp_path):
    network = build_network(NetworkSpec(mixer="depthwise_conv", scale="micro", num_classes=10))
    network.head.bias.data[3] = torch.nan
    save_weights(network, tmp_path / "nan.safetensors")
    torch.save({0: torch.ones(1)}, tmp_path / "numbers.pth")
    torch.save({"model": Path}, tmp_path / "code.pth")
    said = {
        "nan.safetensors": "head.bias holds NaN or infinite values (1 of 10)",
        "numbers.pth": "an entry is called 0, which is a int and no name",
        "code.pth": "it holds objects beside tensors and plain values (pathlib.Path)",
    }
    cells = ["mixer=depthwise_conv", "scale=micro", "task=train", f"weights={','.join(said)}", *QUICK]
    done = command("-m", *cells, cwd=tmp_path)
    assert done.returncode == 1
    reasons = {record["config"]["weights"]: record["reason"] for record in records(tmp_path)}
    for file, words in said.items():
        assert file in reasons[file]
        assert words in reasons[file]
    assert "learning_rate" not in reasons["nan.safetensors"]
    assert "weights_only" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mixer=halo", "scale=micro", "mixer.blocksize=7"], "did you mean mixer.block_size?"),
        (["-m", "mixer=halo", "scale=micro,tiny", "mixer.blocksize=7"], "did you mean mixer.block_size?"),
        (["-m", "mixer=hallo,halo", "scale=micro"], "window_mlp; did you mean halo?"),
        (["mixer=halo", "scale=micro", "sweep=../../evil"], "sweep=../../evil: must be 1 to 100 letters"),
        (["-m", "mixer=halo", "scale=micro", "sweep=../../evil"], "sweep=../../evil: must be 1 to 100 letters"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_and_leaves_no_cell(tmp_path, arguments, said):
    (tmp_path / "here").mkdir()
    done = command(*arguments, cwd=tmp_path / "here")
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("config.yaml"))
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_an_output_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    cell = ["mixer=identity", "scale=micro", "output=file"]
    for arguments in (cell, ["-m", *cell], ["task=ledger", "task.destination=file/below"]):
        done = command(*arguments, cwd=tmp_path)
        assert done.returncode == 1
        assert "that is a file, or lies in one: give another folder" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_terminal_of_ascii_characters(tmp_path, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    monkeypatch.setenv("PYTHONUTF8", "0")
    sweep = ["mixer=identity,pooling", "scale=micro", "data=digits", "task=speed", "tracking.mode=disabled"]
    quick = ["task.seconds=0", "task.warmup_seconds=0", "task.modes=[inference]"]
    for arguments in (["-m", *sweep, *quick], ["task=table"]):
        done = fresh_command(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "\\u" not in done.stdout
    status = fresh_command("status", "default", cwd=tmp_path, program="launch")
    assert status.returncode == 0, status.stderr


def test_a_table_without_records_says_so(tmp_path):
    done = command("task=table", cwd=tmp_path)
    assert done.returncode != 0
    assert "runs" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_prints_the_plan_and_leaves_nothing(tmp_path):
    """ImageNet's images are not needed: their number is known."""
    done = command(
        "network=dwnet_tiny", "recipe=dwnet", "data.resolution=32", "task=train", "task.dry_run=true", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    for text in ("24,102,720", "70,024", "0.05", "25,020", "1,024 a step", "375,300 in all", "MiB", "optimiser 184"):
        assert text in done.stdout
    assert not list(tmp_path.iterdir())
    refused = command("network=dwnet_tiny", "task=train", "task.dry_run=true", "task.dry_run_images=1", cwd=tmp_path)
    assert refused.returncode == 2
    assert "task.dry_run_images=1" in refused.stderr


def test_the_loader_is_measured_and_says_what_binds(tmp_path):
    options = ["data=digits", "recipe=short", "task.seconds=0.1", "tracking.mode=disabled"]
    done = command("mixer=identity", "scale=micro", "task=loader", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "images/s: the network binds" in done.stdout
    [record] = records(tmp_path)
    assert record["results"]["loader_images_per_second"] > record["results"]["step_images_per_second"] > 0
    assert record["config"]["data"]["decoder"] == "simplejpeg"


def test_a_data_set_that_is_not_there_says_where_to_get_it(tmp_path):
    done = command("network=resnet18", "task=evaluate", "weights=official", "data=imagenet_a", cwd=tmp_path)
    assert done.returncode == 2
    assert "imagenet-a.tar from https://" in done.stderr


def test_speeds_of_another_machine_are_ranked_only_when_asked_for(tmp_path):
    quick = ["task.seconds=0.0", "task.warmup_seconds=0.0", "task.modes=[inference]", "tracking.mode=disabled"]
    compared = ["task=speed", "task.compare=[pooling,identity]", "scale=micro", "data=digits", *quick]
    done = command(*compared, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "× pooling" in done.stdout
    alone = ["task=speed", "subject=mixer", "mixer=halo", "dim=32", "resolution=[7,9]", *quick]
    assert command(*alone, cwd=tmp_path).returncode == 0
    assert command("task=table", cwd=tmp_path).returncode == 0
    [record] = [path for path in tmp_path.glob("runs/*/*/record.json") if "identity" in path.parent.name]
    content = json.loads(record.read_text())
    content["rows"][1]["fingerprint"] = "elsewhere"
    record.write_text(json.dumps(content))
    refused = command("task=table", cwd=tmp_path)
    assert refused.returncode == 1
    assert "elsewhere (cpu: identity)" in refused.stderr
    assert "task.mixed_fingerprints=true" in refused.stderr
    assert "Traceback" not in refused.stderr
    asked_for = command("task=table", "task.mixed_fingerprints=true", cwd=tmp_path)
    assert asked_for.returncode == 0, asked_for.stderr
    speeds = list(csv.DictReader((tmp_path / "runs" / "tables" / "speed.csv").read_text().splitlines()))
    assert {(row["mixer"], row["subject"]) for row in speeds} == {
        ("pooling", "network"),
        ("identity", "network"),
        ("halo", "mixer"),
    }


def test_windows_take_their_shift_along(tmp_path):
    """The README's own example, and a window that is smaller than the shift of the usual one."""
    done = command("-m", "mixer=shifted_window", "mixer.window_size=3,14", "scale=micro", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [record["status"] for record in records(tmp_path)] == ["completed"] * 2


def test_budgets_are_kept_by_published_mixers_and_said(tmp_path):
    done = command("-m", "mixer=sra", "scale=micro", "network.budget=macs,shape,null", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = {record["details"]["network"]["budget"]: record for record in records(tmp_path)}
    assert set(found) == {"macs", "shape", "published"}
    assert found["published"]["results"]["params"] == 4_454_056
    # The median of the published rows at micro, of which this one's has 7 % less.
    assert abs(found["macs"]["results"]["macs"] / scale_budget("micro", "macs") - 1) < 0.02
    assert found["shape"]["details"]["network"] == {
        "budget": "shape", "dims": [32, 64, 128, 256], "depths": [2, 2, 9, 2]
    }  # fmt: skip
    assert "2 2 9 2" in done.stdout
    table = command("task=table", cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    [csv_file] = tmp_path.glob("runs/tables/*.csv")
    rows = list(csv.DictReader(csv_file.read_text().splitlines()))
    assert sorted(row["budget"] for row in rows) == ["macs", "published", "shape"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["network=dwnet_tiny", "network.budget=macs"], "network.budget is for network=unified"),
        (["mixer=halo", "scale=tiny", "network.options.budget=macs"], "budget"),
        (["mixer=pooling", "scale=tiny", "network.budget=published"], "there is no row of pooling at scale tiny"),
        (["mixer=halo", "scale=tiny", "network.dims=[64,128]"], r"dims=\(64, 128\): must be 4 whole numbers"),
    ],
)
def test_impossible_budgets_are_refused(tmp_path, arguments, words):
    done = command(*arguments, "task=complexity", cwd=tmp_path)
    assert done.returncode != 0
    assert re.search(words, done.stderr)
    assert "Traceback" not in done.stderr
    assert not records(tmp_path)


WRONG = """
import torch
from mixers import Mixer, register

@register("wrong")
class Wrong(Mixer):
    def __init__(self, dim: int, resolution: tuple[int, int], *, fault: str = "shape") -> None:
        super().__init__(dim, resolution)
        self.fault = fault
        self.proj = torch.nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 1:] if self.fault == "shape" else self.proj(x) / 0 * 0
"""


def test_a_mixer_that_returns_another_shape_or_nan_is_told_where(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    wrong = ["mixer_module=wrong.py", "mixer=wrong", "scale=micro", "network.budget=shape", "task=train", *QUICK]
    done = command(*wrong, cwd=tmp_path)
    assert done.returncode != 0
    where = "mixer wrong in stage 1 of 4, block 1 of 2 (stages.0.blocks.0.mixer)"
    assert f"{where} returns (2, 7, 8, 32) for maps of (2, 8, 8, 32): a mixer must keep their shape" in done.stderr
    assert "Traceback" not in done.stderr
    assert not records(tmp_path)
    assert command(*wrong, "mixer.fault=division", cwd=tmp_path).returncode == 1
    [record] = records(tmp_path)
    assert record["status"] == "failed"
    assert f"the first tensor that is not finite is the output of {where}" in record["reason"]
