"""Findings: what is worth saying, as a kind and its numbers; `toolkit.words` has the sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing that a reader must or may know.

    Attributes:
        kind: Which, one of the kinds that `toolkit.words.say` knows.
        values: Its numbers and names.
    """

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: str, **values: Any) -> Finding:
        return cls(kind, values)
