"""The trained encoder in the format that sentence-transformers and its many friends load."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import decoders
from toolkit.encoder.encoder import Encoder, token_ids_of
from toolkit.encoder.loading import EXPORTED
from toolkit.errors import ToolkitError
from toolkit.pairs.tokens import stand_in, token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from toolkit.runs import RunConfig

_POOLING = {"mean": "mean", "last": "lasttoken"}
_SAMPLES = ("A text.", " two  blanks\n", "1/2 of <s> them", "Łódź 東京 🙂", "length " * 2000)


def export(encoder: Encoder, folder: Path) -> Path:
    """Save an encoder as a sentence-transformers model.

    The model embeds texts as it was trained to: same tokens, same pooling, same cut, unit length.
    A text without a token, such as the empty one, is embedded as `toolkit.encoder.encoder` says.

    Args:
        encoder: From `toolkit.encoder.loading`. folder: Where to save; must hold nothing yet.

    Raises:
        ToolkitError: It cannot be saved there (see `check_export`).
    """
    check_export(encoder.config, folder)
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import (
        Normalize,
        Pooling,
        Transformer,
    )

    config, model = encoder.config, encoder.model
    tokenizer = _tokenizer(config, encoder.tokenizer)
    try:
        decoder_folder = folder / "decoder"
        model.save_pretrained(decoder_folder)
        tokenizer.save_pretrained(decoder_folder)
        transformer = Transformer(str(decoder_folder), max_seq_length=config.max_tokens)
        pooling = Pooling(model.config.hidden_size, pooling_mode=_POOLING[config.pooling])
        modules = [transformer, pooling, Normalize()]
        SentenceTransformer(modules=modules, device="cpu").save(str(folder))
        shutil.rmtree(decoder_folder)
        facts = {"config": config.to_dict()}
        (folder / EXPORTED).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ToolkitError(f"cannot save the encoder in {folder}: {error}") from error
    return folder


def check_export(config: RunConfig, folder: Path) -> None:
    """Make sure that a run's encoder can be saved to a folder, before anything is spent on it.

    Raises:
        ToolkitError: The folder is not empty, sentence-transformers is not installed, or another
            reader of the decoder's tokenizer would see other tokens than the run.
    """
    from importlib.util import find_spec

    if folder.is_dir() and any(folder.iterdir()):
        raise ToolkitError(f"export folder {folder} is not empty; name another one")
    if find_spec("sentence_transformers") is None:
        raise ToolkitError("export needs `pip install decoders-to-encoders[export]`")
    from transformers import AutoTokenizer

    original = decoders.load_tokenizer(decoders.find(config.decoder))
    ours = token_ids_of(_SAMPLES, original, config)
    with tempfile.TemporaryDirectory() as scratch:
        _tokenizer(config, original).save_pretrained(scratch)
        saved = AutoTokenizer.from_pretrained(scratch)
        theirs = token_ids(_SAMPLES, saved, max_tokens=config.max_tokens)
    if ours != theirs:
        raise ToolkitError(
            f"the tokenizer of {config.decoder!r} cannot be exported: saved and loaded again, it "
            "reads texts as other tokens"
        )


def _tokenizer(config: RunConfig, original: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The decoder's tokenizer so that whoever loads it sees the tokens that the run saw.

    All that counts is in `tokenizer.json`, where no class of transformers has a say of its own.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    parts = json.loads(original.backend_tokenizer.to_str())
    parts.update(truncation=None, padding=None)
    if not config.special_tokens:
        parts["post_processor"] = None
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(parts)),
        bos_token=original.bos_token,
        eos_token=original.eos_token,
        unk_token=original.unk_token,
        pad_token=original.pad_token or stand_in(original)[1],
        padding_side="right",  # causal attention: padding behind a text cannot reach it
        truncation_side=original.truncation_side,
        split_special_tokens=original.split_special_tokens,
        model_input_names=["input_ids", "attention_mask"],
        chat_template=_template(config, original),
    )


def _template(config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """What becomes of a text before it is tokenised: sentence-transformers asks a chat template.

    It stays as it is, so a chat template of the decoder's own goes. Only where an empty text would
    have no token, which no model takes, one of ours puts the tokenizer's `stand_in` in its place.
    """
    nothing, blank = token_ids_of(("", " "), tokenizer, config)
    if nothing:
        return None
    held = "text" if blank else "text | trim"
    instead = json.dumps(stand_in(tokenizer)[1], ensure_ascii=False)
    return (
        "{% set text = messages | map(attribute='content') | join %}"
        f"{{{{ text if {held} else {instead} }}}}"
    )
