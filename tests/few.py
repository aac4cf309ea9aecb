"""Large families of tests: `make quick` runs a few of each, `make test` all of them."""

from collections.abc import Iterable
from typing import Any

import pytest


def few(values: Iterable[Any], quick: Iterable[Any]) -> list[Any]:
    """Values to parametrise a test with, all but those in `quick` marked slow."""
    values, quick = list(values), list(quick)
    assert all(value in values for value in quick)
    return [
        value if value in quick else pytest.param(*_each(value), marks=pytest.mark.slow)
        for value in values
    ]


def _each(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
