"""Tiny decoders in folders, as people have them: this tokenizer or that, with random weights."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoModel, GPT2Config, LlamaConfig, PreTrainedTokenizerFast

from toolkit.decoders import SUITE_FOLDER

END = "<|endoftext|>"
BEGIN, STOP = "<|begin|>", "<|stop|>"
TEMPLATES = {
    "none": "$A",
    "bos": f"{BEGIN} $A",
    "eos": f"$A {STOP}",
    "both": f"{BEGIN} $A {STOP}",
}
WIDTH = {"vocab_size": 4160, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def decoder(folder: Path, *, adds: str = "none", kind: str = "llama", **settings: object) -> Path:
    """A decoder in a folder whose tokenizer adds nothing, `bos`, `eos` or `both`.

    Args:
        folder: Where to.
        kind: llama (rotary positions) or gpt2 (learned ones, and it takes token types).
        settings: Of the tokenizer: padding_side, chat_template.
    """
    parts = json.loads((SUITE_FOLDER / "tokenizer" / "tokenizer.json").read_text())
    backend = Tokenizer.from_str(json.dumps(parts))
    backend.add_special_tokens([BEGIN, STOP])
    backend.post_processor = TemplateProcessing(
        single=TEMPLATES[adds],
        special_tokens=[(token, backend.token_to_id(token)) for token in (BEGIN, STOP)],
    )
    names = {"bos_token": BEGIN, "eos_token": STOP} | settings
    PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(folder)
    config = (
        LlamaConfig(**WIDTH, intermediate_size=32, max_position_embeddings=128)
        if kind == "llama"
        else GPT2Config(vocab_size=4160, n_embd=16, n_layer=2, n_head=2, n_positions=128)
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModel.from_config(config, dtype=torch.float32).save_pretrained(folder)
    return folder
