"""Texts as a trained encoder embeds them, here and wherever it was exported to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from toolkit import decoders
from toolkit.contrast.step import embed
from toolkit.pairs.tokens import Ragged, stand_in, token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from toolkit.runs import RunConfig


def embed_texts(model: PreTrainedModel, config: RunConfig, texts: Sequence[str]) -> torch.Tensor:
    """Unit vectors of texts, float32, shape [texts, hidden]: what the exported encoder gives.

    A text without a token, such as the empty one where the tokenizer adds no special token, is
    embedded as the decoder's end-of-text token alone (`toolkit.pairs.tokens.stand_in`).

    Args:
        model: From `toolkit.training.run.train_encoder`. config: The run's.
    """
    empty, _ = stand_in(decoders.load_tokenizer(decoders.find(config.decoder)))
    ids = Ragged.of([ids or [empty] for ids in run_ids(config, texts)])
    vectors = embed(model, ids, pooling=config.pooling, precision="float32")
    return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu()


def run_ids(config: RunConfig, texts: Sequence[str]) -> list[list[int]]:
    """Texts as the ids that this run trains and evaluates on."""
    return token_ids(
        texts,
        decoders.load_tokenizer(decoders.find(config.decoder)),
        max_tokens=config.max_tokens,
        special_tokens=config.special_tokens,
    )
