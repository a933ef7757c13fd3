"""As somebody types it: what was done before is told by what is in files, from any folder, on any platform."""

import json
import shutil

from tests.commands import command
from tests.slurm.sweeps import write_images
from tests.test_command_line import records

FEW = [
    *("mixer=identity", "scale=micro", "data=image_folder", "data.resolution=32", "data.workers=0", "device=cpu"),
    *("recipe=short", "recipe.epochs=1", "recipe.warmup_epochs=0", "recipe.batch_size=8", "tracking.mode=disabled"),
]

MIXER = """
import torch
from mixers import Mixer, register
from distance_of_shift import distance

@register("shift")
class Shift(Mixer):
    def __init__(self, dim: int, resolution: tuple[int, int]) -> None:
        super().__init__(dim, resolution)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        from parts_of_shift.rolling import roll  # not before it is needed
        return roll(x, distance())

    def macs(self, resolution: tuple[int, int]) -> int:
        return 0

    def receptive_field(self, position: tuple[int, int], resolution: tuple[int, int]) -> torch.Tensor:
        return torch.ones(resolution, dtype=torch.bool)
"""


def test_other_data_and_other_weights_under_the_same_name_are_not_done_before(tmp_path):
    write_images(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "moved")
    write_images(tmp_path / "b")
    for image in (tmp_path / "b").rglob("*.png"):
        swapped = {"dark": "bright", "bright": "dark"}[image.parent.name]
        shutil.copy(tmp_path / "a" / image.relative_to(tmp_path / "b").parts[0] / swapped / image.name, image)
    done = command("-m", *FEW, "task=train", "data.root=a,b,moved", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 cells: 2 completed" in done.stdout
    by_root = {record["config"]["data"]["root"].replace("moved", "a"): record for record in records(tmp_path)}
    assert set(by_root) == {"a", "b"}

    of_a, of_b = (
        next(path.parent for path in tmp_path.glob("runs/default/*/record.json") if by_root[root] == read(path))
        for root in ("a", "b")
    )
    evaluation = [*FEW, "data.root=b", "task=evaluate", f"weights={of_a}", "sweep=evaluations"]
    assert command(*evaluation, cwd=tmp_path).returncode == 0
    shutil.copy(of_b / "checkpoints" / "last.safetensors", of_a / "checkpoints" / "last.safetensors")
    again = command(*evaluation, cwd=tmp_path)
    assert "done before" not in again.stdout, again.stderr
    losses = {record["results"]["validation_loss"] for record in records(tmp_path) if record["task"] == "evaluate"}
    assert len(losses) == 2
    assert by_root["b"]["results"]["validation_loss"] in losses


def read(path):
    return json.loads(path.read_text())


def test_the_modules_of_a_mixer_are_frozen_with_it_and_an_edit_makes_another_cell(tmp_path):
    """From another folder, in processes of their own, as on a cluster."""
    mine = tmp_path / "mine"
    (mine / "parts_of_shift").mkdir(parents=True)
    (mine / "my_mixer.py").write_text(MIXER)
    (mine / "distance_of_shift.py").write_text("def distance():\n    return 1\n")
    (mine / "parts_of_shift" / "__init__.py").touch()
    (mine / "parts_of_shift" / "rolling.py").write_text(
        "from . import axis\n\ndef roll(x, by):\n    return x.roll(by, axis.AXIS)\n"
    )
    (mine / "parts_of_shift" / "axis.py").write_text("AXIS = 2\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    sweep = ["mixer_module=../mine/my_mixer.py", "mixer=shift", "scale=micro", "task=complexity", "platform=local"]
    first = command(*sweep, cwd=elsewhere)
    assert first.returncode == 0, first.stdout + first.stderr
    frozen = {path.name for path in elsewhere.glob("runs/default/.launch/mixer_modules/*/**/*.py")}
    assert frozen == {"my_mixer.py", "distance_of_shift.py", "__init__.py", "rolling.py", "axis.py"}
    (mine / "parts_of_shift" / "axis.py").write_text("AXIS = 1\n")
    edited = command(*sweep, cwd=elsewhere)
    assert "done before" not in edited.stdout, edited.stderr
    assert [record["status"] for record in records(elsewhere)] == ["completed", "completed"]


def test_what_other_code_has_left_is_told_and_not_ranked_unasked(tmp_path):
    cell = ["mixer=pooling", "scale=micro", "data=digits", "task=complexity"]
    assert command(*cell, cwd=tmp_path).returncode == 0
    [path] = tmp_path.glob("runs/default/*/record.json")
    record = read(path)
    assert set(record["code"]) == {"mixers", "mixer", "architectures", "task"}
    again = path.parents[2] / "again" / path.parent.name / path.name
    again.parent.mkdir(parents=True)
    again.write_text(json.dumps(record | {"sweep": "again"}))
    record["code"]["architectures"] = "0123456789ab"
    path.write_text(json.dumps(record))
    told = " ".join(command(*cell, cwd=tmp_path).stdout.split())
    assert "done before, with other code (architectures 0123456789ab is now" in told
    resumed = command("resume", "default", cwd=tmp_path, program="launch").stdout
    assert "1 completed cell of other code than today's" in resumed
    for asked, expected in (([], "each is averaged and ranked on its own"), (["task.mixed_code=true"], "all the same")):
        table = command("task=table", *asked, cwd=tmp_path)
        assert table.returncode == 0, table.stderr
        printed = " ".join((tmp_path / "runs" / "tables" / "comparison.md").read_text().split())
        assert "2 versions of the code (column code): " in printed
        assert expected in printed
