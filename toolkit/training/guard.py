"""Before the first step: what is assumed of a decoder is tried on two short texts.

The FLOPs of a step are counted before anything runs, and texts run packed or padded without a mask.
Both are exact for the architectures that were tested, and here both are held against a referee for
the one at hand: torch's own count, and the decoder's plain forward pass with a mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from toolkit.contrast.packing import plan_step
from toolkit.contrast.step import ContrastiveStep, lay_out_all
from toolkit.doors import attending
from toolkit.errors import ToolkitError
from toolkit.flops import step_flops
from toolkit.pairs.ragged import Ragged

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from toolkit.decoders import Decoder
    from toolkit.methods import Method

TOLERANCE = 0.01
_LENGTHS = np.array([5, 9], np.int32)


def try_out(model: PreTrainedModel, decoder: Decoder, method: Method) -> None:
    """Make sure that this decoder is counted and run as it should be.

    Args:
        model: With the method applied, on the CPU; its gradients are cleared.
        decoder, method: What the count is made from.

    Raises:
        ToolkitError: Counted and real FLOPs, or the hidden states of both ways to run, are over
            1 % apart (both numbers are told), or it does not run at all.
    """
    ids = np.arange(_LENGTHS.sum(), dtype=np.int32) % decoder.shape.vocabulary
    texts = Ragged(ids, _LENGTHS)
    try:
        with attending(model, "eager"):
            step = ContrastiveStep(model, temperature=0.05, precision="float32")
            _same_states(step, texts, decoder.name)
            if not step.body.causal:
                _both_ways(step, texts, decoder.name)
            _same_flop(step, texts, decoder, method)
    except ToolkitError:
        raise
    except Exception as error:  # each architecture's own code fails in its own way
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise ToolkitError(
            f"decoder {decoder.name!r} cannot be fine-tuned by method {method.name}: {line}"
        ) from error
    for parameter in model.parameters():
        parameter.grad = None


def _states(step: ContrastiveStep, texts: Ragged) -> torch.Tensor:
    """States of all tokens, text after text, as the step runs them."""
    body = step.body
    with body.ready():
        (layout,) = lay_out_all(texts, plan_step(texts.lengths, packed=body.packed), body.like)
        return body.trunk(body.prefix(body.embedding(layout.ids), layout), layout)


@torch.no_grad()
def _both_ways(step: ContrastiveStep, texts: Ragged, name: str) -> None:
    """Make sure that a first token sees the last one of its text, and no other text's."""
    ids = texts.ids.copy()
    ids[texts.lengths[0] - 1] = ids[0]
    before, after = _states(step, texts), _states(step, Ragged(ids, texts.lengths))
    changed = (before != after).any(1)
    if not changed[0] or changed[texts.lengths[0] :].any():
        raise ToolkitError(
            f"decoder {name!r} is not bidirectional as transformers runs it: a first token does "
            "not see the last one of its text, or another text does; use attention: causal"
        )


@torch.no_grad()
def _same_states(step: ContrastiveStep, texts: Ragged, name: str) -> None:
    body = step.body
    ours = _states(step, texts)
    theirs = _masked(body.model, texts)
    scale = float(theirs.abs().max())
    apart = float((ours.float() - theirs.float()).abs().max()) / max(scale, 1e-30)
    if not apart <= TOLERANCE:
        raise ToolkitError(
            f"decoder {name!r} cannot be run exactly: on two short texts its hidden states are "
            f"{apart:.1%} of their size (at most {scale:.3g}) away from those of a plain masked "
            f"forward pass; at most {TOLERANCE:.0%} is allowed"
        )


def _masked(model: Any, texts: Ragged) -> torch.Tensor:
    """States of all tokens, text after text, by the plain forward pass with padding masked."""
    longest = int(texts.lengths.max())
    ids = torch.zeros(len(texts.lengths), longest, dtype=torch.int64)
    real = torch.arange(longest)[None] < torch.from_numpy(texts.lengths)[:, None]
    ids[real] = torch.from_numpy(texts.ids).long()
    training = model.training
    out = model.eval()(input_ids=ids, attention_mask=real.long(), use_cache=False)
    model.train(training)
    return out.last_hidden_state[real]


def _same_flop(step: ContrastiveStep, texts: Ragged, decoder: Decoder, method: Method) -> None:
    execution = step.plan(np.concatenate((texts.lengths, texts.lengths)))
    counted = step_flops(decoder.shape, method, texts.lengths, texts.lengths, execution).hardware
    with FlopCounterMode(display=False) as referee:
        step(texts, texts)
    seen = referee.get_total_flops()
    if abs(counted - seen) > TOLERANCE * seen:
        raise ToolkitError(
            f"decoder {decoder.name!r} is not counted right: a step of two short pairs is "
            f"{counted:,} FLOP by count and {seen:,} by torch's ({counted / seen - 1:+.1%}); "
            f"at most {TOLERANCE:.0%} is allowed"
        )
