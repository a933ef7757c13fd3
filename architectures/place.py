"""Where in a network a module is, in words, for messages to people."""

import re

from torch import nn

from mixers import MIXERS, Mixer


def place_of(network: nn.Module, path: str) -> str:
    """The module at `path`: of a mixer and what is inside of one, the mixer's name, its stage and its block.

    E.g. `proj (Linear) of mixer halo in stage 3 of 4, block 1 of 6 (stages.2.blocks.0.mixer.proj)`; for other modules
    their path and class.
    """
    module = network.get_submodule(path)
    parts = path.split(".")
    for depth in range(1, len(parts) + 1):
        mixer = network.get_submodule(".".join(parts[:depth]))
        if isinstance(mixer, Mixer):
            inside = ".".join(parts[depth:])
            what = f"{inside} ({type(module).__name__}) of " if inside else ""
            return f"{what}mixer {_name(mixer)}{_block(network, path)} ({path})"
    return f"{path or 'the network'} ({type(module).__name__})"


def _name(mixer: Mixer) -> str:
    return next((name for name, mixer_class in MIXERS.items() if mixer_class is type(mixer)), type(mixer).__name__)


def _block(network: nn.Module, path: str) -> str:
    found = re.match(r"stages\.(\d+)\.blocks\.(\d+)\.", path)
    if not found:
        return ""
    stage, block = int(found[1]), int(found[2])
    stages = network.get_submodule("stages")
    blocks = network.get_submodule(f"stages.{stage}.blocks")
    return f" in stage {stage + 1} of {len(stages)}, block {block + 1} of {len(blocks)}"
