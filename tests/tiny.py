"""Tiny random decoders and texts for tests."""

import numpy as np
import torch
from transformers import AutoModel, GPTNeoXConfig, PreTrainedModel

from toolkit.decoders import Shape, neox_shape
from toolkit.methods import METHODS, Method, resolve
from toolkit.methods.lora import LORA_RANK
from toolkit.pairs.ragged import Ragged
from toolkit.runs import RunConfig

VOCABULARY = 97
SHAPE = neox_shape(vocabulary=VOCABULARY, hidden=16, layers=3, heads=2)


def neox(shape: Shape = SHAPE, *, attention: str = "eager", double: bool = True) -> PreTrainedModel:
    """A GPT-NeoX decoder of this shape with random weights, the same at every call."""
    config = GPTNeoXConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.hidden,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModel.from_config(config, attn_implementation=attention, dtype=torch.float32)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):  # zero biases would hide mistakes
                parameter.data.normal_(std=0.1)
    return model.double() if double else model


def method(name: str, shape: Shape = SHAPE, **settings: object) -> Method:
    """A resolved method; LoRA gets a rank that fits the tiny decoders."""
    if LORA_RANK in METHODS[name].settings:
        settings = {"lora_rank": 4, **settings}
    config = RunConfig.from_dict({"decoder": "tiny", "budget_flop": 1, "method": name, **settings})
    return resolve(config, shape)


def tuned(model: PreTrainedModel, how: Method) -> PreTrainedModel:
    """The model under a method, with adapters that already do something."""
    how.apply(model, seed=0)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            parameter.data += 0.05 * torch.randn(
                parameter.shape, generator=generator, dtype=parameter.dtype
            )
    return model


def texts(count: int, shortest: int, longest: int, seed: int = 0) -> Ragged:
    """Random texts with lengths from `shortest` to `longest`."""
    random = np.random.default_rng(seed)
    lengths = random.integers(shortest, longest + 1, count).astype(np.int32)
    return Ragged(random.integers(0, VOCABULARY, lengths.sum()).astype(np.int32), lengths)
