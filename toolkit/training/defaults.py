"""Hyperparameter defaults, and where each comes from."""

from __future__ import annotations

import math

from toolkit.decoders import Decoder

# The small suite: peak rate × hidden width of full fine-tuning, and what other methods take of it.
# From small grids at 1e11 FLOP on small-7k, small-15k and small-38k, 16 and 32 pairs a step.
_SMALL_LR_TIMES_WIDTH = 0.26
_SMALL_FACTOR = {"full": 1.0, "lora": 1.25, "freeze": 2.0, "bias": 16.0}
_TOKENS_PER_PAIR = 95  # Of the embedded pairs.
# The study (docs/the-study.md): a tenth of the pre-training peak where pre-trained weights are
# trained, one rate where something small beside them is.
_STUDY_SHARE = {"full": 0.1, "freeze": 0.1}
_STUDY_LR = 1e-3
# Its four example configurations, one a method, are on pythia-70m, of this width.
_STUDY_WIDTH = 512


def learning_rate(method: str, decoder: Decoder) -> float:
    """The default peak learning rate.

    For Pythia it is the study's: full fine-tuning and block freezing take a tenth of the
    pre-training peak (1e-4 up to 70M, 6e-5 at 160M, 3e-5 at 410M and 1B, 2e-5 at 1.4B, 1.6e-5 at
    2.8B), LoRA and bias tuning 1e-3. For the small suite it falls as one over the decoder's width,
    and bias tuning takes far more than full fine-tuning does: so grids at 1e11 FLOP found. For
    other decoders, whose pre-training is not known here, it is 1e-3 at width 512 for every method,
    falling as the square root of the width: a starting point, to be tuned.
    """
    if decoder.family == "small":
        return _SMALL_LR_TIMES_WIDTH * _SMALL_FACTOR[method] / decoder.shape.hidden
    if decoder.family == "pythia" and decoder.pretraining_lr is not None:
        share = _STUDY_SHARE.get(method)
        return _STUDY_LR if share is None else share * decoder.pretraining_lr
    return _STUDY_LR * (_STUDY_WIDTH / decoder.shape.hidden) ** 0.5


def batch_pairs(decoder: Decoder, budget_flop: float) -> int:
    """The default batch: the study's 1,024 pairs at Pythia scale; for the small suite a power of
    two near 0.18 times the square root of the pairs that the budget buys, from 16 to 64.

    With few pairs the number of steps limits learning, with many the noise of small batches does.
    In runs/reference it is the best batch tried with full fine-tuning, at all nine sizes and
    budgets from 1e11 FLOP on where it was among several: with small-15k 16 at 1e11 FLOP, 32 at
    3e11, 64 at 1e12 and at 3e12; with small-85k 32 at 1e12. For smollm2-135m the same rule stands
    in, up to 1,024: at the budgets that a processor can pay, 1,024 pairs would be a step or two.
    """
    most = {"small": 64, "smollm2": 1024}.get(decoder.family)
    if most is None:
        return 1024
    pairs = budget_flop / (6 * decoder.params * _TOKENS_PER_PAIR)
    nearest = 2 ** max(4, round(math.log2(max(1.0, 0.18 * math.sqrt(pairs)))))
    return min(most, nearest)
