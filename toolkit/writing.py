"""Files: whether one can be written, asked before the work; written whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from toolkit.errors import SurroundingsError


def check_folder(folder: Path) -> None:
    """Make sure that files can be written in a folder, which may have to be made first.

    A file is written and removed, in the folder or in the nearest one above it that is there: what
    permissions, quotas and kinds of disk come to is not known otherwise.

    Raises:
        SurroundingsError: They cannot; says why.
    """
    place = folder.absolute()
    try:
        if "\0" in str(place):
            raise ValueError("a path holds no NUL")
        while not place.exists():
            place = place.parent
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"0" * 4096)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SurroundingsError(f"cannot write in {folder}: {reason}") from error


def check_file(path: Path) -> None:
    """Make sure that a file can be written, in a folder that is there.

    Raises:
        SurroundingsError: It cannot; says why.
    """
    try:
        path.lstat()  # A name too long, or that no file can have, is known only by asking.
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise SurroundingsError(f"cannot write {path}: {error}") from error
    if path.is_dir():
        raise SurroundingsError(f"{path} is a folder; name a file")
    if path.exists() and not path.is_file():  # It would be replaced: a device, a pipe.
        raise SurroundingsError(f"{path} is no plain file; name another one")
    if not path.absolute().parent.is_dir():
        raise SurroundingsError(f"there is no folder {path.absolute().parent} to write into")
    check_folder(path.absolute().parent)


def write_atomically(path: Path, text: str) -> None:
    """Write `text` so that `path` is either as before or complete, even if power is lost."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Have a folder's new names survive a loss of power, where its file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
