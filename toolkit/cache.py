"""The cache on disk: what is made or fetched once and read many times."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where mined pairs, tokens and fetched files are kept: `$TOOLKIT_CACHE`, or `.cache` of the
    project."""
    default = Path(__file__).resolve().parents[1] / ".cache"
    folder = Path(os.environ.get("TOOLKIT_CACHE", default))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
