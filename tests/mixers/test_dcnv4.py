"""DCNv4 starts as the authors' does."""

import torch

from .cases import Case, random_map


def test_nothing_is_added_at_first_and_learning_starts_with_offsets_and_weights() -> None:
    torch.manual_seed(0)
    mixer = Case({"groups": 2}, mixer="dcnv4").build()
    mixer.init_weights()
    x = random_map(5, 6)
    output = mixer(x)
    assert not output.any()
    assert mixer.value_proj.weight.abs().max() <= (6 / (2 * mixer.dim)) ** 0.5  # Glorot's bound
    output.sum().backward()
    # The weights learn at once, and with the first that is not zero the offsets, too.
    of_weights = mixer.offset_mask.weight.grad.unflatten(0, (2, 27))[:, 18:]
    assert of_weights.abs().amax(-1).all()
    mixer.offset_mask.weight.data -= mixer.offset_mask.weight.grad
    mixer(x).sum().backward()
    assert mixer.offset_mask.weight.grad.abs().amax(-1).all()
