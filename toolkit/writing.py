"""Whether a file can be written, asked before the work is done that it is for."""

from __future__ import annotations

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
