"""The default batch, and where it comes from; each method has its default rate."""

from __future__ import annotations

import math

from toolkit.decoders import Decoder

_TOKENS_PER_PAIR = 95  # Of the embedded pairs.


def batch_pairs(decoder: Decoder, budget_flop: float) -> int:
    """The default batch: the study's 1,024 pairs for Pythia; for any other decoder a power of two
    near 0.18 times the square root of the pairs that the budget buys, from 16 to 1,024, of the
    small suite to 64.

    With few pairs the number of steps limits learning, with many the noise of small batches does.
    In runs/reference it is the best batch tried with full fine-tuning, at all nine sizes and
    budgets from 1e11 FLOP on where it was among several: with small-15k 16 at 1e11 FLOP, 32 at
    3e11, 64 at 1e12 and at 3e12; with small-85k 32 at 1e12. For smollm2-135m and a user's own
    decoders the same rule stands in: at the budgets that a processor can pay, 1,024 pairs would be
    a step or two.
    """
    if decoder.family == "pythia":
        return 1024
    most = 64 if decoder.family == "small" else 1024
    pairs = budget_flop / (6 * decoder.params * _TOKENS_PER_PAIR)
    nearest = 2 ** max(4, round(math.log2(max(1.0, 0.18 * math.sqrt(pairs)))))
    return min(most, nearest)
