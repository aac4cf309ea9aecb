"""Published tables for tests: by name where they can be read, else skipped with how to get them."""

from pathlib import Path

import pytest

from toolkit.tables.published import how_to_get, is_here, published_path


def published(name: str) -> Path:
    """The table's file; the test is skipped where its licence keeps it out of the package."""
    if not is_here(name):
        pytest.skip(f"the published table {name} is not here: {how_to_get(name)}")
    return published_path(name)
