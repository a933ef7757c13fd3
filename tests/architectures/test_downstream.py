"""Any network under a segmentation head and in a detector, on an image whose sides are no multiples of 32."""

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

import architectures  # noqa: F401  registers the networks with timm

from .networks import NETWORKS, image

SIZE = (200, 264)
BY_DEFAULT = ("unified_swin_micro", "contnet_tiny", "dwnet_tiny", "conformer_tiny_patch16")
EACH = [
    pytest.param(parameter.values[0], marks=() if parameter.values[0] in BY_DEFAULT else pytest.mark.slow)
    for parameter in NETWORKS
]


class Pyramid(nn.Module):
    """What torchvision's detectors ask of a backbone: `out_channels`, and a dictionary of maps."""

    def __init__(self, name: str, out_channels: int = 32) -> None:
        super().__init__()
        self.body = timm.create_model(name, features_only=True)
        self.fpn = FeaturePyramidNetwork(self.body.feature_info.channels(), out_channels)
        self.out_channels = out_channels

    def forward(self, images):
        return self.fpn({str(level): features for level, features in enumerate(self.body(images))})


def step(network, loss):
    """One optimiser step; gradients are finite and most parameters move."""
    loss.backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    torch.optim.SGD(network.parameters(), lr=1e-3).step()
    moved = [not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2


@pytest.mark.parametrize("name", EACH)
def test_segmentation_with_upernet(name):
    network = smp.UPerNet(encoder_name=f"tu-{name}", encoder_weights=None, classes=5, decoder_channels=32)
    # The library asks for multiples of 32 on behalf of decoders that need them; this one does not.
    network.requires_divisible_input_shape = False
    # Its pooled branch has BatchNorm on 1×1 maps, so a training step needs two images.
    output = network.train()(image(SIZE))
    assert output.shape == (2, 5, *SIZE)
    target = torch.randint(5, (2, *SIZE), generator=torch.Generator().manual_seed(0))
    step(network, F.cross_entropy(output, target))


@pytest.mark.parametrize("name", EACH)
def test_detection_with_faster_rcnn(name):
    torch.manual_seed(0)
    backbone = Pyramid(name)
    levels = len(backbone.body.feature_info.channels())
    detector = FasterRCNN(
        backbone,
        num_classes=3,
        min_size=SIZE[0],
        max_size=SIZE[1],
        rpn_anchor_generator=AnchorGenerator(tuple((16 * 2**i,) for i in range(levels)), ((0.5, 1.0, 2.0),) * levels),
        box_roi_pool=MultiScaleRoIAlign([str(level) for level in range(levels)], output_size=7, sampling_ratio=2),
        rpn_batch_size_per_image=32,
        box_batch_size_per_image=32,
    )
    boxes = torch.tensor([[10.0, 20.0, 90.0, 120.0], [100.0, 40.0, 240.0, 180.0]])
    targets = [{"boxes": boxes, "labels": torch.tensor([1, 2])}] * 2
    losses = detector.train()(list(image(SIZE)), targets)
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    step(detector, sum(losses.values()))
    with torch.no_grad():
        [found] = detector.eval()(list(image(SIZE, batch=1)))
    assert set(found) == {"boxes", "labels", "scores"}
