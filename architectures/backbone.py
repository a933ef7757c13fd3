"""What every network of this project shares: timm's behaviour on top of channels-last stages.

A network is a subclass that builds its parts and hands them over:

    class DWNet(Backbone):
        undecayed = ("cls_token",)                        # parameters that never decay, by the end of their name

        def __init__(self, *, dim: int, depths: ..., num_classes: int = 1000, in_chans: int = 3,
                     global_pool: str = "avg", drop_rate: float = 0.0, drop_path_rate: float = 0.2):
            super().__init__(
                stem=...,                                 # image B, C, H, W -> state
                stages=[...],                             # each: state -> state; name its parts `downsample`, `blocks`
                channels=(96, 192, 384, 768),             # of the map that each stage offers
                reductions=(4, 8, 16, 32),                # image pixels per pixel of that map
                norm=nn.LayerNorm(768),                   # after the last stage, if there is one
                num_classes=num_classes, in_chans=in_chans, global_pool=global_pool, drop_rate=drop_rate)
            self.apply(...)                               # the network's initialisation

The state that travels from stage to stage is a map `B, H, W, C`, or anything else when `feature_map` says how to read a
map from it and `forward_head` what to do with it (two branches, two heads: override these two, `reset_classifier` and
`get_classifier`). A stage runs its blocks with `Blocks`, which gives gradient checkpointing for every network.
`registry.register_networks` then gives the family its names.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from inspect import signature
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from .channels_last import channels_first
from .initialization import truncated_normal


class Blocks(nn.Sequential):
    """Modules one after another; with `grad_checkpointing` each keeps only its input and is run again in backward."""

    grad_checkpointing: bool = False

    def forward(self, x: Any) -> Any:
        for block in self:
            x = run_again_in_backward(block, x) if self.grad_checkpointing and torch.is_grad_enabled() else block(x)
        return x


def run_again_in_backward(block: nn.Module, x: Any) -> Any:
    """`block(x)`, keeping nothing for backward but x; batch norms count the batch once all the same."""
    if torch.compiler.is_compiling():  # The compiler does not repeat what a block writes.
        return checkpoint(block, x, use_reentrant=False)
    return checkpoint(block, x, use_reentrant=False, context_fn=lambda: (nullcontext(), uncounted(block)))


@contextmanager
def uncounted(block: nn.Module) -> Iterator[None]:
    """Batch norms inside use the batch's statistics without adding them to their running ones."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    states = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, state in zip(norms, states, strict=True):
            norm.momentum, norm.num_batches_tracked = state


class Backbone(nn.Module):
    """Stem, stages, final norm, conv head, pooling and classifier, with the methods that timm's users call.

    Args:
        stem: image `B, in_chans, H, W` -> state.
        stages: each state -> state.
        channels, reductions: of the map that each stage offers in the feature pyramid.
        norm: applied to the map of the last stage.
        conv_head: between the final map and the pooling; `head_hidden_size` is its width (default: the last stage's).
        global_pool: "avg", or "" for no pooling: the classifier then acts on every position.
        drop_rate: of the dropout before the classifier.

    `forward_features` gives `B, H, W, C`; `forward_intermediates` and `features_only` give `B, C, H, W` unless asked
    for "NHWC".

    Raises: ValueError for an unknown `global_pool`.
    """

    output_fmt = "NHWC"
    undecayed: ClassVar[tuple[str, ...]] = ()
    # As `Mixer.neutral`, of the constructor's arguments.
    neutral: ClassVar[Mapping[str, Any]] = {}
    built_from: Mapping[str, Any]

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Keeps the constructor's arguments, defaults included, in `built_from`, for `architectures.identity`."""
        network = super().__new__(cls)
        with suppress(TypeError):  # which the constructor raises in a moment
            bound = signature(cls.__init__).bind_partial(network, *arguments, **options)
            bound.apply_defaults()
            object.__setattr__(network, "built_from", dict(list(bound.arguments.items())[1:]))
        return network

    def __init__(
        self,
        *,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        channels: Sequence[int],
        reductions: Sequence[int],
        num_classes: int,
        in_chans: int,
        global_pool: str,
        drop_rate: float,
        norm: nn.Module | None = None,
        conv_head: nn.Module | None = None,
        head_hidden_size: int | None = None,
    ) -> None:
        super().__init__()
        self.in_chans = in_chans
        self.num_features = channels[-1]
        self.head_hidden_size = head_hidden_size or channels[-1]
        self.feature_info = [
            {"num_chs": width, "reduction": reduction, "module": f"stages.{index}"}
            for index, (width, reduction) in enumerate(zip(channels, reductions, strict=True))
        ]
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.norm = norm or nn.Identity()
        self.conv_head = conv_head or nn.Identity()
        self.head_drop = nn.Dropout(drop_rate)
        self.reset_classifier(num_classes, global_pool)

    def feature_map(self, state: Any, index: int) -> Tensor:
        """The map `B, H, W, C` that stage `index` offers, from the state after it."""
        return state

    def final_state(self, state: Any) -> Any:
        """What `forward_features` returns, from the state after the last stage."""
        return self.norm(state)

    def forward_features(self, x: Tensor) -> Any:
        """Image `B, C, H, W` -> final map `B, H', W', num_features`."""
        state = self.stem(x)
        for stage in self.stages:
            state = stage(state)
        return self.final_state(state)

    def forward_head(self, x: Any, pre_logits: bool = False) -> Any:
        """Final map -> logits `B, num_classes`, or what the classifier sees, `B, head_hidden_size`."""
        x = self.conv_head(x)
        if self.global_pool == "avg":
            x = x.mean(dim=(1, 2))
        x = self.head_drop(x)
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Any:
        """Image `B, C, H, W` -> logits `B, num_classes`."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Image `B, C, H, W` -> the maps of the stages in `indices` (last n if an int, all if None).

        `norm` applies the final norm to the last stage's map; `stop_early` skips the stages after the last one asked
        for. Returns the list of maps, after the final features unless `intermediates_only`.

        Raises: ValueError for an output format other than "NCHW" and "NHWC".
        """
        if output_fmt not in ("NCHW", "NHWC"):
            raise ValueError(f"output_fmt must be 'NCHW' or 'NHWC', not {output_fmt!r}")
        taken = taken_indices(len(self.stages), indices)
        last_taken = max(taken)
        last = len(self.stages) - 1
        maps: list[Tensor] = []
        state = self.stem(x)
        for index, stage in enumerate(self.stages):
            if stop_early and index > last_taken:
                break
            state = stage(state)
            if index in taken:
                feature_map = self.feature_map(state, index)
                if norm and index == last:
                    feature_map = self.norm(feature_map)
                maps.append(channels_first(feature_map) if output_fmt == "NCHW" else feature_map)
        if intermediates_only:
            return maps
        return (state if stop_early and last_taken < last else self.final_state(state)), maps

    @torch.jit.ignore
    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove what the maps in `indices` do not need; returns these indices counted from 0."""
        taken = taken_indices(len(self.stages), indices)
        last_taken = max(taken)
        shortened = last_taken < len(self.stages) - 1
        self.stages = self.stages[: last_taken + 1]
        if prune_norm or shortened:
            self.norm = nn.Identity()
        if prune_head or shortened:
            self.conv_head = nn.Identity()
            self.num_features = self.head_hidden_size = self.feature_info[last_taken]["num_chs"]
            self.reset_classifier(0, "")
        return taken

    @torch.jit.ignore
    def get_classifier(self) -> nn.Module:
        return self.head

    @torch.jit.ignore
    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new classifier, or none when `num_classes` is 0; `global_pool` None keeps the pooling.

        Raises: ValueError for an unknown `global_pool`.
        """
        if global_pool is not None:
            if global_pool not in ("avg", ""):
                raise ValueError(f"global_pool must be 'avg' or '', not {global_pool!r}")
            self.global_pool = global_pool
        self.num_classes = num_classes
        self.head = self.make_classifier(self.head_hidden_size, num_classes)

    def make_classifier(self, in_features: int, num_classes: int) -> nn.Module:
        """A freshly initialised classifier where the network's parameters live; identity for no classes."""
        if num_classes == 0:
            return nn.Identity()
        reference = next(self.parameters())
        head = nn.Linear(in_features, num_classes, device=reference.device, dtype=reference.dtype)
        truncated_normal(head)
        return head

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory: keep only the input of every block."""
        for module in self.modules():
            if isinstance(module, Blocks):
                module.grad_checkpointing = enable

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        """Parameters that never decay, besides the one-dimensional ones that recipes exempt anyway.

        The network's own, and those that modules inside of it name by a `no_weight_decay` of theirs, as mixers do.

        Raises: ValueError when a module names what is no parameter.
        """
        names = {name for name, _ in self.named_parameters()}
        exempt = {name for name in names if name.endswith(self.undecayed)}
        for path, module in self.named_modules():
            if module is self or not hasattr(module, "no_weight_decay"):
                continue
            for name in module.no_weight_decay():
                if f"{path}.{name}" not in names:
                    raise ValueError(
                        f"{type(module).__name__}.no_weight_decay() names {name!r}, no parameter of {path}"
                    )
                exempt.add(f"{path}.{name}")
        return exempt

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """timm's patterns for layer-wise decay: the stem, then a stage (`coarse`) or a block at a time."""
        if coarse:
            return {"stem": r"^stem", "blocks": r"^stages\.(\d+)"}
        return {
            "stem": r"^stem",
            "blocks": [
                (r"^stages\.(\d+)\.downsample", (0,)),
                (r"^stages\.(\d+)\.blocks\.(\d+)", None),
                (r"^stages\.(\d+)\.norm", (99999,)),
                (r"^norm|^conv_head", (99999,)),
            ],
        }


def taken_indices(count: int, indices: int | Sequence[int] | None) -> list[int]:
    """Which of `count` stages are meant, counted from 0: the last n, those listed (from the end if negative), or all.

    Raises: ValueError when there is no such stage.
    """
    if indices is None:
        return list(range(count))
    if isinstance(indices, int):
        indices = range(-indices, 0)
    if not indices or not all(-count <= index < count for index in indices):
        raise ValueError(f"indices: {list(indices)} are not all among the {count} stages")
    return [index % count for index in indices]
