"""An encoder in the format that sentence-transformers and its many friends load."""

from __future__ import annotations

import copy
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit import decoders
from toolkit.encoder.card import card
from toolkit.encoder.encoder import Encoder, token_ids_of
from toolkit.encoder.loading import EXPORTED
from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.pairs.tokens import stand_in, token_ids
from toolkit.values import one_of
from toolkit.writing import check_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from toolkit.runs import RunConfig

PRECISIONS = ("float32", "bfloat16")
_POOLING = {"mean": "mean", "last": "lasttoken"}
_SAMPLES = ("A text.", " two  blanks\n", "1/2 of <s> them", "Łódź 東京 🙂", "length " * 2000)


def export(encoder: Encoder, folder: str | Path, *, precision: str = "float32") -> Path:
    """Save an encoder as a sentence-transformers model, with a model card.

    The model embeds texts as it was trained to: same tokens, same attention, same pooling, same
    cut, unit length. A text without a token, such as the empty one, is embedded as
    `toolkit.encoder.encoder` says. A run's prefixes are its prompts: `encode_query` and
    `encode_document` put them before texts. The folder appears in one step, whole.

    Args:
        encoder: From `toolkit.encoder.loading`; LoRA adapters are merged in it.
        folder: Where to save; must hold nothing yet.
        precision: Of the weights in the folder: float32, or bfloat16 for half the size and
            vectors that are near these, not equal to them.

    Raises:
        ToolkitError: It cannot be saved there (see `check_export`).
    """
    one_of("precision", precision, PRECISIONS)
    folder = Path(folder)
    _check_place(folder)
    _check_tokenizer(encoder.tokenizer, encoder.config)
    building = folder.absolute().with_name(f".{folder.absolute().name}.{os.getpid()}.tmp")
    try:
        building.mkdir(parents=True)
        _save(encoder, building, precision)
        if folder.is_dir():
            folder.rmdir()
        building.rename(folder)
    except OSError as error:
        raise SurroundingsError(f"cannot save the encoder in {folder}: {error}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def check_export(config: RunConfig, folder: str | Path) -> None:
    """Make sure that a run's encoder can be saved to a folder, before anything is spent on it.

    Raises:
        ToolkitError: The folder is not empty or cannot be written, sentence-transformers is not
            installed, or another reader of the decoder's tokenizer would see other tokens.
    """
    _check_place(Path(folder))
    _check_tokenizer(decoders.load_tokenizer(decoders.find(config.decoder)), config)


def _check_place(folder: Path) -> None:
    from importlib.util import find_spec

    if folder.is_dir() and any(folder.iterdir()):
        raise ToolkitError(f"export folder {folder} is not empty; name another one")
    if folder.exists() and not folder.is_dir():
        raise ToolkitError(f"{folder} is no folder; name another one to export to")
    check_folder(folder)
    if find_spec("sentence_transformers") is None:
        raise ToolkitError("export needs `pip install decoders-to-encoders[export]`")


def _check_tokenizer(original: PreTrainedTokenizerBase, config: RunConfig) -> None:
    from transformers import AutoTokenizer

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


def _save(encoder: Encoder, folder: Path, precision: str) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import (
        Normalize,
        Pooling,
        Transformer,
    )

    config, model, decoder = encoder.config, encoder.model, folder / "decoder"
    if precision == "bfloat16":
        model = copy.deepcopy(model).to(torch.bfloat16)  # type: ignore[arg-type]
    model.save_pretrained(decoder)
    tokenizer = _tokenizer(config, encoder.tokenizer)
    if tokenizer.pad_token_id >= model.get_input_embeddings().num_embeddings:
        # A family's usual pad token, which this decoder's vocabulary lacks and no row stands for.
        tokenizer.pad_token = stand_in(encoder.tokenizer)[1]
    tokenizer.save_pretrained(decoder)
    transformer = Transformer(str(decoder), max_seq_length=config.max_tokens)
    pooling = Pooling(
        encoder.width,
        pooling_mode=_POOLING[config.pooling],
        include_prompt=config.prefix_in_pooling,
    )
    modules = [transformer, pooling, Normalize()]
    prompts = {"query": config.query_prefix or "", "document": config.positive_prefix or ""}
    whole = SentenceTransformer(modules=modules, prompts=prompts, device="cpu")
    whole.save(str(folder), create_model_card=False)  # ours follows
    shutil.rmtree(decoder)
    readme = card(config, encoder.record, width=encoder.width, precision=precision)
    (folder / "README.md").write_text(readme, encoding="utf-8")
    record = json.loads(encoder.record.to_json()) if encoder.record else None
    facts = {"config": config.to_dict(), "record": record}
    (folder / EXPORTED).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


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
        padding_side="right",
        truncation_side=original.truncation_side,
        split_special_tokens=original.split_special_tokens,
        model_input_names=["input_ids", "attention_mask"],
        chat_template=_template(config, original),
    )


def _template(config: RunConfig, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """What becomes of a text before it is tokenised: sentence-transformers asks a chat template.

    It stays as it is, so a chat template of the decoder's own goes. Only where an empty text would
    have no token, which no model takes, one of ours puts the tokenizer's `stand_in` in its place.
    A prompt behind a template cannot be left out of the pooling, so where one is to be, there is
    none, and an empty text without a prompt is an error.
    """
    if not config.prefix_in_pooling:
        return None
    nothing, blank = token_ids_of(("", " "), tokenizer, config)
    if nothing:
        return None
    held = "text" if blank else "text | trim"
    instead = json.dumps(stand_in(tokenizer)[1], ensure_ascii=False)
    return (
        "{% set text = messages | map(attribute='content') | join %}"
        f"{{{{ text if {held} else {instead} }}}}"
    )
