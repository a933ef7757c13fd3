"""Window MLP equals a convolution of PyTorch's from windows to pixels, which are then put in their places."""

import pytest
import torch.nn.functional as F
from torch import Tensor

from mixers import build_mixer

from ..cases import DIM, randomise
from .equality import assert_equal_to, channels_first

WINDOW = 7


@pytest.mark.parametrize("resolution", [(14, 21), (12, 8), (5, 30)])
@pytest.mark.parametrize(("num_heads", "shift"), [(2, 0), (2, 3), (DIM, 3)])
def test_equals_a_strided_convolution_and_a_pixel_shuffle(
    num_heads: int, shift: int, resolution: tuple[int, int]
) -> None:
    options = {"num_heads": num_heads, "shift_size": shift}
    mixer = randomise(build_mixer("window_mlp", DIM, (14, 14), **options).double(), seed=0)
    kernels = mixer.weight.repeat_interleave(DIM // num_heads, 0).reshape(-1, 1, WINDOW, WINDOW)
    bias = mixer.bias.repeat_interleave(DIM // num_heads, 0).flatten()
    rows, columns = resolution
    front = WINDOW - shift if shift and min(resolution) > WINDOW else 0

    def shuffled(x: Tensor) -> Tensor:
        x = F.pad(x, (front, WINDOW, front, WINDOW))  # the last, incomplete window is left out by the convolution
        x = F.pixel_shuffle(F.conv2d(x, kernels, bias, stride=WINDOW, groups=DIM), WINDOW)
        return x[:, :, front : front + rows, front : front + columns]

    assert_equal_to(mixer, channels_first(shuffled), dim=DIM, resolution=resolution)
