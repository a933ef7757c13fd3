"""Whether attacks failed because the network is robust, or because its gradients lead them astray.

After Athalye et al., Obfuscated Gradients Give a False Sense of Security, arXiv 1802.00420, section 3.1, and Carlini et
al., On Evaluating Adversarial Robustness, arXiv 1902.06705.
"""

from collections.abc import Mapping, Sequence

TOLERANCE = 1.0
"""Percentage points by which a comparison may go the wrong way: attacks start at random places."""

Curve = Mapping[float, float]
"""Epsilon -> accuracy in percent."""


def failed_checks(norm: str, clean: float, pgd: Curve, others: Mapping[str, Curve]) -> list[str]:
    """What does not hold of a norm, in words; nothing where the attack can be believed.

    Args:
        clean: accuracy without an attack, in percent.
        others: of `fgsm`, `noise`, `transfer` what there is, at epsilons of `pgd`.
    """
    failed = [*_monotone(norm, clean, pgd), *_to_zero(norm, pgd)]
    reasons = {
        "fgsm": "one step does better than many",
        "noise": "a random direction does better than the gradient's",
        "transfer": "a copy's gradient does better than the network's own",
    }
    for name, curve in others.items():
        for epsilon, accuracy in curve.items():
            if accuracy < pgd[epsilon] - TOLERANCE:
                failed.append(
                    f"{norm} {epsilon:g}: {name} leaves {accuracy:.1f} %, less than pgd's {pgd[epsilon]:.1f} %: "
                    f"{reasons[name]}"
                )
    return failed


def _monotone(norm: str, clean: float, pgd: Curve) -> list[str]:
    """A larger ball holds the smaller one, and every attack in it."""
    epsilons: Sequence[float] = sorted(pgd)
    accuracies = [clean, *(pgd[epsilon] for epsilon in epsilons)]
    return [
        f"{norm} {epsilon:g}: accuracy rises from {before:.1f} to {after:.1f} % with epsilon"
        for epsilon, before, after in zip(epsilons, accuracies[:-1], accuracies[1:], strict=True)
        if after > before + TOLERANCE
    ]


def _to_zero(norm: str, pgd: Curve) -> list[str]:
    """Nothing stands an attack without bounds."""
    greatest = max(pgd)
    if pgd[greatest] <= TOLERANCE:
        return []
    return [
        f"{norm} {greatest:g}: {pgd[greatest]:.1f} % are still right under the strongest attack, which ought to be 0"
    ]
