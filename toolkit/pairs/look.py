"""A look at pairs before anything is trained on them: what is odd in them, by rules that are said.

All rules are cheap and plain, and meant to be: each finding comes with a few pairs to judge it by.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolkit.pairs.near import near_duplicate_clusters
from toolkit.pairs.pair import Pair, text_key
from toolkit.pairs.sources import Source, read_pairs
from toolkit.pairs.split import HELD_OUT, TRAIN, Facts, split

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST = 20_000  # Pairs that are looked at; of more, so many at equal distances.
_STEM = 5  # Letters of a word that count: they make up for endings.
_FREQUENT = 0.1  # Words in more than this share of the texts say nothing about one of them.
_WORD = re.compile(r"[^\W\d_]{3,}|\d+")
_UNSPACED = re.compile(r"[぀-ヿ㐀-鿿가-힯฀-๿]")
# Frequent small words by which languages in Latin letters are told apart.
_SMALL_WORDS = {
    "English": "the of and to in is that it for was with as on be are this by or an not",
    "German": "der die und das nicht ist von den mit des sich dem ein eine auf für im auch",
    "French": "le la les et des est une pour dans que qui du pas sur au avec il elle sont",
    "Spanish": "el los las del que una por con para es como más su al lo se está son pero",
    "Italian": "il di che è per una sono della gli nel con non del alla più anche come",
    "Portuguese": "os das dos que não uma para com por mais como são ao também pelo foi",
    "Dutch": "het een van en niet dat zijn op voor met te aan ook maar bij door wordt",
}
_SCRIPTS = {
    "Chinese": r"[一-鿿]",
    "Japanese": r"[぀-ヿ]",
    "Korean": r"[가-힯]",
    "Cyrillic": r"[Ѐ-ӿ]",
    "Greek": r"[Ͱ-Ͽ]",
    "Arabic": r"[؀-ۿ]",
    "Hebrew": r"[֐-׿]",
    "Devanagari": r"[ऀ-ॿ]",
    "Thai": r"[฀-๿]",
}
_SMALL = {name: frozenset(words.split()) for name, words in _SMALL_WORDS.items()}
_LETTERS = {name: re.compile(pattern) for name, pattern in _SCRIPTS.items()}


@dataclass(frozen=True)
class Look:
    """What was seen.

    Attributes:
        facts: Of all pairs and their split.
        looked_at: Pairs that the rest is about.
        lengths: Tokens of each query and positive, shape [looked_at, 2].
        overlap: Of each pair, the share of the query's content words that are in its positive too;
            NaN where the query has none. Shape [looked_at].
        apart: A few pairs that have no content word in common.
        leaks: Held-out pairs of which a text, or a near-duplicate of it, is in a training pair.
        leaked: A few of those texts.
        languages: Share of the pairs in each language, the largest first.
    """

    facts: Facts
    looked_at: int
    lengths: np.ndarray
    overlap: np.ndarray
    apart: tuple[Pair, ...]
    leaks: int
    leaked: tuple[str, ...]
    languages: dict[str, float]

    @property
    def apart_share(self) -> float:
        """Share of the pairs, of those whose query has content words, that have none in common."""
        known = self.overlap[~np.isnan(self.overlap)]
        return float((known == 0).mean()) if len(known) else 0.0


def look(source: Source, tokenizer: PreTrainedTokenizerBase) -> Look:
    """Look at a data source.

    Raises:
        ToolkitError: The source cannot be read, or holds no pair.
    """
    from toolkit.pairs.summary import token_lengths

    divided = split(source)
    step = -(-divided.facts.pairs // MOST)
    chosen = [
        (pair, side)
        for place, (pair, side) in enumerate(zip(read_pairs(source), divided.sides, strict=True))
        if side == HELD_OUT or place % step == 0
    ]
    pairs = [pair for pair, _ in chosen]
    overlap = overlaps(pairs)
    apart = [pair for pair, share in zip(pairs, overlap, strict=True) if share == 0]
    leaks, leaked = _leaks(chosen)
    spoken = Counter(language(f"{pair.query} {pair.positive}") for pair in pairs)
    return Look(
        facts=divided.facts,
        looked_at=len(pairs),
        lengths=token_lengths(pairs, tokenizer),
        overlap=overlap,
        apart=tuple(sorted(apart, key=lambda pair: pair.key)[:3]),
        leaks=leaks,
        leaked=tuple(leaked[:3]),
        languages={name: n / len(pairs) for name, n in spoken.most_common()},
    )


def content(text: str) -> set[str]:
    """A text's words of three letters and more, cut at five; of scripts without spaces, their
    letters two by two."""
    plain = text.casefold()
    letters = "".join(_UNSPACED.findall(plain))
    words = {word[:_STEM] for word in _WORD.findall(_UNSPACED.sub(" ", plain))}
    return words | {letters[i : i + 2] for i in range(len(letters) - 1)}


def overlaps(pairs: Sequence[Pair]) -> np.ndarray:
    """Of each pair the share of the query's content words that its positive has; NaN for none.

    A word that is in a tenth of all texts or more says nothing (of fifty pairs and more).
    """
    queries = [content(pair.query) for pair in pairs]
    positives = [content(pair.positive) for pair in pairs]
    seen = Counter(word for words in (*queries, *positives) for word in words)
    most = _FREQUENT * 2 * len(pairs) if len(pairs) >= 50 else float("inf")
    telling = [{word for word in words if seen[word] < most} for words in queries]
    return np.array(
        [
            len(words & there) / len(words) if words else np.nan
            for words, there in zip(telling, positives, strict=True)
        ]
    )


def _leaks(chosen: list[tuple[Pair, int]]) -> tuple[int, list[str]]:
    """How many held-out pairs have a text that is near one of a training pair, and the texts."""
    texts = [text for pair, _ in chosen for text in (pair.query, pair.positive)]
    owners = np.repeat(np.arange(len(chosen)), 2)
    side = np.repeat([side for _, side in chosen], 2)
    keys = np.array([text_key(text) for text in texts], np.uint64)
    near = near_duplicate_clusters(texts)
    leaking = np.zeros(len(texts), bool)
    for labels in (keys, near):
        leaking |= np.isin(labels, labels[side == TRAIN])
    found = np.flatnonzero(leaking & (side == HELD_OUT))
    return len({owners[i] for i in found}), [texts[i] for i in found]


def language(text: str) -> str:
    """The language of a text, by its letters, and of Latin ones by its small words: the language
    with most of them, of two at least; else "not told"."""
    counted = {name: len(pattern.findall(text)) for name, pattern in _LETTERS.items()}
    letters = sum(map(str.isalpha, text))
    name = max(counted, key=counted.__getitem__)
    if counted["Japanese"] > 0.1 * letters:
        return "Japanese"
    if letters and counted[name] > 0.3 * letters:
        return name
    words = re.findall(r"[^\W\d_]+", text.casefold())
    hits = {name: sum(word in small for word in words) for name, small in _SMALL.items()}
    best = max(hits, key=hits.__getitem__)
    return best if hits[best] >= 2 else "not told"
