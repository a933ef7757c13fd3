"""What a cell of task `speed` times: from its configuration to the candidates that take turns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch

from analysis.speed import Candidate, Resolution
from architectures import build_network, list_networks
from architectures.identity import digest_of, network_identity
from architectures.mixer_options import check_option_names, options_of_block
from mixers import MIXERS, Mixer, build_mixer, mixer_identity, mixer_options

from .cost import describe
from .labels import has_its_own, network_label
from .network import network_spec

Config = Mapping[str, Any]
IMPLEMENTATION = "implementation"


@dataclass(frozen=True)
class Variant:
    """A candidate's name, and the cell's configuration as it would be for that candidate alone."""

    name: str
    config: Config


def check_candidates(config: Config) -> None:
    """Refuses what cannot be timed, without allocating it.

    Raises: ValueError naming the key, its value and the valid choices.
    """
    names = []
    for variant in variants(config):
        names.append(variant.name)
        identity_of(variant.config)
    against = config["task"]["against"]
    if against is not None and against not in names:
        raise ValueError(f"task.against={against}: choose from {', '.join(names)}")


def identity_of(config: Config) -> str:
    """Equal for candidates that are built from the same, see `architectures.identity`; nothing is allocated.

    Raises: ValueError naming the key, its value and the valid choices.
    """
    if not is_mixer_alone(config):
        return network_identity(network_spec(config)).digest
    with torch.device("meta"):
        return digest_of(mixer_identity(build_lone_mixer(config, own_resolution(config))))


def candidates(config: Config) -> list[Candidate]:
    """The cell's own network or mixer first, then those of `task.compare`; each in every one of `implementations`."""
    make = _lone_mixer if is_mixer_alone(config) else _network
    return [make(variant) for variant in variants(config)]


def is_mixer_alone(config: Config) -> bool:
    """Whether mixers are timed, rather than networks."""
    return config.get("subject") == "mixer"


def own_resolution(config: Config) -> Resolution:
    """Rows and columns of images or maps where `task.resolutions` names none, in pixels."""
    given = config["resolution"] if is_mixer_alone(config) else config["data"]["resolution"]
    if given is None:
        given = config["task"]["resolutions"][0]
    return (given, given) if isinstance(given, int) else tuple(given)


def build_lone_mixer(config: Config, resolution: Resolution) -> Mixer:
    """The mixer of `config` outside of a network; options that differ from stage to stage are those of the first."""
    options = {key: value for key, value in config["mixer"].items() if value is not None}
    name = options.pop("name")
    check_option_names([name], options)
    chosen = options_of_block(name, dim=config["dim"], stage=0, block=0, given=options)
    return build_mixer(name, config["dim"], resolution, **chosen)


def variants(config: Config) -> Iterator[Variant]:
    """Every candidate of a cell.

    Raises: ValueError for a name that is no mixer and no network, and for implementations that nothing has.
    """
    task = config["task"]
    found = [Variant(network_label(config), config)] if has_its_own(config) else []
    for name in task["compare"]:
        if found and name == found[0].name:
            raise ValueError(f"task.compare={task['compare']}: {name} is the cell's own, and a candidate already")
        found.append(Variant(name, _with(config, name)))
    wanted = task["implementations"]
    if wanted and not any(_has_implementations(variant.config) for variant in found):
        having = ", ".join(name for name in MIXERS if IMPLEMENTATION in mixer_options(name))
        raise ValueError(f"task.implementations={wanted}: there are several of {having} only, which is no candidate")
    for variant in found:
        if not (wanted and _has_implementations(variant.config)):
            yield variant
            continue
        for implementation in wanted:
            mixer = variant.config["mixer"] | {IMPLEMENTATION: implementation}
            yield Variant(f"{variant.name} {implementation}", {**variant.config, "mixer": mixer})


def _with(config: Config, name: str) -> Config:
    """`config` with the mixer or the network called `name` in place of its own."""
    network = config["network"]
    options = network["options"] if network["name"] == "unified" else {}
    if name in MIXERS:
        unified = {**network, "name": "unified", "options": options, "mixers": None}
        return {**config, "network": unified, "mixer": {"name": name, **dict.fromkeys(mixer_options(name))}}
    if not is_mixer_alone(config) and name in list_networks():
        of_unified = dict.fromkeys(("mixers", "budget", "dims", "depths"))
        other = {**network, "name": name, "options": {}, **of_unified}
        return {**config, "network": other, "mixer": None, "scale": None}
    networks = "" if is_mixer_alone(config) else f", and from the networks {', '.join(list_networks())}"
    raise ValueError(f"task.compare: unknown {name!r}; choose from the mixers {', '.join(sorted(MIXERS))}{networks}")


def _has_implementations(config: Config) -> bool:
    return bool(config["mixer"]) and IMPLEMENTATION in mixer_options(config["mixer"]["name"])


def _lone_mixer(variant: Variant) -> Candidate:
    @cache
    def macs(resolution: Resolution) -> int:
        with torch.device("meta"):
            return build_lone_mixer(variant.config, resolution).macs(resolution)

    build = partial(build_lone_mixer, variant.config)
    return Candidate(variant.name, build, dim=variant.config["dim"], macs=macs, config=_named(variant.config))


def _network(variant: Variant) -> Candidate:
    spec = network_spec(variant.config)

    @cache
    def macs(resolution: Resolution) -> int:
        return describe(spec.at(resolution[0])).macs

    def build(resolution: Resolution) -> torch.nn.Module:
        return build_network(spec.at(resolution[0]))

    return Candidate(variant.name, build, macs=macs, config=_named(variant.config))


def _named(config: Config) -> Config:
    """What tells one candidate's network from another's."""
    contents = {**(config.get("contents") or {}), "networks": [identity_of(config)]}
    return {key: config[key] for key in ("network", "mixer", "scale")} | {"contents": contents}
