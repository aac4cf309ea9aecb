"""A decoder's weights and tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.decoders import smollm2
from toolkit.decoders.architecture import check_bidirectional, implementation, read_config
from toolkit.decoders.catalogue import SMALL, SUITE_FOLDER, Decoder
from toolkit.decoders.cutting import cut_config
from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.place import CHECKOUT

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load(
    decoder: Decoder, *, attention: str = "sdpa", bidirectional: bool = False
) -> PreTrainedModel:
    """The decoder's weights in float32, without its language-model head, from safetensors only.

    Of a cut decoder only the blocks that it keeps are read.

    Args:
        decoder: From `find`.
        attention: Name of the attention implementation, as transformers knows it; eager stands in
            for an sdpa that the architecture does not have.
        bidirectional: Whether its tokens are to see later ones too: the configuration then says
            `is_causal: false`, which transformers heeds, wherever the model is saved and loaded.

    Raises:
        ToolkitError: It has no exact bidirectional attention (`check_bidirectional`); or weights
            are missing, damaged, of another shape than the configuration says (they are named),
            or not in safetensors format.
    """
    import torch
    from transformers import AutoModel

    source = _source(decoder)
    if decoder.family == "small":
        check_files(decoder)
    config = read_config(source)
    if decoder.blocks is not None:
        config = cut_config(config, decoder.blocks, decoder.name)
    if bidirectional:
        check_bidirectional(config, decoder.name)
        config.is_causal = False
    if attention == "sdpa":
        attention = implementation(config)
    try:
        with _quiet():
            model, report = AutoModel.from_pretrained(
                source,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                attn_implementation=attention,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:  # safetensors and the hub raise many types; all mean the same here
        kind = SurroundingsError if isinstance(error, OSError) else ToolkitError
        raise kind(f"cannot load decoder {decoder.name!r}: {error}") from error
    _complete(report, decoder.name)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bar and table for every load: what matters in it is an error here."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _complete(report: dict[str, Any], name: str) -> None:
    """Make sure that no weight was left at random.

    Raises:
        ToolkitError: One is missing, or has another shape than the configuration says.
    """
    mismatched = sorted(key for key, *_ in report["mismatched_keys"])
    for keys, what in (
        (sorted(set(report["missing_keys"]) - set(mismatched)), "lacks the weights"),
        (mismatched, "does not fit its configuration: of another shape are the weights"),
    ):
        if keys:
            more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
            raise ToolkitError(
                f"decoder {name!r} {what} {', '.join(keys[:5])}{more}; "
                "give the checkpoint whole, as it was saved"
            )


def load_tokenizer(decoder: Decoder) -> PreTrainedTokenizerBase:
    """The decoder's own tokenizer; the small suite shares one.

    Raises:
        ToolkitError: There is none at the decoder's source.
    """
    from transformers import AutoTokenizer

    small = decoder.family == "small"
    source = str(SUITE_FOLDER / "tokenizer") if small else _source(decoder)
    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:
        kind = SurroundingsError if isinstance(error, OSError) else ToolkitError
        raise kind(f"cannot load the tokenizer of {decoder.name!r}: {error}") from error


def check_files(decoder: Decoder) -> None:
    """Make sure that a folder's weights and tokenizer are there, without reading them.

    Raises:
        SurroundingsError: They are not. Of a hub's decoder nothing is known before it is fetched.
    """
    folder = Path(decoder.source)
    if decoder.family == "small":
        remedy = (
            "restore runs/suite from the repository or run `make suite`"
            if CHECKOUT
            else "an installed package brings small-3k and small-7k; the others are in the "
            "repository's runs/suite: copy them there, or give one as a folder"
        )
        tokenizer = SUITE_FOLDER / "tokenizer"
    elif decoder.source and folder.is_dir():
        remedy, tokenizer = "save them there with save_pretrained", folder
    else:
        return
    for place, what, patterns in (
        (folder, "weights in safetensors format", ("*.safetensors",)),
        (tokenizer, "tokenizer", ("tokenizer*", "vocab*")),
    ):
        if not any(path.is_file() for pattern in patterns for path in place.glob(pattern)):
            raise SurroundingsError(f"{decoder.name} has no {what} under {place}; {remedy}")


def _source(decoder: Decoder) -> str:
    """Hub name or folder of the weights; SmolLM2's is made here where it is not there yet."""
    return decoder.source or str(smollm2.folder())


def suite_records() -> list[dict[str, Any]]:
    """How each small decoder was pre-trained: tokens seen, loss, seconds (`record.json`)."""
    paths = (Path(decoder.source) / "record.json" for decoder in SMALL.values())
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]
