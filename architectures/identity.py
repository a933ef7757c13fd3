"""What tells one network from another: by what it is built from, not by how that was written down."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mixers import MIXERS, Mixer, mixer_identity, source_digest

from .backbone import Backbone
from .budget import budget_rule
from .network import NetworkSpec, check_network

# Arguments of networks that are no part of the digest: said elsewhere in a cell's identity, or, as the options of
# mixers, better known from the mixers that were built.
SAID_ELSEWHERE = ("num_classes", "in_chans", "img_size", "drop_path_rate", "mixer_options")


@dataclass(frozen=True)
class NetworkIdentity:
    """`digest` is equal for two networks that are built from the same; `drop_path_rate` matters where one learns."""

    digest: str
    drop_path_rate: float


_KNOWN: dict[tuple[str | None, ...], NetworkIdentity] = {}


def network_identity(spec: NetworkSpec) -> NetworkIdentity:
    """Of the network that `spec` names, built and checked on the meta device, once a process for equal specifications.

    Options are as resolved: four equal values are one value, a default that is spelt out and one that is left out are
    the same, a changed default is another, and one that has the value in `neutral` (of the network's class or the
    mixer's) is not looked at, so that an option can be added without making other networks of all that there are.

    Raises: ValueError naming the key, its value and the valid choices.
    """
    mixers = (spec.mixer,) if isinstance(spec.mixer, str) else spec.mixer or ()
    key = (repr(spec), *(source_digest(mixer) for mixer in mixers if mixer in MIXERS))
    if key not in _KNOWN:
        network = check_network(spec)
        # timm's networks have no options here but the drop path rate, which is 0 unless it is given.
        built_from = getattr(network, "built_from", {"drop_path_rate": spec.drop_path_rate or 0.0})
        neutral = network.neutral.items() if isinstance(network, Backbone) else ()
        options = {
            name: value
            for name, value in built_from.items()
            if name not in SAID_ELSEWHERE and (name, value) not in neutral
        }
        # A network of its own may hold mixers with fixed options, which are in no need of being named.
        built = [module for module in network.modules() if isinstance(module, Mixer) and hasattr(module, "options")]
        # Rows of different rules are never compared, so that one rule's result is not another's, whatever was built.
        rule = budget_rule(mixers, spec.scale, spec.budget, spec.dims, spec.depths) if spec.name == "unified" else None
        named = {"name": spec.name, "scale": spec.scale, "budget": rule}
        digest = digest_of(named | {"options": options, "mixers": [mixer_identity(mixer) for mixer in built]})
        _KNOWN[key] = NetworkIdentity(digest, built_from["drop_path_rate"])
    return _KNOWN[key]


def digest_of(description: Mapping[str, Any]) -> str:
    """12 hexadecimal digits, the same wherever and in whatever order the same was written down."""
    return hashlib.sha256(json.dumps(_plain(description), sort_keys=True).encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    """1.0 given for a 1 is the same number."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
