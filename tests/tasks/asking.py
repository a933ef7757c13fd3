"""A tiny network with weights, what a task asks it, and faults on the way."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from architectures import NetworkSpec, build_network
from conf.cells import to_cell
from conf.groups import register_groups
from launch import execute
from launch.cell import Cell
from tasks.from_config.trained import Trained
from training.checkpoint import save_weights

CONF = Path(__file__).parents[2] / "conf"
MIXER = "depthwise_conv"


def weights(folder: Path, mixer: str = MIXER, **options: object) -> Path:
    """Of the network that `asked` asks, as its initialisation draws them."""
    path = folder / f"{mixer}.safetensors"
    save_weights(
        build_network(NetworkSpec(mixer=mixer, scale="nano", num_classes=10, img_size=(16, 16), options=options)), path
    )
    return path


def cell_of(folder: Path, *overrides: str, mixer: str = MIXER) -> Cell:
    """Composed as the command line does."""
    common = ["data=digits", "data.resolution=16", f"output={folder / 'runs'}", "tracking.mode=disabled", "device=cpu"]
    register_groups(mixer_module=None)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cell = to_cell(compose("cell", overrides=[f"mixer={mixer}", "scale=nano", *common, *overrides]))
    GlobalHydra.instance().clear()
    return cell


def asked(folder: Path, *overrides: str, mixer: str = MIXER) -> dict:
    """The record of a cell that was executed."""
    return dict(execute(cell_of(folder, *overrides, mixer=mixer), show_progress=False).record)


class Forwards(list):
    """Batches that networks have answered; a fault stops the one that would be `fails_at`."""

    fails_at: int | None = None


@contextmanager
def counted_forwards() -> Iterator[Forwards]:
    """Counts what `Trained.logits` is asked."""
    forwards, logits = Forwards(), Trained.logits

    def counting(subject, network, pixels):
        if len(forwards) == forwards.fails_at:
            raise RuntimeError("the power is gone")
        forwards.append(len(pixels))
        return logits(subject, network, pixels)

    Trained.logits = counting
    try:
        yield forwards
    finally:
        Trained.logits = logits
