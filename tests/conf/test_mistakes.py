"""Every mistake is said in one sentence that names the key or file and what it may be; none advises `+`."""

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import setup_globals
from hydra.types import RunMode

from conf import SweepComposer, check_overview, refusal, register_groups, register_overview_groups, to_cell
from conf.mistakes import _dotted

CONF = Path(__file__).parents[2] / "conf"
HALO = ["mixer=halo", "scale=micro", "data=digits"]


@pytest.fixture
def hydra():
    register_groups(mixer_module=None)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield
    GlobalHydra.instance().clear()


def sentence(*overrides, root="cell", check=to_cell):
    with pytest.raises(Exception) as refused:  # noqa: PT011 - of any kind: that it is known is what is tested
        check(compose(root, overrides=list(overrides)))
    found = refusal(refused.value)
    assert found is not None, refused.value
    assert "\n" not in found
    assert not re.search(r"\+[a-z]", found)
    return found


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["mixer=halo", "mixer.blocksize=7"], "mixer.blocksize: there is no such key, did you mean mixer.block_size?"),
        (["mixer=halo", "blocksize=7"], "blocksize: there is no such key, did you mean mixer.block_size?"),
        (["recipe.learning_rat=1"], "did you mean recipe.learning_rate? The keys of recipe are accumulation,"),
        (["scal=micro"], "scal: there is no such key, did you mean scale? The keys are data, device, dim, experiment,"),
        (["mixr=halo"], "mixr: there is no such key, did you mean mixer?"),
        (["mixer=hallo"], "window_mlp; did you mean halo?"),
        (["experiment=digit"], "experiment=digit: choose from digits, fashion_mnist"),
        (["scale=mikro"], "large]; did you mean micro?"),
        (["mixer.block_size=7"], "mixer.block_size: there is no such key; choose mixer=NAME first"),
        ([*HALO, "mixer.block_size.x=7"], "mixer.block_size is a value, without keys of its own"),
        ([*HALO, "network.options.layer_scale=1"], "layer_scale_init"),
        ([*HALO, "+foo=1"], "foo: there is no such key; the keys are data,"),
        ([*HALO, "+recipe.epoch=1"], "recipe.epoch: there is no such key, did you mean recipe.epochs?"),
        ([*HALO, "~recipe.epochs"], "~recipe.epochs: RecipeSettings (DictConfig) does not support deletion"),
        ([*HALO, "+seed=1"], "seed"),
        (["network=[1,2]"], "the command line is not understood, TypeError of Hydra"),
        ([*HALO, "network.options.mlp_ratio=1e308"], "the network cannot be built from these values: OverflowError"),
        (["mixer=7"], "is chosen by the name of one of its members"),
        (["seed=one"], "seed=one: Value 'one' of type 'str' could not be converted to Integer"),
        (["seed=${foo}"], "seed: Interpolation key 'foo' not found"),
        (["mixer"], "'mixer' is not understood: give KEY=VALUE"),
        (["mixer.block_size=[1,"], "mixer.block_size=[1,: the value is not understood"),
        (["scale=micro,tiny"], "several values are a sweep, which needs -m, or one list, scale=[micro,tiny]"),
        ([*HALO, "sweep=.."], "sweep=..: must be 1 to 100 letters"),
        ([*HALO, "sweep=a/../../evil"], "sweep=a/../../evil: must be 1 to 100 letters"),
        ([*HALO, "sweep="], "sweep=: must be 1 to 100 letters"),
        ([*HALO, "sweep=a%j"], "sweep=a%j: must be 1 to 100 letters"),
        ([*HALO, f"sweep={'a' * 300}"], "sweep=aaaaaaaaaaaaaaaaaaaa... (300 characters): must be 1 to 100 letters"),
        ([*HALO, "seed=-1"], "seed=-1: must not be negative"),
        ([*HALO, f"seed={10**20}"], "seed=100000000000000000000: must be a number of 64 bits"),
        ([*HALO, "task=loader", "task.seconds=inf"], "task.seconds=inf: must be a finite number"),
        ([*HALO, "recipe.learning_rate=nan"], "recipe.learning_rate=nan: must be a finite number"),
        ([*HALO, "data.mean=[0.5,inf,0.5]"], "data.mean=inf: must be a finite number"),
        ([*HALO, "task=speed", "task.threads=100000"], "task.threads=100000: must be between 1 and 1024"),
        ([*HALO, "task=speed", "task.batch_sizes=[[1]]"], "task.batch_sizes=[[1]]: must be a list of single values"),
        ([*HALO, "data.workers=100000"], "data.workers=100000: must be between 0 and 1024"),
        ([*HALO, "task=train", "recipe.optimizer_options={betas:[0.9]}"], "{'betas': [0.9], 'eps': 1e-08}: IndexError"),
        ([*HALO, "task=train", "recipe.optimizer_options.rho=1"], "unexpected keyword argument 'rho'"),
        ([*HALO, "task=train", "recipe.optimizer_options.lr=1"], "lr has a key of its own in recipe"),
        ([*HALO, "task=evaluate", "weights=official", "task.batch_size=0"], "official weights"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_a_mistake_on_the_command_line_is_one_sentence(overrides, expected):
    assert expected in sentence(*overrides)


@pytest.mark.usefixtures("hydra")
def test_a_device_that_is_not_there_is_refused_unless_cells_run_elsewhere(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "device=cuda: torch finds no GPU" in sentence(*HALO, "task=speed", "device=cuda")
    elsewhere = to_cell(compose("cell", overrides=[*HALO, "task=speed", "device=cuda", "platform=slurm"]))
    assert elsewhere.config["device"] == "cuda"


@pytest.mark.usefixtures("hydra")
def test_options_that_others_check_need_no_sign_for_being_new():
    options = [*HALO, "platform=slurm", "platform.sbatch.reservation=deadline", "recipe.optimizer_options.amsgrad=true"]
    config = to_cell(compose("cell", overrides=options)).config
    assert config["platform"]["sbatch"] == {"reservation": "deadline"}
    assert config["recipe"]["optimizer_options"]["amsgrad"] is True


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: [1, 2\nb: }", "mine.yaml, line 3, column 2: not YAML"),
        (b"seed: 1\nseed: 2", "mine.yaml, line 3, column 1: not YAML: found duplicate key seed"),
        (b"seed: \xff\xfe", "mine.yaml is not UTF-8 text"),
        (b"- 1", "experiment/mine.yaml: "),
        (
            b"recipe: {epoch: 3}",
            "experiment/mine.yaml: recipe.epoch: there is no such key, did you mean recipe.epochs?",
        ),
        (
            b"mixer: {blok_size: 3}",
            "experiment/mine.yaml: mixer.blok_size: there is no such key, did you mean mixer.block",
        ),
        (b"seed: one", "experiment/mine.yaml: seed: Value 'one'"),
    ],
    ids=lambda value: None if isinstance(value, str) else value.decode(errors="replace"),
)
def test_a_mistake_in_a_file_names_the_file(content, expected, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_bytes(b"# @package _global_\n" + content)
    register_groups(mixer_module=None)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert expected in sentence("experiment=mine", *HALO, f"hydra.searchpath=[file://{tmp_path}]")


def test_overviews_refuse_the_same():
    register_overview_groups()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert "sweep=..: must be" in sentence("task=table", "sweep=..", root="overview", check=check_overview)
        found = sentence("task=table", "swep=digits", root="overview", check=check_overview)
        assert "did you mean sweep? The keys are output, sweep, task" in found


def test_a_bug_is_none_of_the_users_mistakes():
    assert refusal(KeyError("name")) is None
    assert refusal(ValueError("some other function's")) is None


def test_odd_values_of_every_key_are_accepted_or_refused_in_a_sentence(monkeypatch):
    """Of a training, which has the most keys; networks need not be built each time."""
    setup_globals()
    register_groups(mixer_module=None)
    loader = ConfigLoaderImpl(config_search_path=create_config_search_path(str(CONF)))
    composer = SweepComposer(loader, loader.load_configuration("cell", [], RunMode.MULTIRUN))
    monkeypatch.setattr("tasks.from_config.recipe.check_parameter_groups", lambda config: None)
    training = [*HALO, "recipe=short", "task=train"]
    keys = [key for key in _dotted(composer.compose(training)) if not key.startswith("mixer.")]
    assert {"seed", "data.mean", "task.checkpoint_minutes", "recipe.optimizer_options.betas"} <= set(keys)
    unknown = {}
    for override in (f"{key}={odd}" for key in keys for odd in ("1e308", "[[1]]", "{a: 1}")):
        try:
            to_cell(composer.compose([*training, override])).directory  # noqa: B018 - the name is made there
        except Exception as error:
            if refusal(error) is None:
                unknown[override] = repr(error)
    assert not unknown
