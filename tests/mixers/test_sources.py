"""What a mixer from outside consists of: the user's modules that it needs, and nothing that is installed."""

import sys
import types

import pytest

from mixers.sources import OwnModules, module_digest, own_modules, package_digest


def write(folder, **files):
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "mine.py"


def test_modules_are_found_through_packages_functions_and_each_other(tmp_path):
    file = write(
        tmp_path,
        mine="import first, torch, json, launch\nfrom blocks.one import value\ndef f():\n    from last import x",
        first="from second import *",
        second="",
        last="",
        json="of the standard library's name",
        launch="of a name of ours",
        unused="",
        blocks__one="from . import two\nfrom .. import out_of_reach\nfrom .three import value",
        blocks__two="",
        blocks__three="import torch.nn.functional as F",
    )
    (tmp_path / "blocks" / "__init__.py").touch()
    found = own_modules(file)
    assert set(found) == {"first", "second", "last", "blocks", "blocks.one", "blocks.two", "blocks.three"}
    assert found["blocks.two"] == tmp_path / "blocks" / "two.py"
    assert found["blocks"] == tmp_path / "blocks" / "__init__.py"


def test_what_lies_on_the_path_counts_unless_it_was_installed(tmp_path, monkeypatch):
    own, installed = tmp_path / "own", tmp_path / "installed"
    file = write(tmp_path / "mixers", mine="import helper_of_mine, package_of_somebody")
    write(own, helper_of_mine="")
    write(installed, package_of_somebody="")
    (installed / "somebody-1.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(own), str(installed)])
    assert set(own_modules(file)) == {"helper_of_mine"}


def test_the_digest_is_that_of_everything_that_is_needed_and_of_no_place(tmp_path):
    def digest(folder, **files):
        return module_digest(write(tmp_path / folder, **({"mine": "import helper", "helper": "x = 1"} | files)))

    first = digest("a")
    assert digest("b") == first
    assert digest("c", helper="x = 2") != first
    assert digest("d", unused="") == first
    (tmp_path / "a" / "helper.py").unlink()
    assert module_digest(tmp_path / "a" / "mine.py") != first
    with pytest.raises(ValueError, match=r"helper\.py is not Python"):
        digest("e", helper="x = ")


def test_a_package_is_known_by_all_its_sources(tmp_path):
    package = types.ModuleType("plugin_package")
    write(tmp_path, plugin_package____init__="", plugin_package__mixer="")
    package.__file__ = str(tmp_path / "plugin_package" / "__init__.py")
    first = package_digest(package)
    (tmp_path / "plugin_package" / "kernel.cu").write_text("// another")
    assert package_digest(package) != first
    with pytest.raises(ValueError, match="in no file"):
        package_digest(types.ModuleType("typed_in"))


def test_two_modules_cannot_have_one_name(tmp_path):
    modules = OwnModules()
    try:
        for folder, text in (("a", "x = 1"), ("b", "x = 1"), ("c", "x = 2")):
            file = write(tmp_path / folder, mine="import clashing_helper", clashing_helper=text)
            if folder == "c":
                with pytest.raises(ValueError, match=r"clashing_helper .* is another one"):
                    modules.add(own_modules(file))
            else:
                modules.add(own_modules(file))
        import clashing_helper

        assert clashing_helper.x == 1
    finally:
        sys.meta_path.remove(modules)
        sys.modules.pop("clashing_helper", None)
