"""Manuals: some 600,000 pairs from documentation, a data source that anybody can make.

The parts are mined from pinned wheels, fetched once by pip and read as zip files, and from the
packages that are installed (`docstrings`). No text occurs twice, and of texts that are
near-duplicates one is kept. README.md beside this file tells what is in it.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.pairs import docstrings
from toolkit.pairs.manuals import ansible, aws, gcide, google, pulumi
from toolkit.pairs.manuals.part import Part, pairs_of
from toolkit.pairs.near import near_duplicate_clusters
from toolkit.pairs.pair import Pair, text_key
from toolkit.wheels import fetch

PARTS = (gcide.PART, ansible.PART, google.PART, aws.PART, pulumi.AWS, pulumi.AZURE)
# Of a mean query and positive, by where they are cut: in small and in large vocabularies' tokens
# (`toolkit.pairs.lengths`).
TOKENS = {
    16: ((14.4, 15.0), (11.5, 13.5)),
    32: ((19.2, 23.6), (12.8, 19.6)),
    75: ((20.3, 34.3), (13.2, 27.0)),
    128: ((20.5, 40.5), (13.3, 31.7)),
    256: ((20.5, 48.4), (13.3, 38.2)),
    512: ((20.5, 56.5), (13.3, 44.9)),
    1024: ((20.5, 62.3), (13.3, 49.4)),
}
LICENCE = "see toolkit/pairs/manuals/README.md, which names the licence of each part"
# A part gives what it has, but no more than this, so that none is a third of the whole.
MOST_OF_A_PART = 170_000
_VERSION = 1
_TASK_FILES = 32


def mine(parts: Iterable[Part] = PARTS, *, workers: int | None = None) -> Iterator[Pair]:
    """All pairs, part after part in a stable order, each with its part as its origin.

    Of equal texts and of near-duplicate positives the first is kept; of a part with more pairs
    than `MOST_OF_A_PART`, those with the smallest keys.

    Raises:
        ToolkitError: A wheel cannot be fetched or read; says which and why.
    """
    wheels = [(part, _fetched(part)) for part in parts]
    installed = (replace(pair, origin="docstrings") for pair in docstrings.mine(workers=workers))
    pairs = list(_distinct(chain(installed, _from_wheels(wheels, workers))))
    labels = near_duplicate_clusters(pair.positive for pair in pairs)
    firsts = np.sort(np.unique(labels, return_index=True)[1])
    kept = [pairs[position] for position in firsts]
    yield from _capped(kept)


def fingerprint(parts: Iterable[Part] = PARTS) -> str:
    """A digest of what `mine` would read, and how."""
    wheels = [part.wheel.sha256 for part in parts]
    identity = f"{_VERSION} {MOST_OF_A_PART} {docstrings.fingerprint()} {wheels}"
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _fetched(part: Part) -> Path:
    try:
        return fetch(part.wheel)
    except ToolkitError as error:
        raise SurroundingsError(f"{error}; the data source docstrings needs no network") from error


def _from_wheels(wheels: list[tuple[Part, Path]], workers: int | None) -> Iterator[Pair]:
    with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
        for part, path in wheels:
            members = _members(part, path)
            tasks = [members[i : i + _TASK_FILES] for i in range(0, len(members), _TASK_FILES)]
            for mined in pool.map(partial(_mine_members, part, path), tasks):
                yield from mined


def _members(part: Part, path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return part.members(archive.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        raise ToolkitError(f"{path} is not a readable wheel: {error}") from error


def _mine_members(part: Part, path: Path, members: list[str]) -> list[Pair]:
    with zipfile.ZipFile(path) as archive:
        return [pair for name in members for pair in pairs_of(part, name, archive.read(name))]


def _distinct(pairs: Iterable[Pair]) -> Iterator[Pair]:
    seen: set[int] = set()
    for pair in pairs:
        keys = {text_key(pair.query), text_key(pair.positive)}
        if not keys & seen:
            seen |= keys
            yield pair


def _capped(pairs: list[Pair]) -> Iterator[Pair]:
    keys: dict[str, list[int]] = {}
    for pair in pairs:
        keys.setdefault(pair.origin, []).append(pair.key)
    largest = {origin: sorted(found)[:MOST_OF_A_PART][-1] for origin, found in keys.items()}
    yield from (pair for pair in pairs if pair.key <= largest[pair.origin])
