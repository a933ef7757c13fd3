"""Batch norms whose statistics are those of a step's images on all ranks.

torch's SyncBatchNorm knows GPUs only; here its kernels are used on GPUs, and the CPU has its own arithmetic. Parameters
and buffers keep their names.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules._functions import SyncBatchNorm as FusedSyncBatchNorm
from torch.nn.modules.batchnorm import _BatchNorm


class SynchronizedBatchNorm(_BatchNorm):
    """Over axis 1. All ranks have equally many images."""

    def _check_input_dim(self, x: Tensor) -> None:
        if x.ndim < 2:
            raise ValueError(f"a batch norm needs at least two axes, not {x.ndim}")

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not dist.is_initialized():
            return super().forward(x)
        self.num_batches_tracked.add_(1)
        if x.is_cuda:
            return FusedSyncBatchNorm.apply(
                x,
                self.weight,
                self.bias,
                self.running_mean,
                self.running_var,
                self.eps,
                self.momentum,
                dist.group.WORLD,
                dist.get_world_size(),
            )
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
        wide = x.float()
        variance, mean = torch.var_mean(wide, axes, correction=0)
        everywhere = _MeanOverRanks.apply(mean)
        variance = _MeanOverRanks.apply(variance + (mean - everywhere).square())
        with torch.no_grad():
            count = x.numel() // x.shape[1] * dist.get_world_size()
            self.running_mean.lerp_(everywhere, self.momentum)
            self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return ((wide - everywhere.view(shape)) * scale.view(shape) + self.bias.view(shape)).to(x.dtype)


KNOWN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def synchronize_batch_norms(network: nn.Module) -> None:
    """Replaces every batch norm inside `network`, which keeps its parameters and buffers.

    Raises: ValueError naming one that is of a class of its own, of which nobody knows where its channels are.
    """
    for path, parent in list(network.named_modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, _BatchNorm):
                if type(norm) not in KNOWN:
                    raise ValueError(
                        f"recipe.sync_batch_norm=true: {path}.{name} is a {type(norm).__name__}, "
                        f"known are {', '.join(kind.__name__ for kind in KNOWN)}"
                    )
                setattr(parent, name, _replacement(norm))


def _replacement(norm: _BatchNorm) -> SynchronizedBatchNorm:
    new = SynchronizedBatchNorm(norm.num_features, norm.eps, norm.momentum)
    for name, parameter in norm.named_parameters():
        new.register_parameter(name, parameter)
    for name, buffer in norm.named_buffers():
        new.register_buffer(name, buffer)
    return new.train(norm.training)


class _MeanOverRanks(torch.autograd.Function):
    """Every rank's mean; backward, the mean of every rank's gradient, because each rank's tensor is in every mean."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return _mean_over_ranks(x)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return _mean_over_ranks(gradient)


def _mean_over_ranks(x: Tensor) -> Tensor:
    total = x.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
