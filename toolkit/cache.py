"""The cache on disk: what is made or fetched once and read many times."""

from __future__ import annotations

import os
from pathlib import Path

from toolkit.errors import SurroundingsError
from toolkit.place import CHECKOUT


def cache_folder() -> Path:
    """Where mined pairs, tokens and fetched files are kept: `$TOOLKIT_CACHE`, or `.cache` of the
    project, or the user's cache where the package is installed.

    Raises:
        SurroundingsError: It is not there and cannot be made.
    """
    folder = Path(os.environ.get("TOOLKIT_CACHE") or _default())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise SurroundingsError(
            f"cannot make the cache folder {folder}: {error}; "
            "set TOOLKIT_CACHE to one that can be written"
        ) from error
    return folder


def _default() -> Path:
    """`.cache` of the checkout, or of an installed package the user's own."""
    if CHECKOUT:
        return CHECKOUT / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "decoders-to-encoders"
