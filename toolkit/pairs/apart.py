"""Packages whose documentation may be kept out of training, so that it can judge what was trained.

The task `see-also` (`toolkit.retrieval.see_also`) asks which of their functions belong together.
Several data sources hold pairs of the same documentation; `without: see-also` leaves those out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np

from toolkit.cache import cache_folder
from toolkit.errors import SurroundingsError
from toolkit.pairs import docstrings
from toolkit.pairs.pair import Pair, text_key

SEE_ALSO = "see-also"
PACKAGES = ("numpy", "scipy", "pandas", "scikit-learn", "matplotlib", "networkx", "sympy")


def fingerprint() -> str:
    """A digest of what is kept out: the packages' versions, and how they are mined."""
    return docstrings.fingerprint(PACKAGES)


def kept_apart(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """The pairs without a text of the packages' documentation, wherever they come from."""
    texts = apart_keys()
    return (pair for pair in pairs if not _shares(pair, texts))


def count_shared(pairs: Iterable[Pair]) -> int:
    """How many of the pairs have a text of the packages' documentation."""
    texts = apart_keys()
    return sum(_shares(pair, texts) for pair in pairs)


def _shares(pair: Pair, texts: frozenset[int]) -> bool:
    return text_key(pair.query) in texts or text_key(pair.positive) in texts


@cache
def apart_keys() -> frozenset[int]:
    """The keys of all texts of the packages' documentation; mined once, then kept in the cache.

    Raises:
        SurroundingsError: The cache cannot be written.
    """
    path = cache_folder() / f"apart-{fingerprint()}.npy"
    try:
        return frozenset(np.load(path, allow_pickle=False).tolist())
    except (OSError, ValueError):
        pass
    pairs = docstrings.mine(PACKAGES)
    keys = {text_key(text) for pair in pairs for text in (pair.query, pair.positive)}
    temporary = path.with_name(f".{path.name}.tmp.npy")
    try:
        np.save(temporary, np.array(sorted(keys), np.uint64))
        temporary.replace(path)
    except OSError as error:
        raise SurroundingsError(
            f"cannot keep {path.name} in {path.parent}: {error}; free the disk or set "
            "TOOLKIT_CACHE to a folder that can be written"
        ) from error
    return frozenset(keys)
