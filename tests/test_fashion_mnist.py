"""The experiment `fashion_mnist`, shortened to some thousand real images: every mixer learns, one table tells."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.training.examples import CONF, data_settings, idx_bytes
from training.data import SOURCES

ROOT = Path(__file__).parent.parent
FOLDER = Path(data_settings("fashion_mnist").root)
TRAIN, VALIDATION = 2000, 500

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"needs Fashion-MNIST in {FOLDER}: make fashion-mnist"),
]


@pytest.fixture
def few_images(tmp_path):
    """The first of Fashion-MNIST's images, as idx files."""
    folder = tmp_path / "few"
    folder.mkdir()
    data = data_settings("fashion_mnist")
    for split, prefix, count in (("train", "train", TRAIN), ("validation", "t10k", VALIDATION)):
        images = SOURCES["fashion_mnist"].load(data, split)
        pixels, labels = images.pixels[:count, 0], images.labels[:count].byte()
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx_bytes(pixels.numpy()))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_bytes(labels.numpy()))
    return folder


def test_every_mixer_learns_and_the_table_has_them_all(tmp_path, few_images):
    experiment = yaml.safe_load((CONF / "experiment" / "fashion_mnist.yaml").read_text())
    mixers = experiment["hydra"]["sweeper"]["params"]["mixer"].split(",")
    brief = ["recipe.epochs=2", "recipe.warmup_epochs=1", "recipe.batch_size=64", "hydra.sweeper.params.seed=0"]
    run = [sys.executable, ROOT / "run.py"]
    subprocess.run(
        [*run, "experiment=fashion_mnist", f"data.root={few_images}", *brief, "tracking.mode=disabled"],
        cwd=tmp_path,
        check=True,
    )
    records = [json.loads(path.read_text()) for path in tmp_path.glob("runs/fashion_mnist/*/record.json")]
    assert sorted(record["config"]["mixer"]["name"] for record in records) == sorted(mixers)
    params = [record["results"]["params"] for record in records]
    assert max(params) / min(params) < 1.1
    for record in records:
        assert record["status"] == "completed"
        assert record["results"]["best_top1_percent"] > 45, record["name"]  # guessing: 10
    subprocess.run([*run, "task=table", "sweep=fashion_mnist"], cwd=tmp_path, check=True)
    [table] = tmp_path.glob("runs/fashion_mnist/tables/*.csv")
    assert all(mixer in table.read_text() for mixer in mixers)
