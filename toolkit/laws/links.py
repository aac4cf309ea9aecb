"""How what is still to be learnt, x, becomes a loss: L = E + (ceiling - E) h(x).

x = A N^-alpha + B D'^-beta is Hoffmann et al.'s sum of what a finite decoder and finite data leave
unlearnt (arXiv:2203.15556, eq. 2), here without a unit. D' is the effective number of pairs: with U
distinct ones, D' = U + U R (1 - exp(-(D/U - 1)/R)) beyond the first epoch (Muennighoff et al. 2023,
arXiv:2305.16264, eq. 5).

The two links differ where little has been learnt. Over K candidates an encoder that knows nothing
has a contrastive loss of ln K. "bounded", h = x/(1 + x), ends there; "chinchilla", h = x, goes
through it and on. Both are one law where x is small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from toolkit.laws.forms.data_constrained import effective
from toolkit.laws.optimiser import Array


@dataclass(frozen=True)
class Link:
    """A link: its name, its equation, h and the derivative of h."""

    name: str
    equation: str
    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]


LINKS = {
    link.name: link
    for link in (
        Link(
            "bounded",
            "L = E + (ln K - E) x/(1 + x)",
            lambda x: x / (1 + x),
            lambda x: (1 + x) ** -2,
        ),
        Link("chinchilla", "L = E + c x", lambda x: x, np.ones_like),
    )
}


def effective_data(log_pairs: Array, log_unique: Array, log_decay: Array) -> tuple[Array, Array]:
    """ln D' and its derivative by ln R, of ln D, ln U (infinite where there is no end of data)."""
    value, _, by_decay = effective(log_pairs, np.minimum(log_pairs, log_unique), log_decay)
    return value, by_decay
