"""What a recipe must keep to besides its budget, and the decoders that it may name."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.text import count


class Unaffordable(ToolkitError):
    """Nothing of a budget is left for training once the encoder's life is paid for."""


@dataclass(frozen=True)
class Limits:
    """Limits that a question is asked with; None where there is none.

    Attributes:
        max_pairs: Distinct pairs at hand; more than that means repeating them.
        max_params: Largest decoder that may be recommended, non-embedding parameters.
        queries: Texts to be embedded over the encoder's life; the budget pays for these, too.
        decoders: Names of further decoders at hand (`toolkit.decoders.find`).

    Raises:
        ToolkitError: A limit is no positive finite number.
    """

    max_pairs: int | None = None
    max_params: float | None = None
    queries: float | None = None
    decoders: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.set:
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ToolkitError(f"{name} must be a positive finite number, not {value}")

    @property
    def set(self) -> tuple[str, ...]:
        """The names of the limits that there are; decoders at hand limit nothing."""
        names = [f.name for f in fields(self) if f.name != "decoders"]
        return tuple(name for name in names if getattr(self, name) is not None)

    def without(self, *names: str) -> Limits:
        """The same limits but for these."""
        freed: dict[str, Any] = dict.fromkeys(names)
        return replace(self, **freed)

    def in_words(self, names: tuple[str, ...]) -> str:
        """Some of the limits: `max_pairs 30k and queries 1M`."""
        return " and ".join(f"{name} {count(getattr(self, name))}" for name in names)


UNLIMITED = Limits()
