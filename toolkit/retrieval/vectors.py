"""A file's vectors on disk: of texts that need not fit into memory, begun, gone on with, whole.

Texts are embedded in windows of some thousand, each sorted by length inside the encoder. Vectors go
into a file of their full size beside the target, and what is done is noted after each window, so
that a run that was stopped goes on where it was. Only what is whole takes the target's name.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.pairs.texts import TextFile
from toolkit.runs import write_atomically
from toolkit.writing import check_file

if TYPE_CHECKING:
    from toolkit.retrieval.encoders import Encodes

WINDOW = 8192  # Texts between two notes of what is done.
SUFFIXES = (".npy", ".parquet")
_PROBE = ("A text.", "two  blanks\n", "Łódź 東京", "def f(x): return x")
_SAME = 0.999  # Cosine of one text by one encoder, whatever the precision.


@dataclass(frozen=True)
class _State:
    """What is known of vectors that are not all there yet.

    Attributes:
        digest: Of the texts' file. column: Where its texts are. texts: How many.
        done: How many have their vectors. probe: Some texts' vectors, which tell the encoder.
    """

    digest: str
    column: str | None
    texts: int
    done: int
    probe: list[list[float]]


def embed_file(
    encoder: Encodes,
    texts: TextFile,
    target: Path,
    *,
    side: str = "positive",
    progress: Callable[[int, int], None] = lambda done, texts: None,
    window: int = WINDOW,
) -> int:
    """Embed a file's texts into `target`; what an earlier call left half done is gone on with.

    Args:
        target: `.npy`: float32, shape [texts, h], row i of text i. `.parquet`: with the columns
            text and vector. It must not be there yet.
        side: What the texts are, query or positive, where a run put a prefix before either.
        progress: Called with the texts done and all of them. window: Texts between notes.

    Returns:
        How many texts there are.

    Raises:
        ToolkitError: A text is bad (file and line are named), the target cannot be written, or the
            file, its column, the encoder or its prefix are not those that the target was begun
            with.
    """
    check_target(target)
    stat = _stat(texts.path)
    count = sum(1 for _ in texts)  # Every line is looked at before anything is paid for.
    if not count:
        raise ToolkitError(f"{texts.path} holds no text")
    with open(texts.path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    probe = encoder.encode(_PROBE, side=side)
    fresh = _State(digest, texts.column, count, 0, probe.tolist())
    part, note = _beside(target)
    state = _resumed(note, part, fresh, texts, target) or fresh
    try:
        shape, mode = (count, probe.shape[1]), "r+" if state.done else "w+"
        vectors = np.lib.format.open_memmap(part, mode=mode, dtype=np.float32, shape=shape)
        _note(note, state)
        progress(state.done, count)
        for start, some in _windows(texts, state.done, window):
            if _stat(texts.path) != stat or start + len(some) > count:
                raise _changed(texts, target, start, count)
            vectors[start : start + len(some)] = encoder.encode(some, side=side)
            vectors.flush()
            state = _State(**{**asdict(state), "done": start + len(some)})
            _note(note, state)
            progress(state.done, count)
        if state.done != count:
            raise _changed(texts, target, state.done, count)
        del vectors
        _finish(part, texts, target)
    except OSError as error:
        raise SurroundingsError(
            f"cannot write the vectors of {texts.path} beside {target}: {error}; free the disk and "
            "say it again: it goes on where it was"
        ) from error
    note.unlink(missing_ok=True)
    return count


def read_vectors(path: Path, texts: int | None = None) -> np.ndarray:
    """Vectors that `embed_file` wrote as `.npy`, mapped, not read.

    Args:
        texts: How many there must be.

    Raises:
        ToolkitError: The file is missing, holds something else, or vectors of other texts.
    """
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ToolkitError(f"{path} cannot be read as vectors (.npy): {error}") from error
    if vectors.ndim != 2:
        raise ToolkitError(f"{path} holds an array of shape {vectors.shape}, not [texts, h]")
    if texts is not None and len(vectors) != texts:
        raise ToolkitError(f"{path} has {len(vectors):,} vectors for {texts:,} texts")
    return vectors


def identity(encoder: Encodes) -> str:
    """Tells one encoder from another by what it makes of a few texts of a corpus, to two
    decimals."""
    probe = np.round(encoder.encode(_PROBE, side="positive"), 2)
    return hashlib.sha256(probe.tobytes()).hexdigest()[:16]


def check_target(target: Path) -> None:
    """Make sure that vectors can be written there.

    Raises:
        ToolkitError: It is no `.npy` or `.parquet`, is there already, or cannot be written.
    """
    if target.suffix not in SUFFIXES:
        raise ToolkitError(f"vectors are written as {' or '.join(SUFFIXES)}, not as {target.name}")
    if target.exists():
        raise ToolkitError(f"{target} is there already; remove it or name another file")
    check_file(target)


def _beside(target: Path) -> tuple[Path, Path]:
    """The vectors that are not whole yet, and what is noted about them."""
    return target.with_name(f".{target.name}.part"), target.with_name(f".{target.name}.json")


def _resumed(note: Path, part: Path, fresh: _State, texts: TextFile, target: Path) -> _State | None:
    """What an earlier call left, where it is of use.

    Raises:
        ToolkitError: It is of another file, column or encoder than now.
    """
    try:
        state = _State(**json.loads(note.read_text(encoding="utf-8")))
        probe = np.array(state.probe, np.float32)
        rows = np.load(part, mmap_mode="r", allow_pickle=False).shape
    except (OSError, ValueError, TypeError):
        return None
    begun = f"{target} was begun with it ({state.done:,} of {state.texts:,} texts are done)"
    anew = f"remove {note} to begin anew"
    if state.digest != fresh.digest:
        raise ToolkitError(
            f"{texts.path} has changed since {begun}; put the old file back, or {anew}"
        )
    if state.column != fresh.column:
        raise ToolkitError(
            f"{target} was begun with the column {state.column!r}; name it, or {anew}"
        )
    now = np.array(fresh.probe, np.float32)
    if probe.shape != now.shape or (np.sum(probe * now, 1) < _SAME).any():
        raise ToolkitError(
            f"{target} was begun with another encoder, or another side's prefix; take that one, "
            f"or {anew}"
        )
    return state if rows == (fresh.texts, now.shape[1]) and state.done else None


def _windows(texts: TextFile, done: int, size: int) -> Iterator[tuple[int, list[str]]]:
    """Where each window starts, and its texts."""
    rest = islice(iter(texts), done, None)
    while some := list(islice(rest, size)):
        yield done, some
        done += len(some)


def _note(note: Path, state: _State) -> None:
    write_atomically(note, json.dumps(asdict(state)))


def _finish(part: Path, texts: TextFile, target: Path) -> None:
    if target.suffix == ".npy":
        os.replace(part, target)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    vectors = np.load(part, mmap_mode="r", allow_pickle=False)
    size = vectors.shape[1]
    schema = pa.schema([("text", pa.string()), ("vector", pa.list_(pa.float32(), size))])
    building = target.with_name(f".{target.name}.tmp")
    try:
        with pq.ParquetWriter(building, schema) as writer:
            for start, some in _windows(texts, 0, WINDOW):
                flat = pa.array(np.array(vectors[start : start + len(some)]).ravel())
                column = pa.FixedSizeListArray.from_arrays(flat, size)
                writer.write_table(pa.table([pa.array(some, pa.string()), column], schema))
        os.replace(building, target)
    finally:
        building.unlink(missing_ok=True)
    part.unlink()


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise SurroundingsError(f"{path} cannot be read: {error.strerror or error}") from error
    return found.st_size, found.st_mtime_ns


def _changed(texts: TextFile, target: Path, done: int, count: int) -> ToolkitError:
    note = _beside(target)[1]
    return ToolkitError(
        f"{texts.path} changed while it was read ({done:,} of {count:,} texts are done); put the "
        f"old file back, or remove {note} to begin anew"
    )
