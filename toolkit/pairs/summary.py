"""What is in a data source, counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from heapq import nsmallest
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.pairs.pair import Pair
from toolkit.pairs.sources import Source, read_pairs
from toolkit.pairs.split import HELD_OUT, LEFT_OUT, split

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def summarise(
    source: Source, tokenizer: PreTrainedTokenizerBase, *, samples: int = 5
) -> dict[str, Any]:
    """The facts of a source's split, and what the texts are like, as plain values.

    Args:
        source: The data. tokenizer: Whose tokens are counted, special tokens left out.
        samples: How many pairs to show: those with the smallest keys, the same at every call.

    Returns:
        The fields of `toolkit.pairs.split.Facts`; `tokens`: of queries and positives the mean, the
        median, the 95th percentile, the longest; `origins`: of a mixed source, for each origin its
        pairs, those held out, and its mean lengths; `samples`: query, positive, origin.

    Raises:
        ToolkitError: The source cannot be read, or holds no pair.
    """
    divided = split(source)
    lengths: list[np.ndarray] = []
    origins: list[str] = []
    shown: list[tuple[int, str, Pair]] = []
    for chunk in _chunks(read_pairs(source)):
        lengths.append(token_lengths(chunk, tokenizer))
        origins += [pair.origin for pair in chunk]
        keyed = ((pair.key, pair.positive, pair) for pair in chunk)
        shown = nsmallest(samples, [*shown, *keyed], key=lambda one: one[:2])
    tokens = np.concatenate(lengths)
    return {
        **asdict(divided.facts),
        "tokens": {
            text: _distribution(tokens[:, column])
            for column, text in enumerate(("queries", "positives"))
        },
        "origins": _by_origin(np.array(origins), tokens, divided.sides),
        "samples": [
            {"query": p.query, "positive": p.positive, "origin": p.origin} for _, _, p in shown
        ],
    }


def _chunks(pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
    while chunk := list(islice(pairs, 4096)):
        yield chunk


def token_lengths(pairs: list[Pair], tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Tokens of each query and positive, shape [pairs, 2]."""
    texts = [text for pair in pairs for text in (pair.query, pair.positive)]
    encoded = tokenizer(
        texts, add_special_tokens=False, return_attention_mask=False, verbose=False
    )["input_ids"]
    return np.array([len(ids) for ids in encoded]).reshape(-1, 2)


def _distribution(lengths: np.ndarray) -> dict[str, float]:
    return {
        "mean": round(float(lengths.mean()), 2),
        "median": int(np.median(lengths)),
        "p95": int(np.quantile(lengths, 0.95)),
        "longest": int(lengths.max()),
    }


def _by_origin(origins: np.ndarray, tokens: np.ndarray, sides: np.ndarray) -> dict[str, Any]:
    names = np.unique(origins)
    if len(names) < 2:
        return {}
    rows = {str(name): origins == name for name in names}
    return {
        name: {
            "pairs": int(these.sum()),
            "held_out": int((sides[these] == HELD_OUT).sum()),
            "left_out": int((sides[these] == LEFT_OUT).sum()),
            "query_tokens": round(float(tokens[these, 0].mean()), 2),
            "positive_tokens": round(float(tokens[these, 1].mean()), 2),
        }
        for name, these in rows.items()
    }
