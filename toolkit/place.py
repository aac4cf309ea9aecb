"""Where the project's own files are: in a checkout beside the package, else within it."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
CHECKOUT = _PACKAGE.parent if (_PACKAGE.parent / "pyproject.toml").is_file() else None
# An installed package brings the notebooks and the smallest decoders (see setup.py).
_FILES = CHECKOUT or _PACKAGE / "files"

NOTEBOOKS = _FILES / "notebooks"
SUITE = _FILES / "runs" / "suite"
REFERENCE = _FILES / "runs" / "reference"
