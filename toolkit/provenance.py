"""What a run was made with: the revision of the code, and the versions of the libraries."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "numpy")


@cache
def libraries() -> str:
    """The versions that a loss may depend on, as in "python 3.12.1, torch 2.11.0, …"."""
    found = [f"python {platform.python_version()}"]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


@cache
def revision() -> str:
    """The commit of this code, with a + where it was changed since; outside a repository a digest
    of the code itself."""
    package = Path(__file__).resolve().parent
    if (package.parent / ".git").exists():
        commit = _git(package, "rev-parse", "--short=12", "HEAD")
        if commit:
            return commit + "+" * bool(_git(package, "status", "--porcelain", "--", "."))
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return f"code-{digest.hexdigest()[:12]}"


def _git(folder: Path, *arguments: str) -> str:
    """What git answers; empty where it is not there or does not know."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
