"""Every mixer again, in a file of its own: as plain as possible, with the configurations in which the two must agree.

Each maps one image H, W, C with the mixer's state dict and options to H, W, C. Written from the papers and the facts
about the authors' code, not from mixers/. A new mixer's file is found by its place.
"""

from importlib import import_module
from pkgutil import iter_modules

from ..cases import Case, Plain

PLAIN: dict[str, Plain] = {}
for module in iter_modules(__path__):
    found = getattr(import_module(f".{module.name}", __name__), "PLAIN", None)
    if found is not None:
        PLAIN[found.mixer] = found

MAIN_CASES: list[Case] = [case for plain in PLAIN.values() for case in plain.cases]
"""As the networks use them."""
OPTION_CASES: list[Case] = [case for plain in PLAIN.values() for case in plain.option_cases]
"""Every other branch of the options."""
CASES = MAIN_CASES + OPTION_CASES
