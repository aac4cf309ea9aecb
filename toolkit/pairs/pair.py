"""A pair of texts, its stable keys, and how texts are compared."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

HELD_OUT_SHARE = 0.05


@dataclass(frozen=True)
class Pair:
    """A query and a text that answers it.

    Attributes:
        query, positive: The texts.
        negatives: Texts that do not answer the query, where the data name any.
        origin: Which part of a mixed data source it comes from; empty where there are none.
    """

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    origin: str = ""

    @property
    def key(self) -> int:
        """A 64-bit key of the query, the same on every machine."""
        return text_key(self.query)

    @property
    def held_out(self) -> bool:
        """Whether the pair's key is among the held-out ones: equal queries always fall together.

        Where pairs are near-duplicates, `toolkit.pairs.split` decides for all of them by one.
        """
        return self.key < HELD_OUT_SHARE * 2**64


def text_key(text: str) -> int:
    """A 64-bit key of a text as it is compared, the same on every machine."""
    digest = hashlib.blake2b(normalise(text).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def normalise(text: str) -> str:
    """Text as it is compared: case and white space do not tell two texts apart."""
    return " ".join(text.casefold().split())
