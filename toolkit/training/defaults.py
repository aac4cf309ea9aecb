"""The default batch, and where it comes from; each method has its default rate."""

from __future__ import annotations

import math

from toolkit.decoders import Decoder

_TOKENS_PER_PAIR = 95  # Of the embedded pairs.


def batch_pairs(decoder: Decoder, budget_flop: float) -> int:
    """The default batch of a decoder: `usual_batch` of its family and size."""
    return usual_batch(decoder.family, decoder.params, budget_flop)


def usual_batch(family: str, params: float, budget_flop: float) -> int:
    """The default batch: the study's 1,024 pairs for Pythia; for any other decoder a power of two
    near a multiple of the square root of the pairs that the budget buys, from 16 to 1,024.

    With few pairs the number of steps limits learning, with many the noise of small batches does.
    The multiple is 0.18 for the small suite, up to 64 pairs: in runs/reference it is the best batch
    tried with full fine-tuning, at all nine sizes and budgets from 1e11 FLOP on where it was among
    several. A decoder that knows a language needs fewer steps: 0.7, which gives the best batch
    tried with smollm2-135m in four of five places, one block at 2e12 FLOP (16 and 32, freezing;
    runs/calibrated-real) and at 1e13, two at 3e13 (16 to 128; runs/real-decoder) and at 1e14 (64
    and 128), and is 1 % behind in the fifth, two blocks at 1e13; it stands in for a user's own.
    """
    if family == "pythia":
        return 1024
    multiple, most = (0.18, 64) if family == "small" else (0.7, 1024)
    pairs = budget_flop / (6 * params * _TOKENS_PER_PAIR)
    nearest = 2 ** max(4, round(math.log2(max(1.0, multiple * math.sqrt(pairs)))))
    return min(most, nearest)
