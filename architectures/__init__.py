"""Networks: the unified backbone around any mixer, and networks of their own; importing this tells timm of them."""

from .network import NetworkSpec, build_network, check_network, list_networks

__all__ = ["NetworkSpec", "build_network", "check_network", "list_networks"]
