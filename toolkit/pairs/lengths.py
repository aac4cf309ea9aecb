"""How long the texts of a data source are, told before any of them is tokenised."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice

from toolkit.errors import ToolkitError
from toolkit.pairs.sources import NAMED, Source, read_pairs, source_fingerprint

# Tokens of a query and a positive where nothing is known of them: the pairs of the study that this
# grew from (docs/the-study.md).
STUDY = (14.0, 64.0)
MOST = 1_000  # Pairs of a file that are looked at, the first ones.
LARGE = 16_384  # Tokens of a vocabulary from which on it holds whole words.
# Bytes of UTF-8 a token, of small and large vocabularies: the small decoders' tokenizer and
# SmolLM2's, on both named sources.
_BYTES = (3.0, 4.0)


def mean_tokens(source: Source, vocabulary: int, max_tokens: int) -> tuple[float, float]:
    """Tokens of a mean query and a mean positive, cut at `max_tokens`.

    Of a file by the bytes of its first thousand pairs; a named source tells (`TOKENS`, at 75); of
    a hub's data set, or a file that cannot be read, as in the study.

    Args:
        source: Of the pairs. vocabulary: Of the tokenizer. max_tokens: Longer texts are cut here.
    """
    large = int(vocabulary >= LARGE)
    if source.name in NAMED:
        known = NAMED[source.name].TOKENS[large]
    elif source.is_file:
        known = _of_file(source, _BYTES[large], max_tokens)
    else:
        known = STUDY
    query, positive = (min(float(tokens), max_tokens) for tokens in known)
    return query, positive


def _of_file(source: Source, bytes_a_token: float, max_tokens: int) -> tuple[float, float]:
    try:
        return _first(source, source_fingerprint(source), bytes_a_token, max_tokens)
    except ToolkitError:  # Said where the file is checked, with its line.
        return STUDY


@lru_cache(maxsize=64)
def _first(
    source: Source, fingerprint: str, bytes_a_token: float, max_tokens: int
) -> tuple[float, float]:
    pairs = list(islice(read_pairs(source), MOST))
    if not pairs:
        return STUDY

    def mean(texts: list[str]) -> float:
        tokens = [min(max_tokens, -(-len(text.encode()) // bytes_a_token)) for text in texts]
        return max(1.0, sum(tokens) / len(tokens))

    return mean([pair.query for pair in pairs]), mean([pair.positive for pair in pairs])
