"""A pair of texts, and the side of the split on which it falls by a stable key."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

HELD_OUT_SHARE = 0.05


@dataclass(frozen=True)
class Pair:
    """A query and a text that answers it."""

    query: str
    positive: str

    @property
    def key(self) -> int:
        """A 64-bit key of the query, the same on every machine."""
        digest = hashlib.blake2b(normalise(self.query).encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big")

    @property
    def held_out(self) -> bool:
        """Whether the pair belongs to the held-out side: equal queries always fall together."""
        return self.key < HELD_OUT_SHARE * 2**64


def normalise(text: str) -> str:
    """Text as it is compared: case and white space do not tell two texts apart."""
    return " ".join(text.casefold().split())
