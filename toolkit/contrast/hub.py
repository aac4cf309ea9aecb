"""Any decoder that transformers knows, through its own code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from toolkit.contrast.attention import Layout, attend, lay_out
from toolkit.contrast.body import Body
from toolkit.contrast.precision import FLOAT32
from toolkit.decoders import architecture_key
from toolkit.doors import attending
from toolkit.errors import ToolkitError

# What transformers' registry calls our attention, causal or not.
PACKED = {True: "packed_causal", False: "packed_bidirectional"}
# Whether a packed stream is exact, as tried out in this process, by configuration and type.
_PACKS: dict[tuple[object, ...], bool] = {}


class HubBody(Body):
    """Any decoder of transformers, through its own forward pass.

    It gets the packed stream as one text with positions that start anew, and attention by way of
    transformers' registry. Whether that is exact for a configuration is tried out once, on two
    short texts; where it is not, the texts of a chunk are padded on the right instead, which
    causal attention does not see, and bidirectional attention is told to pass over.
    """

    def __init__(self, model: PreTrainedModel, precision: str = "auto") -> None:
        super().__init__(model, precision)
        key = *architecture_key(model.config), self.like.dtype, self.like.device.type
        if key not in _PACKS:
            precision, self.precision = self.precision, FLOAT32  # rounding would hide a difference
            _PACKS[key] = self._packs()
            self.precision = precision
        self.packed = _PACKS[key]

    @torch.no_grad()
    def _packs(self) -> bool:
        ids = np.arange(14) % self.embedding.weight.shape[0]
        try:
            together = self._try(ids, [5, 9])
            self.packed = False
            alone = torch.cat([self._try(ids[:5], [5]), self._try(ids[5:], [9])])
        except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError):
            return False
        return torch.allclose(together, alone, rtol=1e-3, atol=1e-3 * float(alone.abs().max()))

    def _try(self, ids: np.ndarray, lengths: list[int]) -> Tensor:
        sizes = np.full(len(lengths), 16 if self.packed else max(lengths))
        layout = lay_out(ids, np.array(lengths), sizes, self.like)
        with self.ready():
            return self.trunk(self.prefix(self.embedding(layout.ids), layout), layout)

    @contextmanager
    def ready(self) -> Iterator[None]:
        training = self.model.training
        self.model.eval()  # dropout would make a recomputed chunk another one
        packed = attending(self.model, PACKED[self.causal]) if self.packed else nullcontext()
        try:
            with packed, super().ready():
                yield
        finally:
            self.model.train(training)

    def _prefix(self, tokens: Tensor, layout: Layout) -> Any:
        caught: list[Any] = []
        last = self.blocks[self.first_trained - 1]
        with _forward_as(last, _stopping(last.forward, caught)), suppress(_Stop):
            self._forward(self._rectangle(tokens, layout), layout)
        return caught[0]

    def _trunk(self, states: Any, layout: Layout, checkpointing: bool) -> Tensor:
        with ExitStack() as stack:
            for block in self.blocks[: self.first_trained]:
                stack.enter_context(_forward_as(block, lambda *_, **__: states))
            if checkpointing:
                for block in self.blocks[self.first_trained :]:
                    stack.enter_context(_forward_as(block, _checkpointed(block.forward)))
            if not self.first_trained:
                states = self._rectangle(states, layout)
            inputs = states if isinstance(states, Tensor) else states[0]
            hidden = self._forward(inputs, layout)
        return hidden[0] if self.packed else hidden.flatten(0, 1)[layout.tokens]

    def _rectangle(self, tokens: Tensor, layout: Layout) -> Tensor:
        """The stream as one long text, or its texts padded to rows of one length."""
        if self.packed:
            return tokens[None]
        (window,) = layout.windows
        return tokens[layout.slots].view(window.texts, window.size, -1)

    def _forward(self, tokens: Tensor, layout: Layout) -> Tensor:
        if not self.packed:
            (window,) = layout.windows
            mask = None if self.causal else layout.real_keys(window).long()
            return self.model(
                inputs_embeds=tokens, attention_mask=mask, use_cache=False
            ).last_hidden_state
        return self.model(
            inputs_embeds=tokens,
            position_ids=layout.positions[None],
            use_cache=False,
            packed_layout=layout,
        ).last_hidden_state


class _Stop(Exception):
    """Ends a forward pass whose rest nobody needs."""


@contextmanager
def _forward_as(module: nn.Module, forward: Callable) -> Iterator[None]:
    module.forward = forward
    try:
        yield
    finally:
        del module.forward


def _stopping(forward: Callable, caught: list[Any]) -> Callable:
    def stopping(*args: Any, **kwargs: Any) -> None:
        caught.append(forward(*args, **kwargs))  # some blocks give a tuple or list: keep it
        raise _Stop

    return stopping


def _checkpointed(forward: Callable) -> Callable:
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return checkpointed


def _packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    causal: bool,
    packed_layout: Layout,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: [1, heads, tokens, size] → [1, tokens, heads, size].

    Raises:
        NotImplementedError: The architecture asks for more than plain attention.
        ToolkitError: A text is longer than the architecture's sliding window.
    """
    if softcap is not None or s_aux is not None or attention_mask is not None:
        raise NotImplementedError("attention with soft caps, sinks or a mask of its own")
    longest = packed_layout.windows[-1].size
    if sliding_window is not None and longest > sliding_window:
        raise ToolkitError(
            f"texts of {longest} tokens are longer than the decoder's attention window of "
            f"{sliding_window}; set max_tokens to at most that"
        )
    heads, size = query.shape[1], query.shape[-1]
    # Norms and rotary angles may have left some of them in float32: `value` is as products are.
    query, key = query.to(value.dtype), key.to(value.dtype)
    key, value = (x.repeat_interleave(heads // x.shape[1], 1) for x in (key, value))
    mixed = torch.stack((query[0], key[0], value[0]), 2).transpose(0, 1).flatten(1)
    out = attend(mixed, packed_layout, heads, scaling or size**-0.5, causal=causal)
    return out.view(1, -1, heads, size), None


for _causal, _name in PACKED.items():
    ALL_ATTENTION_FUNCTIONS.register(_name, partial(_packed_attention, causal=_causal))
