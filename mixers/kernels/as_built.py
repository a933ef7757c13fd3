"""Whether a module computes what its class says, so that somebody else may do its work with its parameters."""

from torch import nn
from torch.nn.modules import module as torch_module

from .eager import traced

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_untouched(module: nn.Module) -> bool:
    """Whether a call of `module` is its class's `forward` and nothing else: no hook, no parametrization, no forward of
    its own, not compiled. Pruning, weight norm and the like are hooks or parametrizations."""
    attributes = vars(module)
    if "forward" in attributes or "_compiled_call_impl" in attributes:
        return False
    if "parametrizations" in attributes["_modules"]:
        return False
    return not any(attributes[hooks] or getattr(torch_module, f"_global{hooks}") for hooks in _HOOKS)


def is_as_built(module: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether a call of `module` is the `forward` of exactly one of `kinds`, so that it need not be made.

    Where a graph is made, it always has to be: whatever the module is, the graph consists of PyTorch's operations.
    """
    return not traced() and type(module) in kinds and is_untouched(module)
