"""docs/mixers.md: a row for every mixer, from what its file says, what it computes, and what it is tested against.

python -m tests.mixers.page > docs/mixers.md
"""

import ast
import re
import sys
from pathlib import Path

import torch

from architectures.mixer_options import options_of_block
from mixers import MIXERS, Mixer, build_mixer

from .test_golden import ENTRIES

TESTS = Path(__file__).parent
DIM, RESOLUTION, PIXEL = 64, (28, 28), (17, 17)
HEAD = """# The mixers

Each is one file in `mixers/` and one name: `mixer=NAME`. Every mixer takes and returns maps `B, H, W, C`, for any
height and width, and equals a plain twin (`tests/mixers/plain/`), written pixel by pixel, in its outputs and all
gradients; the last column says what else it is held against. `python -m tests.mixers.page > docs/mixers.md` makes this
page.

- **sees**: the input pixels that the output pixel at row and column 17 of a 28×28 map may depend on, in the second
  block of a network's third stage.
- **mixes by**: weights that are the same for every image, or that are computed from it.
- **multiply-accumulates** of one image, H rows, W columns and C channels; norms, activations and softmax do not count.

| mixer | what it is | paper | sees | mixes by | multiply-accumulates | held against |
|---|---|---|---|---|---|---|
"""


def page() -> str:
    return HEAD + "".join(f"| {' | '.join(row(name))} |\n" for name in sorted(MIXERS))


def row(name: str) -> tuple[str, ...]:
    """Raises: ValueError where the mixer's file lacks a paragraph that starts with "Cost: "."""
    told = sys.modules[MIXERS[name].__module__].__doc__ or ""
    title, _, rest = told.partition("\n\n")
    paragraphs = re.split(r"\n(?=[A-Z][a-z]+: )", rest)
    costs = [" ".join(text.split()) for text in paragraphs if text.startswith("Cost: ")]
    if not costs:
        raise ValueError(f"{name}: the docstring of its file says no cost; give it a paragraph 'Cost: FORMULA.'")
    cost = costs[0].removeprefix("Cost: ").split(". ")[0].rstrip(".")
    torch.manual_seed(0)
    options = options_of_block(name, dim=DIM, stage=2, block=1, given={})
    mixer = build_mixer(name, DIM, RESOLUTION, **options).double().eval()
    return f"`{name}`", " ".join(title.split()), paper(told), reach(mixer), weights(mixer), cost, held_against(name)


def paper(told: str) -> str:
    """The first that the file names."""
    number = re.search(r"arXiv:(\d{4}\.\d{5})", told)
    return f"[{number[1]}](https://arxiv.org/abs/{number[1]})" if number else ""


def reach(mixer: Mixer) -> str:
    field = mixer.receptive_field(PIXEL, RESOLUTION)
    rows, columns = int(field.any(1).sum()), int(field.any(0).sum())
    if field.all():
        return "the whole map"
    box = f"{rows}×{columns}"
    return box if int(field.sum()) == rows * columns else f"{int(field.sum())} pixels of {box}"


@torch.no_grad()
def weights(mixer: Mixer) -> str:
    """A sum of pixels by weights of its own is a linear function of the map, but for a constant."""
    one, other = torch.randn(2, 1, 9, 10, DIM, dtype=torch.float64)
    both = mixer(one + other) + mixer(torch.zeros_like(one))
    is_linear = torch.allclose(both, mixer(one) + mixer(other), rtol=1e-6, atol=1e-9)
    return "fixed weights" if is_linear else "weights from the image"


def held_against(name: str) -> str:
    for path in (TESTS / "against_others" / f"test_{name}.py", TESTS / f"test_{name}.py"):
        if path.exists():
            told = ast.get_docstring(ast.parse(path.read_text())) or ""
            return " ".join(told.partition("\n\n")[0].split()).rstrip(".")
    return "outputs of its authors' module" if name in {entry.values[2] for entry in ENTRIES} else ""


if __name__ == "__main__":
    sys.stdout.write(page())
