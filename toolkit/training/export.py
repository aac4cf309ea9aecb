"""The trained encoder in the format that sentence-transformers and its many friends load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import suite
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from toolkit.runs import RunConfig

_POOLING = {"mean": "mean", "last": "lasttoken"}


def export(model: PreTrainedModel, config: RunConfig, folder: Path) -> Path:
    """Save a trained encoder as a sentence-transformers model; LoRA adapters are merged.

    The model embeds texts as it was trained to: same pooling, same cut, unit length.

    Args:
        model: From `toolkit.training.run.train_encoder`; its adapters are merged in place.
        config: The run's configuration. folder: Where to save; must not hold anything yet.

    Raises:
        ToolkitError: The folder is not empty, or sentence-transformers is not installed.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise ToolkitError(f"export folder {folder} is not empty; name another one")
    try:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import (
            Normalize,
            Pooling,
            Transformer,
        )
    except ImportError as error:
        raise ToolkitError("export needs `pip install decoders-to-encoders[export]`") from error
    tokenizer = suite.load_tokenizer(suite.find(config.decoder))
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"  # causal attention: padding behind a text cannot reach it
    merge_adapters(model)
    decoder_folder = folder / "decoder"
    model.save_pretrained(decoder_folder)
    tokenizer.save_pretrained(decoder_folder)
    transformer = Transformer(str(decoder_folder), max_seq_length=config.max_tokens)
    pooling = Pooling(model.config.hidden_size, pooling_mode=_POOLING[config.pooling])
    SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu").save(str(folder))
    for path in sorted(decoder_folder.iterdir()):
        path.unlink()
    decoder_folder.rmdir()
    return folder


def merge_adapters(model: nn.Module) -> None:
    """Add every LoRA adapter to the weights it adapts and leave the plain layers in place."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                child.merge()
                setattr(parent, name, child.get_base_layer())
