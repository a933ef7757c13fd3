"""Does a mixer keep its promises? Each is a sentence with a function that tries it, for `task=check` and for the tests.

A network relies on these, whatever the mixer: a new one is checked before it costs a night of training.
"""

import copy
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor, nn

from architectures import NetworkSpec, build_network
from architectures.mixer_options import check_option_names, options_of_block
from architectures.place import place_of
from mixers import MIXERS, Mixer, build_mixer, mixer_options

from .complexity import ComplexityError, measure

RESOLUTION = (14, 14)
"""What mixers are built for, as in a network's third stage."""
STAGE = 2
MAPS = ((14, 14), (10, 9), (20, 7), (16, 23), (1, 3), (5, 1), (1, 1))
"""Rows and columns that they are tried on: uneven, smaller than a window, one pixel. None equals the channels."""
UNEVEN = (10, 9)
DRAWS = 8
ROUNDING = 1e-12
"""Share of the largest gradient below which one is rounding: a query with a single key leaves 1e-17."""
NETWORK_IMAGE = (70, 90)


class Broken(Exception):  # noqa: N818 - not an error of the program
    """A promise that does not hold; the message says what was seen."""


@dataclass(frozen=True)
class Subject:
    """A mixer with its options, to be built as often as a check wants one; `given` is what the user set."""

    name: str
    given: Mapping[str, Any] = field(default_factory=dict)
    dim: int = 64

    def options(self) -> dict[str, Any]:
        """As in the second block of a network's third stage, where whatever alternates along the blocks is on."""
        check_option_names([self.name], self.given)
        return options_of_block(self.name, dim=self.dim, stage=STAGE, block=1, given=self.given)

    def build(self, seed: int = 0, resolution: tuple[int, int] = RESOLUTION) -> Mixer:
        """In eval mode, as it was initialised."""
        torch.manual_seed(seed)
        return build_mixer(self.name, self.dim, resolution, **self.options()).eval()

    def drawn(self, seed: int = 0) -> Mixer:
        """In float64, with weights in which nothing is hidden: no zeros, no ones."""
        mixer = self.build().double()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for key, entry in mixer.state_dict().items():
                if key.endswith("running_var"):
                    entry.copy_(0.5 + torch.rand(entry.shape, generator=generator, dtype=entry.dtype))
                elif entry.is_floating_point():
                    # Values stay as large as they are, so that no softmax is decided by one key.
                    scale = entry[0].numel() ** -0.5 if entry.ndim > 1 else 0.5
                    entry.copy_(scale * torch.randn(entry.shape, generator=generator, dtype=entry.dtype))
        return mixer

    def images(self, rows: int, columns: int, batch: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        return torch.randn(batch, rows, columns, self.dim, generator=generator, dtype=torch.float64).to(dtype)


def keeps_the_shape(subject: Subject) -> str:
    mixer = subject.build()
    for rows, columns in MAPS:
        x = subject.images(rows, columns)
        _expect_like(mixer, x, f"{rows}×{columns}")
    return ", ".join(f"{rows}×{columns}" for rows, columns in MAPS)


def keeps_the_dtype(subject: Subject) -> str:
    """Outside of autocast the input's; inside, that or autocast's, since the block adds the output to its input."""
    exact = subject.build().double()(subject.images(*UNEVEN, dtype=torch.float64))
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        mixer = subject.build().to(dtype)
        for rows, columns in MAPS:
            _expect_like(mixer, subject.images(rows, columns, dtype=dtype), f"{_said(dtype)}, {rows}×{columns}")
    off = []
    for dtype, tolerance in ((torch.bfloat16, 0.06), (torch.float16, 0.01)):
        with torch.autocast("cpu", dtype):
            output = subject.build()(subject.images(*UNEVEN))
        if output.dtype not in (dtype, torch.float32):
            raise Broken(f"under {_said(dtype)} autocast its output is {_said(output.dtype)}")
        error = float(((output - exact).abs().max() / exact.abs().max()).detach())
        if not error <= tolerance:
            raise Broken(f"under {_said(dtype)} autocast its output is {100 * error:.1f} % off that of float64")
        off.append(f"{_said(dtype)} autocast {100 * error:.2f} % off")
    return ", ".join(["float32, float64, bfloat16", *off])


def leaves_its_input(subject: Subject) -> str:
    mixer, x = subject.build(), subject.images(*UNEVEN)
    before = x.clone()
    output = mixer(x)
    if not torch.equal(x, before):
        raise Broken("the input was changed in place")
    channels_first = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    _expect_close(mixer(channels_first), output, 1e-5, "with the same map in channels-first memory the output")
    return "unchanged, and in either memory layout the same output"


def is_repeatable(subject: Subject) -> str:
    mixer = subject.build()
    first = mixer(subject.images(*UNEVEN))
    for what, batch, size in (
        ("again", 2, UNEVEN),
        ("a map of another size", 2, (15, 4)),
        ("another batch", 3, UNEVEN),
    ):
        mixer(subject.images(*size, batch=batch))
        if not torch.equal(mixer(subject.images(*UNEVEN)), first):
            raise Broken(f"another output for the same input, after {what}")
    return "bit by bit, also after other sizes"


def treats_images_alone(subject: Subject) -> str:
    mixer = subject.drawn()
    x = subject.images(*UNEVEN, batch=3, dtype=torch.float64).requires_grad_()
    output = mixer(x)
    for image in range(3):
        _expect_close(output[image : image + 1], mixer(x[image : image + 1]), 1e-9, "alone, an image's output")
    (gradient,) = torch.autograd.grad(output[1].square().sum(), x)
    if gradient[[0, 2]].any():
        raise Broken("a gradient went from one image of a batch to another")
    return "three together as each alone; no gradient between them"


def passes_gradients(subject: Subject) -> str:
    mixer = subject.drawn().train()
    x = subject.images(*UNEVEN, dtype=torch.float64).requires_grad_()
    mixer(x).square().sum().backward()
    named = dict(mixer.named_parameters()) | {"the input": x}
    for key, tensor in named.items():
        if tensor.grad is None or not tensor.grad.any():
            raise Broken(f"none reaches {key}")
        if not tensor.grad.isfinite().all():
            raise Broken(f"that of {key} is not finite")
    reached = int((x.grad[0].abs().amax(-1) > 0).sum())
    if reached < UNEVEN[0] * UNEVEN[1]:
        raise Broken(f"{UNEVEN[0] * UNEVEN[1] - reached} of {UNEVEN[0] * UNEVEN[1]} input pixels get none")
    return f"{len(named) - 1} parameters and every pixel of the input"


def costs_what_it_says(subject: Subject) -> str:
    """Held against two counters, as task=complexity does; a mixer without a closed form is counted."""
    said = []
    for rows, columns in (RESOLUTION, UNEVEN, (20, 7)):
        with torch.device("meta"):
            mixer = subject.build()
        try:
            macs = measure(_OnImages(mixer), (rows, columns), in_chans=subject.dim).macs
        except ComplexityError as error:
            raise Broken(str(error)) from error
        declared = mixer.macs((rows, columns))
        if not isinstance(declared, int):
            raise Broken(f"macs() returned {declared!r}, not an int")
        said.append(f"{macs:,} at {rows}×{columns}")
    return ("" if _has_own(subject, "macs") else "measured: ") + ", ".join(said)


def sees_what_it_says(subject: Subject) -> str:
    """`receptive_field` against gradients of several draws of weights and maps.

    More may be declared than was reached only where the reach depends on weights or map (deformable sampling).
    """
    shown = []
    for position in ((0, 0), (UNEVEN[0] // 2, UNEVEN[1] // 2), (UNEVEN[0] - 1, UNEVEN[1] - 1)):
        declared = subject.build().receptive_field(position, UNEVEN)
        if not isinstance(declared, Tensor) or declared.shape != UNEVEN or declared.dtype != torch.bool:
            seen = f"{tuple(declared.shape)}, {_said(declared.dtype)}" if isinstance(declared, Tensor) else declared
            raise Broken(f"receptive_field() returned {seen} for a map of {UNEVEN}, not bool H, W")
        shown.append(f"{int(declared.sum())} pixels at {position}")
        if not _has_own(subject, "receptive_field"):
            continue
        draws = [_reached(subject, position, seed) for seed in range(DRAWS)]
        reached = torch.stack(draws).any(0)
        if bool((missing := reached & ~declared).any()):
            pixel = tuple(missing.nonzero()[0].tolist())
            raise Broken(f"the output at {position} depends on {pixel}, which receptive_field() leaves out")
        if bool((declared & ~reached).any()) and all(torch.equal(draw, reached) for draw in draws):
            pixel = tuple((declared & ~reached).nonzero()[0].tolist())
            raise Broken(f"receptive_field() has {pixel} for the output at {position}, which never depends on it")
    return ("" if _has_own(subject, "receptive_field") else "measured: ") + ", ".join(shown)


def takes_its_options(subject: Subject) -> str:
    options = mixer_options(subject.name)
    for key, option in options.items():
        if option.default is not option.empty:
            mixer = build_mixer(subject.name, subject.dim, RESOLUTION, **subject.options() | {key: option.default})
            _expect_like(mixer.eval(), subject.images(*UNEVEN), f"with its default {key}={option.default}")
    try:
        build_mixer(subject.name, subject.dim, RESOLUTION, **subject.options(), no_such_option=1)
    except ValueError:
        return ", ".join(options) or "it has none"
    raise Broken("an option that does not exist is accepted")


def is_saved_and_loaded(subject: Subject) -> str:
    saved, other = subject.drawn().float(), subject.build(seed=1)
    other.load_state_dict(saved.state_dict())
    x = subject.images(*UNEVEN)
    if not torch.equal(other(x), saved(x)):
        raise Broken(
            "with the weights of another one loaded, its output differs: something learned is not in state_dict"
        )
    return f"{len(saved.state_dict())} entries"


def is_copied(subject: Subject) -> str:
    """A moving average of weights is a deep copy; processes of a sweep pickle."""
    mixer, x = subject.build(), subject.images(*UNEVEN)
    output = mixer(x)
    for how, copied in (("copy.deepcopy", copy.deepcopy(mixer)), ("pickle", pickle.loads(pickle.dumps(mixer)))):
        if not torch.equal(copied(x), output):
            raise Broken(f"what {how} gives computes something else")
    return "copy.deepcopy, pickle"


def is_described_on_meta(subject: Subject) -> str:
    with torch.device("meta"):
        mixer = subject.build()
        output = mixer(torch.empty(2, *UNEVEN, subject.dim))
    if any(not entry.is_meta for entry in (output, *mixer.state_dict().values())):
        raise Broken("something was allocated on another device: make tensors on the device of the input")
    return "nothing was allocated"


def works_in_a_network(subject: Subject) -> str:
    spec = NetworkSpec(
        mixer=subject.name, scale="micro", mixer_options=dict(subject.given), num_classes=10, img_size=NETWORK_IMAGE
    )
    network = build_network(spec).eval()
    with torch.no_grad(), _watched(network):
        network(torch.randn(1, 3, *NETWORK_IMAGE, generator=torch.Generator().manual_seed(0)))
    mixers = [module for module in network.modules() if isinstance(module, Mixer)]
    params = sum(parameter.numel() for parameter in network.parameters())
    return f"scale micro: {len(mixers)} blocks, {params / 1e6:.2f} M parameters"


def compiles(subject: Subject) -> str:
    mixer, x = subject.build(), subject.images(*UNEVEN)
    compiled = torch.compile(mixer, fullgraph=True)
    _expect_close(compiled(x), mixer(x), 1e-4, "compiled, its output")
    return "one graph"


Check = Callable[[Subject], str]
CHECKS: Mapping[str, Check] = {
    "takes maps of any height and width and keeps their shape": keeps_the_shape,
    "keeps the dtype, and stays close to float64 under autocast": keeps_the_dtype,
    "leaves its input as it was": leaves_its_input,
    "gives the same output for the same input": is_repeatable,
    "treats each image of a batch by itself": treats_images_alone,
    "passes finite gradients to every parameter and pixel": passes_gradients,
    "costs the multiply-accumulates that macs() says": costs_what_it_says,
    "sees the pixels that receptive_field() says": sees_what_it_says,
    "takes its options, and no other": takes_its_options,
    "is saved and loaded whole": is_saved_and_loaded,
    "is copied and pickled": is_copied,
    "is described on the meta device": is_described_on_meta,
    "works in every stage of a network": works_in_a_network,
}
COMPILES = "compiles into one graph"


@dataclass(frozen=True)
class Finding:
    """How a promise came out; `seen` says what was tried, or what went wrong."""

    sentence: str
    holds: bool
    seen: str


def check_mixer(name: str, given: Mapping[str, Any], *, dim: int, compile: bool) -> Iterator[Finding]:
    """Tries every promise of the mixer `name` with the options `given`, one after another.

    Raises: ValueError for an unknown mixer or option, or a value that the mixer refuses.
    """
    subject = Subject(name, given, dim)
    try:
        subject.build()
    except ValueError:
        raise
    except Exception as error:
        yield Finding("can be built", False, _first_line(error))
        return
    for sentence, check in (CHECKS | ({COMPILES: compiles} if compile else {})).items():
        yield try_out(sentence, check, subject)


def try_out(sentence: str, check: Check, subject: Subject) -> Finding:
    """Whatever a mixer raises is a finding, too."""
    try:
        return Finding(sentence, True, check(subject))
    except Broken as broken:
        return Finding(sentence, False, str(broken))
    except Exception as error:
        return Finding(sentence, False, _first_line(error))


def print_findings(name: str, findings: Sequence[Finding], console: Console) -> None:
    """A line a promise; signs are words where the terminal knows ASCII only."""
    ascii_only = console.options.ascii_only
    holds, broken = ("ok", "BROKEN") if ascii_only else ("✓", "✗")
    table = Table(title=f"{name}: what a network relies on", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("the mixer ...", overflow="fold")
    table.add_column("seen", overflow="fold")
    for finding in findings:
        sign = Text(holds, style="green") if finding.holds else Text(broken, style="bold red")
        seen = finding.seen.replace("×", "x") if ascii_only else finding.seen
        table.add_row(sign, finding.sentence, Text(seen))
    console.print(table)
    failed = sum(not finding.holds for finding in findings)
    summary = f"{len(findings)} sentences: {f'{failed} broken' if failed else 'all hold'}"
    if not any(finding.sentence == COMPILES for finding in findings):
        summary += "; task.compile=true tries torch.compile, too"
    console.print(summary, highlight=False, soft_wrap=True)


class _OnImages(nn.Module):
    """The mixer as a network of B, C, H, W, which is what costs are measured of."""

    def __init__(self, mixer: Mixer) -> None:
        super().__init__()
        self.mixer = mixer

    def forward(self, images: Tensor) -> Tensor:
        return self.mixer(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _reached(subject: Subject, position: tuple[int, int], seed: int) -> Tensor:
    """bool H, W: the pixels that the output at `position` depends on, with one draw of weights and map."""
    mixer = subject.drawn(seed)
    x = torch.randn(1, *UNEVEN, subject.dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x.requires_grad_()
    # Every output channel with a sign of its own, so that none cancels another.
    signs = torch.randn(subject.dim, generator=torch.Generator().manual_seed(100 + seed), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((mixer(x)[0][position] * signs).sum(), x)
    strength = gradient[0].abs().amax(-1)
    return strength > ROUNDING * strength.max()


def _has_own(subject: Subject, method: str) -> bool:
    return getattr(MIXERS[subject.name], method) is not getattr(Mixer, method)


def _expect_like(mixer: nn.Module, x: Tensor, when: str) -> None:
    output = mixer(x)
    if output.shape != x.shape:
        raise Broken(f"{when}: B, H, W, C = {tuple(x.shape)} became {tuple(output.shape)}")
    if output.dtype != x.dtype:
        raise Broken(f"{when}: its output is {_said(output.dtype)}")
    if not output.isfinite().all():
        raise Broken(f"{when}: its output is not finite")


def _expect_close(output: Tensor, wanted: Tensor, tolerance: float, what: str) -> None:
    error = float(((output - wanted).abs().max() / wanted.abs().max().clamp(min=1e-30)).detach())
    if not error <= tolerance:
        raise Broken(f"{what} is {100 * error:.2g} % off")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def _said(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@contextmanager
def _watched(network: nn.Module) -> Iterator[None]:
    """Inside, the mixer that fails or answers wrongly is named by its place.

    Raises: Broken.
    """
    entered: list[str] = []

    def enter(place: str) -> Callable[..., None]:
        return lambda module, inputs: entered.append(place)

    def leave(place: str) -> Callable[..., None]:
        def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if output.shape != inputs[0].shape:
                raise Broken(f"{place}: B, H, W, C = {tuple(inputs[0].shape)} became {tuple(output.shape)}")
            if not output.isfinite().all():
                raise Broken(f"{place}: its output is not finite")
            entered.pop()

        return look

    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, Mixer):
            place = place_of(network, name)
            hooks += [module.register_forward_pre_hook(enter(place)), module.register_forward_hook(leave(place))]
    try:
        yield
    except Broken:
        raise
    except Exception as error:
        place = entered[-1] if entered else "outside of the mixer"
        raise Broken(f"{place}: {_first_line(error)}") from error
    finally:
        for hook in hooks:
            hook.remove()
