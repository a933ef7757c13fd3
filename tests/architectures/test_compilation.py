"""Every network compiles into one graph for all batch sizes, and can be exported; the list of them is the registry's.

The default run traces each kind of network once, and every mixer; the slow run takes all networks, generates code for
the smallest of each kind, and runs their ONNX files.
"""

import io
from collections.abc import Iterator

import onnxruntime
import pytest
import torch
from torch import nn
from torch.export import Dim

from architectures import NetworkSpec, build_network
from mixers import MIXERS

from ..mixers.plain import PLAIN
from .networks import NETWORKS, SMALLEST, audible, image

SIZE = (64, 96)
# All mixers in as few networks as possible: four in each, the last one filled up.
MIXED = [tuple((sorted(MIXERS) * 2)[start : start + 4]) for start in range(0, len(MIXERS), 4)]
TRACED = [
    *[pytest.param(NetworkSpec(mixer=mixers, scale="micro", num_classes=10), id="-".join(mixers)) for mixers in MIXED],
    *[
        pytest.param(
            NetworkSpec(network.values[0], num_classes=10),
            id=network.values[0],
            marks=()
            if network.values[0] in ("dwnet_tiny", "contnet_tiny", "conformer_tiny_patch16")
            else pytest.mark.slow,
        )
        for network in NETWORKS
    ],
]


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    """The compiler keeps graphs by code, which networks share: a second network would count as a recompilation."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def built(spec: NetworkSpec) -> nn.Module:
    """In float64 where a mixer chooses: what another order of float32's sums turns is no matter of graphs."""
    network = audible(build_network(spec).eval())
    choosing = tuple(MIXERS[mixer] for mixer, plain in PLAIN.items() if plain.chooses)
    return network.double() if any(isinstance(module, choosing) for module in network.modules()) else network


def assert_one_graph_for_all_batches(network: nn.Module, backend: str) -> None:
    compiled = torch.compile(network, backend=backend, fullgraph=True)
    dtype = next(network.parameters()).dtype
    first = image(SIZE).to(dtype)
    torch._dynamo.mark_dynamic(first, 0)
    with torch.no_grad(), torch._dynamo.config.patch(error_on_recompile=True):
        for images in (first, image(SIZE, batch=3).to(dtype), image(SIZE, batch=5).to(dtype)):
            torch.testing.assert_close(compiled(images), network(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("spec", TRACED)
def test_one_graph_for_all_batch_sizes(spec: NetworkSpec) -> None:
    assert_one_graph_for_all_batches(built(spec), "eager")


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_generated_code_computes_the_same(name: str) -> None:
    assert_one_graph_for_all_batches(built(NetworkSpec(name, num_classes=10)), "inductor")


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_compiled_training_step(name: str) -> None:
    network = built(NetworkSpec(name, num_classes=10)).train()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    outputs = compiled(image(SIZE))
    sum(output.square().sum() for output in (outputs if isinstance(outputs, tuple) else (outputs,))).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_exported_program_takes_any_batch(name: str) -> None:
    network = built(NetworkSpec(name, num_classes=10))
    program = torch.export.export(network, (image(SIZE),), dynamic_shapes={"x": {0: Dim.DYNAMIC}}, strict=True)
    with torch.no_grad():
        for batch in (2, 3):
            images = image(SIZE, batch)
            torch.testing.assert_close(program.module()(images), network(images), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
@pytest.mark.filterwarnings("default")  # of the exporter itself
def test_onnx_file_computes_the_same(name: str) -> None:
    network = built(NetworkSpec(name, num_classes=10))
    program = torch.onnx.export(network, (image(SIZE),), dynamo=True, dynamic_shapes=({0: Dim.DYNAMIC},), verbose=False)
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue())
    for batch in (2, 3):
        images = image(SIZE, batch)
        (output,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        with torch.no_grad():
            expected = network(images)
        # Relative to the largest logit: at its initialisation a Conformer's are in the thousands.
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(torch.from_numpy(output), expected, rtol=0, atol=1e-4 * scale)
