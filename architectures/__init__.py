"""Networks: the unified backbone around any mixer, and networks of their own; importing this tells timm of them."""

from . import conformer, contnet, dwnet, unified
from .network import (
    NetworkSpec,
    build_network,
    check_network,
    is_published,
    list_networks,
    preprocessing,
    registered_name,
)

__all__ = [
    "NetworkSpec",
    "build_network",
    "check_network",
    "conformer",
    "contnet",
    "dwnet",
    "is_published",
    "list_networks",
    "preprocessing",
    "registered_name",
    "unified",
]
