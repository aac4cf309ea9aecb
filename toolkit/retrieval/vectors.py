"""A file's vectors on disk: of texts that need not fit into memory, begun, gone on with, whole.

Texts are embedded in windows of some thousand, each sorted by length inside the encoder. Their
vectors are written at the end of a file beside the target, and what is done is noted after each
window, so that a run that was stopped goes on where it was. Only what is whole takes the target's
name.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.pairs.texts import TextFile
from toolkit.sweep.locks import hold, holder
from toolkit.writing import check_file, write_atomically

if TYPE_CHECKING:
    from toolkit.retrieval.encoders import Encodes

WINDOW = 8192  # Texts between two notes of what is done.
SUFFIXES = (".npy", ".parquet")
_PROBE = ("A text.", "two  blanks\n", "Łódź 東京", "def f(x): return x")
_HELD = 8  # Rows that are held against their texts.
_SAME = 0.999  # Cosine of one text by one encoder, whatever the precision.
_KIND = np.dtype("<f4")
_BESIDE = ("part", "json", "lock")


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

    @property
    def shape(self) -> tuple[int, int]:
        """Of all vectors: [texts, h]."""
        return self.texts, len(self.probe[0])

    @property
    def header(self) -> bytes:
        """What an `.npy` of all vectors begins with."""
        out = io.BytesIO()
        facts = {"descr": _KIND.str, "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(out, facts)
        return out.getvalue()

    @property
    def end(self) -> int:
        """Bytes of the header and of the vectors that are done."""
        return len(self.header) + self.done * self.shape[1] * _KIND.itemsize


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

    def check_same(done: int) -> None:
        if _stat(texts.path) != stat or done > count:
            raise _changed(texts, target, done, count)

    try:
        with _alone(target):
            part, note, _ = _beside(target)
            state = _resumed(note, part, fresh, texts, target) or fresh
            with _opened(part, state) as out:
                _note(note, state)
                progress(state.done, count)
                for start, some in _windows(texts, state.done, window):
                    check_same(start + len(some))
                    _append(out, encoder.encode(some, side=side))
                    state = replace(state, done=start + len(some))
                    _note(note, state)
                    progress(state.done, count)
            if state.done != count:
                raise _changed(texts, target, state.done, count)
            _finish(part, state, texts, target, lambda: check_same(count))
            note.unlink(missing_ok=True)
    except OSError as error:
        raise SurroundingsError(
            f"cannot write the vectors of {texts.path} beside {target}: {error}; free the disk and "
            "say it again: it goes on where it was"
        ) from error
    return count


def read_vectors(path: Path) -> np.ndarray:
    """Vectors that `embed_file` wrote as `.npy`, mapped, not read.

    Raises:
        ToolkitError: The file is missing, or holds something else.
    """
    try:
        vectors = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        raise ToolkitError(f"{path} cannot be read as vectors (.npy): {error}") from error
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise ToolkitError(
            f"{path} holds {vectors.dtype} of shape {vectors.shape}, not floats [texts, h]"
        )
    return vectors


def vectors_of(encoder: Encodes, texts: TextFile, path: Path) -> np.ndarray:
    """Vectors that a person says are a file's: `read_vectors`, held against some of the texts.

    Raises:
        ToolkitError: They are others: of another encoder, other texts, not of unit length.
    """
    vectors = read_vectors(path)
    rows = sorted(set(np.linspace(0, len(vectors) - 1, _HELD).astype(int).tolist()))
    some, count = [], 0
    for count, text in enumerate(texts, 1):
        if count - 1 in rows:
            some.append(text)
    if not len(vectors) == count > 0:
        raise ToolkitError(f"{path} has {len(vectors):,} vectors for {count:,} texts")
    ours = encoder.encode(some, side="positive")
    if ours.shape[1] != vectors.shape[1]:
        raise ToolkitError(
            f"{path} has vectors of {vectors.shape[1]} numbers, this encoder's have {ours.shape[1]}"
        )
    for row, vector in zip(rows, ours, strict=True):
        if not abs(float(vector @ vectors[row].astype(np.float32)) - 1) <= 1 - _SAME:
            raise ToolkitError(
                f"row {row + 1} of {path} is not what this encoder makes of text {row + 1} of "
                f"{texts.path}: it is of another encoder, text or side, or not of unit length"
            )
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


def _beside(target: Path) -> tuple[Path, Path, Path]:
    """The vectors that are not whole yet, what is noted about them, and the lock on both."""
    part, note, lock = (target.with_name(f".{target.name}.{kind}") for kind in _BESIDE)
    return part, note, lock


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Have no other process make the same vectors within, which would write into the same file.

    Raises:
        SurroundingsError: Another one does. ToolkitError: They are there by now.
    """
    lock = _beside(target)[2]
    with ExitStack() as held:
        try:
            held.enter_context(hold(lock))
        except BlockingIOError as error:
            raise SurroundingsError(
                f"{target} is being made by {holder(lock)}; wait for its end"
            ) from error
        check_target(target)
        yield
        lock.unlink(missing_ok=True)


def _resumed(note: Path, part: Path, fresh: _State, texts: TextFile, target: Path) -> _State | None:
    """What an earlier call left, where it is of use.

    Raises:
        ToolkitError: It is of another file, column or encoder than now.
    """
    try:
        state = _State(**json.loads(note.read_text(encoding="utf-8")))
        probe = np.array(state.probe, np.float32)
        end, there = state.end, part.stat().st_size
        with open(part, "rb") as file:
            header = file.read(len(fresh.header))
    except (OSError, ValueError, TypeError, IndexError):
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
    return state if header == fresh.header and there >= end and state.done else None


@contextmanager
def _opened(part: Path, state: _State) -> Iterator[BinaryIO]:
    """The file of vectors, at the end of those that are done; what is beyond is cut off.

    It is written to and not mapped: pages of a map would stay with the process, and a disk that is
    full would end it without a word.
    """
    with open(part, "r+b" if state.done else "wb") as file:
        file.write(state.header)
        file.seek(state.end)
        file.truncate()
        yield file


def _append(file: BinaryIO, vectors: np.ndarray) -> None:
    """Write vectors so that they are there even if power is lost."""
    file.write(np.ascontiguousarray(vectors, _KIND).data)
    file.flush()
    os.fsync(file.fileno())


def _windows(texts: TextFile, done: int, size: int) -> Iterator[tuple[int, list[str]]]:
    """Where each window starts, and its texts."""
    rest = islice(iter(texts), done, None)
    while some := list(islice(rest, size)):
        yield done, some
        done += len(some)


def _note(note: Path, state: _State) -> None:
    write_atomically(note, json.dumps(asdict(state)))


def _finish(
    part: Path, state: _State, texts: TextFile, target: Path, check: Callable[[], None]
) -> None:
    """Give vectors that are whole the target's name, as Parquet with their texts beside them.

    Args:
        check: Called when the texts have been read a last time; raises if they are others by now.
    """
    if target.suffix == ".npy":
        os.replace(part, target)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    size = state.shape[1]
    schema = pa.schema([("text", pa.string()), ("vector", pa.list_(pa.float32(), size))])
    building = target.with_name(f".{target.name}.tmp")
    try:
        writer = pq.ParquetWriter(building, schema, use_dictionary=False)
        with open(part, "rb") as vectors, writer:
            vectors.seek(len(state.header))
            for _, some in _windows(texts, 0, WINDOW):
                flat = pa.array(np.fromfile(vectors, _KIND, len(some) * size))
                column = pa.FixedSizeListArray.from_arrays(flat, size)
                writer.write_table(pa.table([pa.array(some, pa.string()), column], schema))
        check()
        os.replace(building, target)
    finally:
        building.unlink(missing_ok=True)
    part.unlink()


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SurroundingsError(f"{path} cannot be read: {reason}") from error
    return found.st_size, found.st_mtime_ns


def _changed(texts: TextFile, target: Path, done: int, count: int) -> ToolkitError:
    note = _beside(target)[1]
    return ToolkitError(
        f"{texts.path} changed while it was read ({done:,} of {count:,} texts are done); put the "
        f"old file back, or remove {note} to begin anew"
    )
