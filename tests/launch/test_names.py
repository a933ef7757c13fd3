"""Cells of a sweep are called by what differs between them."""

from launch.names import differences, names_of

from .cells import make_cell


def names(*cells):
    return list(names_of(cells).values())


def test_cells_that_differ_in_what_their_names_say_need_no_more():
    assert names(make_cell(seed=0), make_cell(seed=1)) == [
        "halo-micro-digits-train-seed0",
        "halo-micro-digits-train-seed1",
    ]


def test_cells_of_one_name_say_what_is_swept():
    cells = [
        make_cell(mixer={"name": "shift", "distance": distance}, seed=seed) for distance in (None, 2) for seed in (0, 1)
    ]
    assert names(*cells) == [
        "shift-micro-digits-train-seed0 mixer.distance=default",
        "shift-micro-digits-train-seed1 mixer.distance=default",
        "shift-micro-digits-train-seed0 mixer.distance=2",
        "shift-micro-digits-train-seed1 mixer.distance=2",
    ]


def test_a_group_is_told_by_its_name_and_keys_within_it_by_theirs():
    recipes = [("short", 1), ("short", 2), ("long", 300)]
    configs = [make_cell(recipe={"name": name, "epochs": epochs}).config for name, epochs in recipes]
    assert differences(configs) == ["recipe=short, recipe.epochs=1", "recipe=short, recipe.epochs=2", "recipe=long"]


def test_where_a_cell_runs_is_no_part_of_its_name():
    cells = [make_cell(platform={"name": name}, output=name) for name in ("here", "slurm")]
    assert names(*cells) == ["halo-micro-digits-train-seed0"] * 2
