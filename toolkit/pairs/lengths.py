"""How long the texts of a data source are, told before any of them is tokenised."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from itertools import islice

import numpy as np

from toolkit.errors import ToolkitError
from toolkit.pairs.sources import NAMED, Source, read_pairs, source_fingerprint

# Tokens of a query and a positive where nothing is known of them: the pairs of the study that this
# grew from (docs/the-study.md).
STUDY = (14.0, 64.0)
MOST = 1_000  # Pairs of a file that are looked at, the first ones.
LARGE = 16_384  # Tokens of a vocabulary from which on it holds whole words.
# Bytes of UTF-8 a token, of ASCII and of all else, by small and large vocabularies: the small
# decoders' tokenizer and SmolLM2's, on both named sources, and on sentences in Chinese, Japanese,
# Russian and Hindi (1.0; 1.6 to 2.5).
_BYTES = ((3.0, 1.0), (4.0, 2.0))


def mean_tokens(source: Source, vocabulary: int, max_tokens: int) -> tuple[float, float]:
    """Tokens of a mean query and a mean positive, cut at `max_tokens`.

    Of a file by the bytes of its first thousand pairs; a named source tells (`TOKENS`); of one that
    does not, a hub's data set, or a file that cannot be read, as in the study.

    Args:
        source: Of the pairs. vocabulary: Of the tokenizer. max_tokens: Longer texts are cut here.
    """
    large = vocabulary >= LARGE
    if source.name in NAMED:
        known = _of_named(source.name, large, max_tokens)
    elif source.is_file:
        known = _of_file(source, large, max_tokens)
    else:
        known = STUDY
    query, positive = (min(float(tokens), max_tokens) for tokens in known)
    return query, positive


def _of_named(name: str, large: bool, max_tokens: int) -> tuple[float, float]:
    """Between the cuts that are known; beyond the last few texts are longer."""
    known = getattr(NAMED[name], "TOKENS", {75: (STUDY, STUDY)})
    cuts, means = zip(*known.items(), strict=True)
    query, positive = np.array(means)[:, int(large)].T
    return np.interp(max_tokens, cuts, query), np.interp(max_tokens, cuts, positive)


def _of_file(source: Source, large: bool, max_tokens: int) -> tuple[float, float]:
    whole = replace(source, without=None)  # What is left out are few, and slow to know.
    try:
        return _first(whole, source_fingerprint(whole), large, max_tokens)
    except ToolkitError:
        return STUDY


@lru_cache(maxsize=64)
def _first(source: Source, fingerprint: str, large: bool, max_tokens: int) -> tuple[float, float]:
    try:
        pairs = list(islice(read_pairs(source), MOST))
    except ToolkitError:  # Said where the file is checked, with its line.
        return STUDY
    if not pairs:
        return STUDY

    def mean(texts: list[str]) -> float:
        return max(1.0, sum(min(max_tokens, _tokens(text, large)) for text in texts) / len(texts))

    return mean([pair.query for pair in pairs]), mean([pair.positive for pair in pairs])


def _tokens(text: str, large: bool) -> int:
    ascii_bytes, other_bytes = _BYTES[large]
    whole, plain = len(text.encode()), len(text.encode("ascii", "ignore"))
    return math.ceil(plain / ascii_bytes + (whole - plain) / other_bytes)
