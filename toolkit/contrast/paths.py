"""Which way a decoder's texts will run, told before its weights are there: packed, or padded."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from toolkit.decoders.catalogue import Decoder, catalogued

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_VOCABULARY = 64  # Tokens of the trial; the embedding is most of a small decoder.


@lru_cache(maxsize=64)
def packs(decoder: Decoder, attention: str = "causal") -> bool:
    """Whether a decoder runs on a packed stream; if not, texts of a chunk are padded.

    The catalogue's all do. Of any other one block at random is tried, as the decoder itself will
    be when it is loaded (`toolkit.contrast.bodies.HubBody`).

    Args:
        attention: As of RunConfig.

    Raises:
        ToolkitError: Its configuration cannot be read.
    """
    if catalogued(decoder.name) is not None:
        return True
    from toolkit.contrast.bodies import body_of

    return body_of(_one_block(decoder, attention == "bidirectional"), "float32").packed


def _one_block(decoder: Decoder, bidirectional: bool) -> PreTrainedModel:
    from toolkit.decoders.architecture import read_config
    from toolkit.decoders.cutting import cut_config
    from toolkit.decoders.untrained import of_config

    config = cut_config(read_config(decoder.source), 1, decoder.name)
    config.vocab_size = min(_VOCABULARY, config.vocab_size)
    config.pad_token_id = None  # Which may lie beyond these.
    return of_config(config, bidirectional=bidirectional)
