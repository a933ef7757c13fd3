"""Names, options, and mixers from outside this repository."""

import importlib.metadata
import inspect
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mixers import MIXERS, Mixer, build_mixer, load_mixer_module, mixer_options, module_digest, register
from mixers.contract import largest_divisor
from mixers.registry import load_entry_points

USER_FILE = """
import torch
from mixers import Mixer, register

@register("{name}")
class Doubling(Mixer):
    def __init__(self, dim: int, resolution: tuple[int, int], *, factor: float = 2.0) -> None:
        super().__init__(dim, resolution)
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor
"""


@pytest.fixture(autouse=True)
def _registry_as_before() -> Iterator[None]:
    mixers, modules = dict(MIXERS), set(sys.modules)
    yield
    MIXERS.clear()
    MIXERS.update(mixers)
    for module in set(sys.modules) - modules:
        if module.startswith(("mixer_module_", "mixer_plugin")):
            del sys.modules[module]


class Unfinished(Mixer):
    """A mixer's constructor without the one thing that a mixer must have."""

    def __init__(self, dim: int, resolution: tuple[int, int]) -> None:
        super().__init__(dim, resolution)


def test_the_ten_mixers_are_there() -> None:
    assert set(MIXERS) >= {
        "halo",
        "sra",
        "shifted_window",
        "depthwise_conv",
        "dynamic_depthwise_conv",
        "inhomogeneous_dynamic_depthwise_conv",
        "dcnv3",
        "identity",
        "pooling",
        "global_attention",
    }


def test_options_are_the_keyword_only_arguments() -> None:
    options = mixer_options("halo")
    assert list(options) == [
        "num_heads",
        "block_size",
        "halo_size",
        "relative_embedding",
        "mask_padding",
        "implementation",
    ]
    assert options["block_size"].default == 7
    assert options["num_heads"].default is inspect.Parameter.empty
    assert options["mask_padding"].annotation is bool
    assert dict(mixer_options("identity")) == {}


def test_unknown_mixer_names_the_choices() -> None:
    with pytest.raises(ValueError, match=r"unknown mixer 'hallo'; choose from .*halo.*sra"):
        build_mixer("hallo", 8, (7, 7))


def test_unknown_option_names_the_choices() -> None:
    with pytest.raises(ValueError, match="'halo' has no option 'blocksize'; choose from num_heads, block_size"):
        build_mixer("halo", 8, (7, 7), num_heads=2, blocksize=7)
    with pytest.raises(ValueError, match="'identity' has no option 'x'; choose from none"):
        build_mixer("identity", 8, (7, 7), x=1)


def test_missing_option_is_named() -> None:
    with pytest.raises(ValueError, match="'halo' needs a value for num_heads"):
        build_mixer("halo", 8, (7, 7))


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [("num_heads", "2", "int, not str"), ("num_heads", True, "int, not bool"), ("block_size", 7.0, "int, not float")],
)
def test_wrong_type_is_refused(option: str, value: object, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"{option}=.*wants {wanted}"):
        build_mixer("halo", 8, (7, 7), **{"num_heads": 2, option: value})


def test_whole_numbers_are_numbers() -> None:
    assert build_mixer("dcnv3", 8, (7, 7), groups=2, offset_scale=2).offset_scale == 2


def test_duplicate_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'halo' exists already .*HaloAttention"):
        register("halo")(MIXERS["sra"])
    assert MIXERS["halo"].__name__ == "HaloAttention"


def test_only_mixers_can_be_registered() -> None:
    with pytest.raises(TypeError, match="not a subclass"):
        register("linear")(torch.nn.Linear)
    assert "linear" not in MIXERS


def test_unfinished_mixer_cannot_be_built() -> None:
    register("unfinished")(Unfinished)
    with pytest.raises(TypeError, match="forward"):
        build_mixer("unfinished", 8, (7, 7))


def test_constructors_that_swallow_typos_are_refused() -> None:
    class Swallowing(Unfinished):
        def __init__(self, dim: int, resolution: tuple[int, int], **options: int) -> None:
            super().__init__(dim, resolution)

    class Positional(Unfinished):
        def __init__(self, dim: int, resolution: tuple[int, int], size: int = 3) -> None:
            super().__init__(dim, resolution)

    class Untyped(Unfinished):
        def __init__(self, dim: int, resolution: tuple[int, int], *, sizes: list[int]) -> None:
            super().__init__(dim, resolution)

    for mixer_class, key in ((Swallowing, "options"), (Positional, "size"), (Untyped, "sizes")):
        with pytest.raises(ValueError, match=f"'mine'.*'{key}'"):
            register("mine")(mixer_class)
    assert "mine" not in MIXERS


def test_user_file_is_loaded_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(USER_FILE.format(name="doubling"))
    module = load_mixer_module(file)
    assert load_mixer_module(str(file)) is module
    mixer = build_mixer("doubling", 4, (3, 3), factor=3.0)
    assert mixer(torch.ones(1, 3, 3, 4)).sum() == 108
    assert pickle.loads(pickle.dumps(mixer)).factor == 3.0
    with pytest.raises(ValueError, match="'doubling' has no option 'faktor'"):
        build_mixer("doubling", 4, (3, 3), faktor=3.0)


def test_an_edited_user_file_is_not_taken_for_what_it_was(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(USER_FILE.format(name="doubling"))
    digest = module_digest(file)
    file.write_text(USER_FILE.format(name="doubling") + "\n")
    with pytest.raises(ValueError, match=rf"mine\.py was edited, {digest} is now {module_digest(file)}"):
        load_mixer_module(file, digest)
    assert "doubling" not in MIXERS
    module = load_mixer_module(file, module_digest(file))
    file.write_text("")
    assert load_mixer_module(file, digest) is module  # the file does not matter any more


def test_two_user_files_may_share_a_name(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(USER_FILE.format(name=folder))
        load_mixer_module(tmp_path / folder / "mine.py")
    assert {"one", "two"} <= set(MIXERS)


def test_broken_user_file_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(USER_FILE.format(name="doubling") + "\nraise RuntimeError('half way')\n")
    with pytest.raises(RuntimeError, match="half way"):
        load_mixer_module(file)
    assert "doubling" not in MIXERS
    file.write_text(USER_FILE.format(name="doubling"))
    load_mixer_module(file)
    assert "doubling" in MIXERS


def test_useless_user_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.py does not exist"):
        load_mixer_module(tmp_path / "absent.py")
    silent = tmp_path / "silent.py"
    silent.write_text("x = 1\n")
    with pytest.raises(ValueError, match="registers no mixer"):
        load_mixer_module(silent)
    text = tmp_path / "mixer.txt"
    text.write_text(USER_FILE.format(name="doubling"))
    with pytest.raises(ValueError, match="not a Python file"):
        load_mixer_module(text)
    taken = tmp_path / "taken.py"
    taken.write_text(USER_FILE.format(name="halo"))
    with pytest.raises(ValueError, match="'halo' exists already"):
        load_mixer_module(taken)


def announce(monkeypatch: pytest.MonkeyPatch, folder: Path, module: str) -> None:
    monkeypatch.syspath_prepend(folder)
    entry_point = importlib.metadata.EntryPoint("plugin", module, "stmbench.mixers")
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda *, group: [entry_point] if group == entry_point.group else []
    )


def test_installed_plugins_are_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mixer_plugin.py").write_text(USER_FILE.format(name="from_plugin"))
    announce(monkeypatch, tmp_path, "mixer_plugin")
    load_entry_points()
    load_entry_points()
    assert "from_plugin" in MIXERS


def test_broken_plugin_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mixer_plugin_broken.py").write_text("import no_such_package\n")
    announce(monkeypatch, tmp_path, "mixer_plugin_broken")
    with pytest.raises(ImportError, match=r"plug-in 'plugin' \(mixer_plugin_broken\) fails"):
        load_entry_points()


@pytest.mark.parametrize(("dim", "at_most", "divisor"), [(96, 3, 3), (112, 3, 2), (320, 10, 10), (16, 0, 1), (7, 5, 1)])
def test_largest_divisor(dim: int, at_most: int, divisor: int) -> None:
    assert largest_divisor(dim, at_most=at_most) == divisor
