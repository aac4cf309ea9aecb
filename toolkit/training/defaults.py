"""Hyperparameter defaults, and where each comes from."""

from __future__ import annotations

import math

from toolkit.suite import SMALL, Decoder

# The small suite: peak rate × hidden width of full fine-tuning, and what other methods take of it.
# From small grids at 1e11 FLOP on small-7k, small-15k and small-38k, 16 and 32 pairs a step.
_SMALL_LR_TIMES_WIDTH = 0.26
_SMALL_FACTOR = {"full": 1.0, "lora": 1.25, "freeze": 2.0, "bias": 16.0}
_SMALL_BATCH, _SMALL_BATCH_UP_TO = 16, 1e11
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
    """The default batch: the study's 1,024 pairs at Pythia scale; for the small suite 16 pairs up
    to 1e11 FLOP, twice as many for every threefold budget above, 64 at most.

    With a small budget the number of steps limits learning, with a larger one the noise of small
    batches does. Full fine-tuning of small-15k in runs/reference, each batch at its best rate: on
    1e11 FLOP 16 pairs are best of 8 to 64; on 1e12 the loss falls from 3.83 with 8 over 3.07 and
    2.90 to 2.75 with 64; on 3e12 it is 2.52 with 64 and 2.70 with 128.
    """
    if decoder.name not in SMALL:
        return 1024
    threefold = math.log(budget_flop / _SMALL_BATCH_UP_TO, 3)
    return _SMALL_BATCH * 2 ** min(2, max(0, math.floor(threefold + 0.01)))
