"""Where pairs come from: a named source, a file, a data set of a hub."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from toolkit.cache import cache_folder
from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.pairs import apart, docstrings, manuals
from toolkit.pairs.files import Columns, Tally, is_pairs_file, read_file
from toolkit.pairs.hub import read_hub
from toolkit.pairs.lines import FORMATS
from toolkit.pairs.pair import Pair

# A named source is a module with `mine`, which gives its pairs, `fingerprint`, which changes when
# they would, `LICENCE`, under which they are, and perhaps `TOKENS`, how long they are.
NAMED: dict[str, ModuleType] = {"docstrings": docstrings, "manuals": manuals}


@dataclass(frozen=True)
class Source:
    """Data to be read, and how.

    Attributes:
        name: `docstrings`, `manuals`, a file (see `toolkit.pairs.files`) or
            `hub:owner/name[:split]`.
        columns: Of a file or a data set, where their names do not tell.
        skip_bad: Share of a file's rows that may be bad and are then passed over.
        without: `see-also` leaves out pairs with a text of what is kept apart
            (`toolkit.pairs.apart`).
    """

    name: str
    columns: Columns = field(default_factory=Columns)
    skip_bad: float = 0.0
    without: str | None = None

    @classmethod
    def of(cls, source: str | Source) -> Source:
        """The source itself, or the one of this name with nothing else said."""
        return source if isinstance(source, Source) else cls(source)

    @property
    def is_file(self) -> bool:
        """Whether it is a file of a person's own, not a named source or a hub's data set."""
        return self.name not in NAMED and not self.name.startswith("hub:")

    def check(self) -> None:
        """What can be known without reading it.

        Raises:
            ToolkitError: The source is unknown, or its file does not exist.
        """
        if not self.is_file:
            return
        if not is_pairs_file(self.name):
            raise ToolkitError(
                f"unknown data {self.name!r}: give {', '.join(NAMED)}, hub:owner/name, or a file "
                f"ending in {', '.join(FORMATS)}, each also with .gz"
            )
        if not Path(self.name).is_file():
            what = "is a folder" if Path(self.name).is_dir() else "does not exist"
            raise SurroundingsError(f"data file {self.name} {what}")


def read_pairs(source: str | Source, tally: Tally | None = None) -> Iterator[Pair]:
    """The pairs of a data source, one by one, none held in memory.

    Args:
        source: Or its name. tally: Filled with what was read of a file.

    Example:
        >>> next(d2e.read_pairs("my_pairs.jsonl")).query
        'what is number 0'

    Raises:
        ToolkitError: The source is unknown or a line of it is bad; file and line are named.
    """
    source = Source.of(source)
    source.check()
    pairs = _read(source, tally)
    return pairs if source.without is None else apart.kept_apart(pairs)


def _read(source: Source, tally: Tally | None) -> Iterator[Pair]:
    if source.name in NAMED:
        return _read_named(source.name)
    if source.name.startswith("hub:"):
        return read_hub(source.name.removeprefix("hub:"), source.columns)
    return read_file(Path(source.name), source.columns, skip_bad=source.skip_bad, tally=tally)


def source_fingerprint(source: str | Source) -> str:
    """A digest that changes when the data behind `source` do: for files, size and time of change.

    Raises:
        ToolkitError: The source is unknown or its file does not exist.
    """
    source = Source.of(source)
    source.check()
    found = _fingerprint(source)
    if source.without is None:
        return found
    identity = f"{found} {source.without} {apart.fingerprint()}"
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _fingerprint(source: Source) -> str:
    """Of all that is in it, whatever is then left out."""
    if source.name in NAMED:
        return NAMED[source.name].fingerprint()
    identity = source.name
    if not identity.startswith("hub:"):
        path = Path(source.name).resolve()
        stat = path.stat()
        identity = f"{path} {stat.st_size} {stat.st_mtime_ns}"
    if (source.columns, source.skip_bad) != (Columns(), 0.0):
        identity += f" {source.columns} {source.skip_bad}"
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _read_named(name: str) -> Iterator[Pair]:
    """Mined once, then read from the cache, whose digest is checked."""
    path = cache_folder() / f"{name}-{source_fingerprint(name)}.jsonl"
    if not _is_whole(path):
        _store(path, NAMED[name].mine)
    with open(path, encoding="utf-8") as file:
        for line in file:
            query, positive, *origin = json.loads(line)
            yield Pair(query, positive, origin=origin[0] if origin else "")


def _store(path: Path, mine: Callable[[], Iterable[Pair]]) -> None:
    """Write pairs beside `path`, then move them there in one step; their digest goes first."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    digest = hashlib.sha256()
    try:
        with open(temporary, "wb") as file:
            for pair in mine():
                texts = [pair.query, pair.positive, *([pair.origin] if pair.origin else [])]
                line = json.dumps(texts).encode() + b"\n"
                digest.update(line)
                file.write(line)
        _digest_of(path).write_text(digest.hexdigest(), encoding="ascii")
        os.replace(temporary, path)
    except OSError as error:
        raise SurroundingsError(
            f"cannot keep the mined pairs in {path.parent}: {error}; free the disk or set "
            "TOOLKIT_CACHE to a folder that can be written"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _is_whole(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        return found == _digest_of(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return False


def _digest_of(path: Path) -> Path:
    return path.with_suffix(".sha256")
