"""Two pictures of text pairs: how long they are, and how much of a query its answer repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from toolkit.figures.style import COLOURS, INK

if TYPE_CHECKING:
    from toolkit.pairs.look import Look

_FIRST, _SECOND = COLOURS["full"], COLOURS["lora"]


def pair_lengths(seen: Look, ax: Axes, *, max_tokens: int) -> Axes:
    """Tokens of queries and positives, and where they are cut."""
    longest = max(2 * max_tokens, float(np.quantile(seen.lengths, 0.99)))
    bins = np.linspace(0, longest, 41).tolist()
    for column, (name, shade) in enumerate((("queries", _FIRST), ("positives", _SECOND))):
        lengths = np.minimum(seen.lengths[:, column], longest)
        ax.hist(lengths, bins, color=shade, alpha=0.6, label=name)
    ax.axvline(max_tokens, color=INK, lw=1, ls="--", label=f"cut at {max_tokens}")
    ax.set(xlabel="tokens", ylabel="pairs", title="How long are the texts?")
    ax.legend()
    return ax


def pair_overlap(seen: Look, ax: Axes) -> Axes:
    """Share of each query's content words that its positive has."""
    known = seen.overlap[~np.isnan(seen.overlap)]
    ax.hist(known, np.linspace(0, 1, 21).tolist(), color=_FIRST, alpha=0.8)
    ax.set(xlabel="share of the query's content words in its positive", ylabel="pairs")
    ax.set_title("How much of a query does its answer repeat?")
    return ax
