"""Hyperparameter defaults, and where each comes from."""

from __future__ import annotations

import math

from toolkit.decoders import SMALL, Decoder

# The small suite: peak rate × hidden width of full fine-tuning, and what other methods take of it.
# From small grids at 1e11 FLOP on small-7k, small-15k and small-38k, 16 and 32 pairs a step.
_SMALL_LR_TIMES_WIDTH = 0.26
_SMALL_FACTOR = {"full": 1.0, "lora": 1.25, "freeze": 2.0, "bias": 16.0}
_SMALL_TOKENS_PER_PAIR = 95  # Of the embedded pairs.
# The study's four example configurations, one a method, all on pythia-70m (width 512), set 1e-3.
_STUDY_LR, _STUDY_WIDTH = 1e-3, 512


def learning_rate(method: str, decoder: Decoder) -> float:
    """The default peak learning rate.

    For the small suite it falls as one over the decoder's width, and bias tuning takes far more
    than full fine-tuning does: so grids at 1e11 FLOP found. For other decoders it is the study's
    1e-3 at width 512, for every method, falling as the square root of the width: a starting point.
    """
    if decoder.name in SMALL:
        return _SMALL_LR_TIMES_WIDTH * _SMALL_FACTOR[method] / decoder.shape.hidden
    return _STUDY_LR * (_STUDY_WIDTH / decoder.shape.hidden) ** 0.5


def batch_pairs(decoder: Decoder, budget_flop: float) -> int:
    """The default batch: the study's 1,024 pairs at Pythia scale; for the small suite a power of
    two near 0.18 times the square root of the pairs that the budget buys, from 16 to 64.

    With few pairs the number of steps limits learning, with many the noise of small batches does.
    In runs/reference it is the best batch tried with full fine-tuning, at all nine sizes and
    budgets from 1e11 FLOP on where it was among several: with small-15k 16 at 1e11 FLOP, 32 at
    3e11, 64 at 1e12 and at 3e12; with small-85k 32 at 1e12.
    """
    if decoder.name not in SMALL:
        return 1024
    pairs = budget_flop / (6 * decoder.params * _SMALL_TOKENS_PER_PAIR)
    nearest = round(math.log2(max(1.0, 0.18 * math.sqrt(pairs))))
    return 2 ** min(6, max(4, nearest))
