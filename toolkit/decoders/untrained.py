"""A decoder with random weights: it takes the time of the real one, and nothing is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.decoders.architecture import implementation, read_config
from toolkit.decoders.catalogue import Decoder
from toolkit.decoders.cutting import cut_config
from toolkit.decoders.shapes import Shape

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def untrained(decoder: Decoder, *, bidirectional: bool = False) -> PreTrainedModel:
    """A model of this decoder's shape, without its language-model head, in float32.

    Args:
        decoder: From `find`; of one that is not of the catalogue the configuration is read.
        bidirectional: Whether its tokens see later ones too.

    Raises:
        ToolkitError: Its configuration cannot be read.
    """
    return of_config(_config(decoder), bidirectional=bidirectional)


def of_config(config: Any, *, bidirectional: bool = False) -> PreTrainedModel:
    """A model of this configuration with random weights, the same at every call."""
    import torch
    from transformers import AutoModel

    if bidirectional:
        config.is_causal = False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModel.from_config(
            config,
            trust_remote_code=False,
            dtype=torch.float32,
            attn_implementation=implementation(config),
        )
    return model.eval()


def _config(decoder: Decoder) -> Any:
    if decoder.family in ("small", "pythia"):
        return neox_config(decoder.shape)
    if decoder.family == "smollm2":
        return _llama(decoder.shape)
    config = read_config(decoder.source)
    return config if decoder.blocks is None else cut_config(config, decoder.blocks, decoder.name)


def neox_config(shape: Shape) -> Any:
    """GPT-NeoX of a shape."""
    from transformers import GPTNeoXConfig

    return GPTNeoXConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.hidden,
    )


def _llama(shape: Shape) -> Any:
    from transformers import LlamaConfig

    outputs = {linear.name.rpartition(".")[2]: linear.outputs for linear in shape.block}
    return LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=outputs["k_proj"] * shape.heads // shape.hidden,
        intermediate_size=outputs["up_proj"],
    )
