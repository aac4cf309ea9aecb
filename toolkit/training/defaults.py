"""Hyperparameter defaults, and where each comes from."""

from __future__ import annotations

from toolkit.suite import SMALL, Decoder

# The small suite: peak rate × hidden width of full fine-tuning, and what other methods take of it.
# From small grids at 1e11 FLOP on small-7k, small-15k and small-38k, 16 and 32 pairs a step.
_SMALL_LR_TIMES_WIDTH = 0.26
_SMALL_FACTOR = {"full": 1.0, "lora": 1.25, "freeze": 2.0, "bias": 16.0}
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


def batch_pairs(decoder: Decoder) -> int:
    """The default batch: the study's 1,024 pairs at Pythia scale, 16 for the small suite.

    At the small suite's budgets the number of steps is what limits learning: full fine-tuning of
    small-15k on 1e11 FLOP ends at 5.21 with 16 pairs a step, 5.40 with 32 and 5.98 with 64.
    """
    return 16 if decoder.name in SMALL else 1024
