"""A network with its weights, ready to be asked; what every analysis of a trained network starts from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from architectures import NetworkSpec, build_network
from training.augmentation import Normalize
from training.data import Batches, Transform, validation_batches
from training.evaluate import at
from training.precision import autocast
from training.settings import DataSettings

from ..task import Config, Results
from .cost import with_costs
from .device import device_of
from .network import network_spec
from .origin import origin_of
from .weights import load


@dataclass(frozen=True)
class Trained:
    """`network` is in eval mode, on its device, in the memory format of training; it is no inference form, so that
    gradients and hooks work."""

    spec: NetworkSpec
    network: nn.Module
    data: DataSettings
    precision: str
    device: torch.device
    normalize: Normalize
    origin: Mapping[str, Any]

    def batches(
        self, batch_size: int, *, transform: Transform | None = None, seed: int = 0, most: int | None = None
    ) -> Batches:
        """The validation images in a fixed order: pixel values between 0 and 255 (B, 3, H, W) with labels.

        `transform` and `seed` are for views of the whole images, see `training.data.validation_batches`; of very many
        images, `most` are enough for some questions.
        """
        return validation_batches(
            self.data, batch_size=batch_size, device=self.device, transform=transform, seed=seed, most=most
        )

    def logits(self, network: nn.Module, pixels: Tensor) -> Tensor:
        """What `network` (this one, or its inference form) answers to pixel values (B, 3, H, W), in float32."""
        with autocast(self.device, self.precision):
            answered = network(self.normalize(pixels))
        return answered.float()

    def results(self, results: Mapping[str, float], observations: Iterable[Mapping[str, Any]] = ()) -> Results:
        """What an analysis found, beside what every record says of its network and of its weights."""
        found = with_costs(self.spec, results)
        return {**found, "details": {**found["details"], "weights": self.origin, "observations": list(observations)}}


def trained(config: Config, *, show_progress: bool) -> Trained:
    """The network of `config` with `config["weights"]`, where there are any; else as the seed has initialised it.

    Raises: as `load`.
    """
    spec, data = network_spec(config), DataSettings(**config["data"])
    network = build_network(spec)
    if config["weights"]:
        average = config["task"].get("average", False)
        load(network, spec, config["weights"], fine_tuning=False, average=average, show_progress=show_progress)
    place = torch.device(device_of(config))
    network = at(place, network).eval()
    origin = origin_of(config["weights"])
    return Trained(spec, network, data, config["precision"], place, Normalize(data, place), origin)


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` of `count` places, or all, evenly spread: data sets are often in the order of their classes."""
    if wanted >= count:
        return list(range(count))
    return [(2 * place + 1) * count // (2 * wanted) for place in range(wanted)]
