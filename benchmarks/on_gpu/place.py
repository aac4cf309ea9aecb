"""Where figures are measured, and the decoders, texts and pairs that they are measured with."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, LlamaConfig, PreTrainedModel

from on_gpu.process import Skip
from toolkit.decoders import Shape, llama_shape, neox_shape
from toolkit.decoders.untrained import neox_config
from toolkit.methods import METHODS
from toolkit.pairs.ragged import Ragged, TokenColumn
from toolkit.pairs.split import Facts
from toolkit.pairs.store import TokenisedPairs
from toolkit.pairs.tokens import TokenisedData

VOCABULARY = 4096
TINY = {
    "neox": neox_shape(vocabulary=VOCABULARY, hidden=64, layers=3, heads=2),
    "llama": llama_shape(
        vocabulary=VOCABULARY, hidden=64, layers=3, heads=4, key_value_heads=2, intermediate=128
    ),
}


@dataclass(frozen=True)
class Place:
    """A device, and how much is asked of it.

    Attributes:
        device: cuda or cpu. small: As a test.
        folder: For what figures need to write. sweep: Of the study.
    """

    device: str
    small: bool
    folder: Path
    sweep: Path

    def wait(self) -> None:
        """Until the device has done all that it was given."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def machine_facts(device: str) -> dict[str, Any]:
    """What the results are results of; no `device` where torch sees none of that kind."""
    facts: dict[str, Any] = {"torch": torch.__version__}
    if device == "cpu":
        from toolkit import machine

        return {**facts, "device": f"CPU: {machine.processor()}"}
    if not torch.cuda.is_available():
        return facts
    properties = torch.cuda.get_device_properties(0)
    return {
        **facts,
        "device": properties.name,
        "count": torch.cuda.device_count(),
        "capability": f"{properties.major}.{properties.minor}",
        "memory": properties.total_memory,
        "cuda": torch.version.cuda,
    }


def need(module: str, what: str) -> None:
    """Skip the figure where a package is missing."""
    if importlib.util.find_spec(module) is None:
        raise Skip(f"{what} needs {module}, which is not installed here")


def adapts(name: str) -> bool:
    """Whether a method adds adapters, which peft makes."""
    return any(setting.name == "lora_rank" for setting in METHODS[name].settings)


def tiny(kind: str, device: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A decoder with the same random weights at every call, biases too."""
    shape = TINY[kind]
    config: Any
    if kind == "neox":
        config = neox_config(shape)
    else:
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=128,
        )
    torch.manual_seed(0)
    model = AutoModel.from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(std=0.1)
    return model.to(device, dtype)


def random_decoder(shape: Shape, device: str) -> PreTrainedModel:
    """Random weights at a GPT-NeoX shape, made on the device itself."""
    with torch.device(device):
        return AutoModel.from_config(
            neox_config(shape), attn_implementation="sdpa", dtype=torch.float32
        )


def random_texts(count: int, middle: float, vocabulary: int, seed: int) -> Ragged:
    """Texts of log-normal lengths around `middle`, from 3 to 75 tokens."""
    random = np.random.default_rng(seed)
    lengths = np.clip(np.round(random.lognormal(np.log(middle), 0.45, count)), 3, 75)
    lengths = lengths.astype(np.int32)
    return Ragged(random.integers(0, vocabulary, lengths.sum()).astype(np.int32), lengths)


def random_pairs(count: int, vocabulary: int) -> tuple[Ragged, Ragged]:
    """Queries and positives with the study's mix of lengths: 14 and 64 tokens on average."""
    return random_texts(count, 13, vocabulary, 0), random_texts(count, 80, vocabulary, 1)


def easy_pairs(count: int = 2000, held_out: int = 256) -> TokenisedData:
    """Pairs whose texts share a few rare tokens, already as tokens: nothing has to be read."""

    def side(size: int, seed: int) -> TokenisedPairs:
        random = np.random.default_rng(seed)
        rare = random.integers(200, VOCABULARY, (size, 3))
        columns = []
        for longest in (10, 40):
            lengths = random.integers(4, longest, size)
            texts = [
                [*random.integers(0, 200, length - 3), *own]
                for length, own in zip(lengths, rare, strict=True)
            ]
            ragged = Ragged.of(texts)
            columns.append(TokenColumn(ragged.ids, ragged.offsets))
        return TokenisedPairs(*columns, keys=random.permutation(size).astype(np.uint64))

    counts = dict.fromkeys(Facts.__dataclass_fields__, 0)
    facts = Facts(**{**counts, "fingerprint": "easy", "pairs": count + held_out})
    return TokenisedData(side(count, 1), side(held_out, 2), facts)
