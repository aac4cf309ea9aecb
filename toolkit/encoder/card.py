"""The model card of an exported encoder: what it is, how it came about, how good it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import yaml

from toolkit import decoders
from toolkit.pairs.sources import NAMED
from toolkit.text import count, duration, scientific
from toolkit.words import method_name

if TYPE_CHECKING:
    from toolkit.records import RunRecord
    from toolkit.runs import RunConfig

# Of the catalogue, as those who trained them say.
_LICENCES = {"small": "mit", "pythia": "apache-2.0", "smollm2": "apache-2.0"}
_BASES = {"smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}


def card(config: RunConfig, record: RunRecord | None, *, width: int, precision: str) -> str:
    """The README.md of an exported encoder, Markdown with its YAML head.

    Args:
        config: Of the run. record: What came of it; None for a decoder that was not tuned.
        width: Of a vector. precision: Of the saved weights.
    """
    known = decoders.catalogued(config.decoder)
    licence = _LICENCES[known.family] if known else None
    head = {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "tags": ["sentence-transformers", "feature-extraction", "decoders-to-encoders"],
        "base_model": _base(config.decoder),
        "license": licence,
    }
    lines = [
        f"---\n{yaml.safe_dump({k: v for k, v in head.items() if v}, sort_keys=False)}---",
        f"\n# {config.run_id if record else config.decoder}",
        f"\nA text encoder: {_sentence(config, record)} It gives vectors of {width} numbers and "
        "length one; their dot product is the similarity of two texts.",
        "\n```python\nfrom sentence_transformers import SentenceTransformer\n",
        'encoder = SentenceTransformer("…")  # the path of this folder',
        'vectors = encoder.encode(["a text"])',
        "```",
        _section("How it reads a text", _reading(config, precision)),
    ]
    if record is not None:
        lines.append(_section("How it was trained", _training(config, record)))
        lines.append(_section("How good it is", _scores(config, record)))
    named = NAMED.get(config.data)
    data = named.LICENCE if named else "not known here: that of your own data"
    weights = licence or "not known here: ask those who made it"
    rows = {f"the decoder `{config.decoder}`": weights}
    if record is not None:
        rows[f"the pairs `{config.data}`"] = data
    lines.append(_section("Licences", rows))
    if known is not None and known.note:
        lines.append(f"\n{known.name} is {known.note}.")
    return "\n".join(lines) + "\n"


def _base(name: str) -> str | None:
    """The decoder's name on the hub, where it has one."""
    known = decoders.catalogued(name)
    if known is None:
        return name if name.count("/") == 1 and not name.startswith((".", "/", "~")) else None
    return _BASES.get(known.family) or (known.source if known.family == "pythia" else None)


def _sentence(config: RunConfig, record: RunRecord | None) -> str:
    if record is None:
        return f"the decoder language model `{config.decoder}` without any tuning."
    return (
        f"the decoder language model `{config.decoder}` ({count(record.params)} non-embedding "
        f"parameters) by {method_name(config.method)} on text pairs with a "
        f"contrastive loss, {scientific(record.flop_model, 3)} model FLOP."
    )


def _reading(config: RunConfig, precision: str) -> dict[str, str]:
    return {
        "pooling": {"mean": "mean over its tokens", "last": "its last token"}[config.pooling],
        "attention": config.attention,
        "longest text": f"{config.max_tokens} tokens; what is longer is cut",
        "special tokens": "those of the tokenizer" if config.special_tokens else "none",
        "weights": precision,
    }


def _training(config: RunConfig, record: RunRecord) -> dict[str, str]:
    rows = {
        "method": method_name(config.method),
        "LoRA rank": record.lora_rank,
        "trained blocks": record.trained_blocks,
        "trained parameters": f"{record.trainable:,} (embeddings not counted)",
        "FLOP": f"{scientific(record.flop_model, 3)} (model), "
        f"{scientific(record.flop_hardware, 3)} (hardware), "
        f"{scientific(record.flop_paper, 3)} (by the study's rule)",
        "pairs": f"{config.data}, fingerprint {record.fingerprint or 'unknown'}",
        "seen": f"{record.pairs:,} pairs ({record.unique_pairs:,} distinct), "
        f"{record.tokens:,} tokens, in {record.steps:,} steps of {record.batch_pairs:,}",
        "learning rate": f"{record.lr:.3g} at its peak, {config.warmup:.0%} warm-up, then cosine",
        "weight decay": config.weight_decay,
        "temperature": config.temperature,
        "seed": config.seed,
        "products": record.precision,
        "took": f"{duration(record.seconds)} on {record.hardware}",
        "code": f"{record.code_version} {record.revision}; {record.libraries}".strip("; "),
    }
    return {name: str(value) for name, value in rows.items() if value is not None}


def _scores(config: RunConfig, record: RunRecord) -> dict[str, str]:
    chance = math.log(config.candidates)
    return {
        "held-out loss": f"{record.loss:.4f} nats (chance {chance:.2f})",
        "recall@1": f"{record.recall_at_1:.4f}",
        "recall@10": f"{record.recall_at_10:.4f}",
        "MRR": f"{record.mrr:.4f}",
        "among": f"{config.candidates:,} held-out pairs of the same data, both ways: "
        "how well it does elsewhere is not known from that",
    }


def _section(title: str, rows: dict[str, str]) -> str:
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"\n## {title}\n\n| | |\n|---|---|\n{table}"
