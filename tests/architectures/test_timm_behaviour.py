"""Every network of this project does what timm's users expect of a network; the list of them is the registry's.

The default run takes the smallest network of each kind, on small images; the slow run takes all, and adds what compiles
or exports (see test_compilation.py).
"""

import copy
import pickle

import pytest
import timm
import torch
from timm.models import group_parameters
from torch import Tensor, nn

from .networks import NETWORKS, audible, image, logits

SIZE = (64, 96)


@pytest.fixture(scope="module", params=NETWORKS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def network(name: str) -> nn.Module:
    """Built once a network; a test that changes it works on a copy."""
    return audible(timm.create_model(name, num_classes=10).eval())


@pytest.fixture(scope="module")
def expected(network: nn.Module) -> Tensor:
    with torch.no_grad():
        return network(image(SIZE))


@pytest.fixture(scope="module")
def pyramid(name: str) -> nn.Module:
    return timm.create_model(name, features_only=True)


class TestForward:
    def test_logits(self, expected: Tensor) -> None:
        assert expected.shape == (2, 10)
        assert expected.isfinite().all()

    @pytest.mark.parametrize("size", [(32, 32), (33, 71)])
    def test_any_size(self, network: nn.Module, size: tuple[int, int]) -> None:
        with torch.no_grad():
            output = network(image(size))
        assert output.shape == (2, 10)
        assert output.isfinite().all()

    def test_images_are_independent(self, network: nn.Module, expected: Tensor) -> None:
        with torch.no_grad():
            alone = network(image(SIZE)[1:])
        torch.testing.assert_close(alone, expected[1:], rtol=1e-4, atol=1e-5)

    def test_head_follows_features(self, network: nn.Module, expected: Tensor) -> None:
        with torch.no_grad():
            features = network.forward_features(image(SIZE))
            before = network.forward_head(features, pre_logits=True)
            torch.testing.assert_close(network.forward_head(features), expected)
        assert before.shape == (2, network.head_hidden_size)

    def test_channels_last_memory(self, network: nn.Module, expected: Tensor) -> None:
        converted = copy.deepcopy(network).to(memory_format=torch.channels_last)
        with torch.no_grad():
            output = converted(image(SIZE).to(memory_format=torch.channels_last))
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)

    # Eight times the error for three bits less; deep products of generated kernels make the most of it.
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.5), (torch.float16, 0.15)])
    def test_autocast(self, network: nn.Module, expected: Tensor, dtype: torch.dtype, tolerance: float) -> None:
        with torch.no_grad(), torch.autocast("cpu", dtype):
            output = network(image(SIZE)).float()
        assert output.isfinite().all()
        assert (output - expected).norm() <= tolerance * expected.norm()


class TestTraining:
    def test_every_parameter_gets_a_gradient(self, network: nn.Module) -> None:
        trained = copy.deepcopy(network).train()
        logits(trained(image(SIZE))).square().sum().backward()
        without = [key for key, parameter in trained.named_parameters() if parameter.grad is None]
        assert not without
        assert all(parameter.grad.isfinite().all() for parameter in trained.parameters())

    def test_gradient_checkpointing_changes_nothing(self, network: nn.Module) -> None:
        plain, checkpointed = copy.deepcopy(network).train(), copy.deepcopy(network).train()
        checkpointed.set_grad_checkpointing()
        saved: dict[nn.Module, int] = {}
        for trained in (plain, checkpointed):
            torch.manual_seed(1)  # the same stochastic depth and dropout
            with torch.autograd.graph.saved_tensors_hooks(lambda tensor: _count(saved, trained, tensor), lambda x: x):  # noqa: B023
                output = logits(trained(image(SIZE)))
            output.square().sum().backward()
        for (key, first), (_, second) in zip(plain.named_parameters(), checkpointed.named_parameters(), strict=True):
            torch.testing.assert_close(second.grad, first.grad, msg=lambda text, key=key: f"{key}: {text}")
        for (key, first), (_, second) in zip(plain.named_buffers(), checkpointed.named_buffers(), strict=True):
            torch.testing.assert_close(second, first, msg=lambda text, key=key: f"{key}: {text}")
        assert saved[checkpointed] < 0.5 * saved[plain]

    def test_layer_groups_cover_every_parameter(self, network: nn.Module) -> None:
        names = {key for key, _ in network.named_parameters()}
        for coarse in (False, True):
            groups = group_parameters(network, network.group_matcher(coarse=coarse))
            assert {key for group in groups.values() for key in group} == names
            assert len(groups) > 4
        assert network.no_weight_decay() <= names


def _count(saved: dict[nn.Module, int], trained: nn.Module, tensor: Tensor) -> Tensor:
    if not isinstance(tensor, nn.Parameter):
        saved[trained] = saved.get(trained, 0) + tensor.numel()
    return tensor


class TestClassifier:
    def test_removed_and_replaced(self, network: nn.Module) -> None:
        changed = copy.deepcopy(network)
        changed.reset_classifier(0)
        with torch.no_grad():
            assert changed(image(SIZE)).shape == (2, network.head_hidden_size)
            changed.reset_classifier(7)
            assert changed(image(SIZE)).shape == (2, 7)
        assert changed.num_classes == 7

    def test_other_classes_and_channels(self, name: str) -> None:
        one_channel = timm.create_model(name, pretrained=False, num_classes=3, in_chans=1).eval()
        with torch.no_grad():
            assert one_channel(torch.randn(1, 1, 64, 64)).shape == (1, 3)
            assert one_channel.in_chans == 1

    def test_description(self, name: str, network: nn.Module) -> None:
        description, entries = network.default_cfg, network.state_dict()
        assert description["architecture"] == name
        classifiers = description["classifier"]
        for classifier in (classifiers,) if isinstance(classifiers, str) else classifiers:
            assert len(entries[f"{classifier}.weight"]) == 10
        assert entries[f"{description['first_conv']}.weight"].shape[1] == 3
        with torch.device("meta"):
            described = timm.create_model(name).eval()
            features = described.forward_intermediates(
                torch.empty(1, *description["input_size"]), intermediates_only=True
            )
        assert tuple(features[-1].shape[2:]) == description["pool_size"]
        assert features[-1].shape[1] == described.num_features


class TestFeatures:
    def test_pyramid_is_as_announced(self, pyramid: nn.Module) -> None:
        with torch.no_grad():
            maps = pyramid(image((64, 128)))
        shapes = [tuple(feature_map.shape) for feature_map in maps]
        announced = zip(pyramid.feature_info.channels(), pyramid.feature_info.reduction(), strict=True)
        assert shapes == [(2, channels, 64 // reduction, 128 // reduction) for channels, reduction in announced]
        assert list(pyramid.feature_info.reduction()) == [4, 8, 16, 32]

    def test_pyramid_uses_all_its_parameters(self, pyramid: nn.Module) -> None:
        """So that it trains under DistributedDataParallel, in which every parameter must get a gradient."""
        trained = copy.deepcopy(pyramid).train()
        sum(feature_map.square().mean() for feature_map in trained(image(SIZE))).backward()
        assert not [key for key, parameter in trained.named_parameters() if parameter.grad is None]

    def test_some_maps(self, name: str, pyramid: nn.Module) -> None:
        some = timm.create_model(name, features_only=True, out_indices=(2, -3))
        assert some.feature_info.channels() == [pyramid.feature_info.channels()[index] for index in (2, 1)]
        assert len(some.model.stages) == 3
        with torch.no_grad():
            assert [feature_map.shape[1] for feature_map in some(image(SIZE))] == some.feature_info.channels()[::-1]

    def test_intermediates(self, network: nn.Module, expected: Tensor) -> None:
        with torch.no_grad():
            final, maps = network.forward_intermediates(image(SIZE))
            torch.testing.assert_close(network.forward_head(final), expected)
            (last,) = network.forward_intermediates(image(SIZE), indices=1, intermediates_only=True)
            assert torch.equal(last, maps[-1])
            _, (early,) = network.forward_intermediates(image(SIZE), indices=[1], stop_early=True)
            assert torch.equal(early, maps[1])
            channels_last = network.forward_intermediates(image(SIZE), output_fmt="NHWC", intermediates_only=True)
            assert torch.equal(channels_last[1].permute(0, 3, 1, 2), maps[1])
            with pytest.raises(ValueError, match="NLC"):
                network.forward_intermediates(image(SIZE), output_fmt="NLC")
            with pytest.raises(ValueError, match="4 stages"):
                network.forward_intermediates(image(SIZE), indices=[4])


class TestCopies:
    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
    def test_copy_computes_the_same(self, network: nn.Module, expected: Tensor, copied) -> None:
        with torch.no_grad():
            assert torch.equal(copied(network)(image(SIZE)), expected)

    def test_entry_point_is_importable(self, name: str) -> None:
        entrypoint = timm.model_entrypoint(name)
        assert pickle.loads(pickle.dumps(entrypoint)) is entrypoint
        assert name in timm.list_models(module=entrypoint.__module__.rpartition(".")[2])
        assert name in timm.list_models(f"{name}*")
