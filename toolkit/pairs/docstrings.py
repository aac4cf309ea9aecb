"""Real text pairs that need no download: documentation mined from installed packages.

A pair is a docstring's summary (the query) and the rest of the same definition: its signature,
the remaining documentation and the code (the positive). The packages are this project's own
dependencies, so everyone who has installed it has the same pairs.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.pairs.pair import Pair, normalise

# The core dependencies with documentation to speak of, and what those install themselves.
PACKAGES = (
    *("torch", "transformers", "peft", "accelerate", "huggingface_hub", "tokenizers"),
    *("numpy", "pandas", "scipy", "matplotlib", "seaborn", "pyarrow", "safetensors"),
    *("sympy", "networkx", "jinja2", "fsspec", "pillow", "fonttools", "mpmath", "psutil"),
)

# Of a mean query and positive, by where they are cut: in small and in large vocabularies' tokens
# (`toolkit.pairs.lengths`).
TOKENS = {
    16: ((14.2, 16.0), (13.1, 16.0)),
    32: ((19.5, 31.9), (17.1, 31.9)),
    75: ((24.0, 71.2), (20.7, 70.4)),
    128: ((25.7, 112.0), (21.9, 110.0)),
    256: ((26.5, 186.0), (22.6, 180.6)),
    512: ((26.5, 275.7), (22.6, 264.0)),
    1024: ((26.5, 355.7), (22.6, 334.8)),
}
LICENCE = "documentation of installed Python packages, each under its own licence"
_SKIPPED_FOLDERS = {"test", "tests", "testing", "_vendor", "vendor", "vendored", "__pycache__"}
_MIN_QUERY_WORDS = 4
_MIN_POSITIVE_WORDS = 12
_MAX_POSITIVE_CHARACTERS = 4000
_MINER_VERSION = 1


def mine(packages: Iterable[str] = PACKAGES, *, workers: int | None = None) -> list[Pair]:
    """Pairs from the installed ones among `packages`, deduplicated, in a stable order.

    No query and no positive text occurs twice; pairs whose answer merely repeats the query, or
    that hold too few words to mean anything, are left out.

    Raises:
        ToolkitError: None of the packages is installed.
    """
    files = [path for package in packages for path in _source_files(package)]
    if not files:
        raise ToolkitError("none of the packages to mine is installed; run `make setup`")
    with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
        mined = pool.map(_mine_file, files, chunksize=64)
        return list(_without_duplicates(pair for pairs in mined for pair in pairs))


@cache
def fingerprint(packages: tuple[str, ...] = PACKAGES) -> str:
    """A digest of what `mine` would read: the packages' versions and the miner's own."""
    versions = [f"{name}={_version(name)}" for name in packages]
    return hashlib.sha256(f"{_MINER_VERSION} {versions}".encode()).hexdigest()[:16]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _source_files(package: str) -> list[str]:
    try:
        found = distribution(package).files or []
    except PackageNotFoundError:
        return []
    return sorted(
        str(file.locate())
        for file in found
        if file.suffix == ".py" and not _SKIPPED_FOLDERS.intersection(file.parts)
    )


def _mine_file(path: str) -> list[Pair]:
    """The pairs of one source file; none where Python itself cannot read it."""
    try:
        source = Path(path).read_text(encoding="utf-8")
        tree = ast.parse(source)
    except (SyntaxError, ValueError, OSError, RecursionError):
        return []
    lines = source.splitlines()
    definitions = (pair_of(node, lines) for node in _definitions(tree))
    return [pair for pair in definitions if pair is not None]


def _definitions(tree: ast.Module) -> Iterator[ast.stmt]:
    """Top-level functions and classes, and methods; nested functions stay inside their parent."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    yield member


def pair_of(node: ast.stmt, lines: list[str]) -> Pair | None:
    """The pair of one definition, or None where it has no summary or the rest says nothing."""
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    docstring = ast.get_docstring(node, clean=False)
    if not docstring:
        return None
    summary, _, rest = inspect.cleandoc(docstring).partition("\n\n")
    query = " ".join(summary.split())
    first = node.body[0]
    signature = " ".join(" ".join(lines[node.lineno - 1 : first.lineno - 1]).split())
    # A class's methods are pairs of their own: their text must not stand in two places.
    code = [] if isinstance(node, ast.ClassDef) else lines[first.end_lineno : node.end_lineno]
    parts = (signature, inspect.cleandoc(rest), inspect.cleandoc("\n" + "\n".join(code)))
    positive = "\n".join(part for part in parts if part)[:_MAX_POSITIVE_CHARACTERS]
    return None if _is_trivial(query, positive) else Pair(query, positive)


def _is_trivial(query: str, positive: str) -> bool:
    words = re.findall(r"[A-Za-z]{2,}", query)
    if len(words) < _MIN_QUERY_WORDS or len(query) > 1000:
        return True
    if len(re.findall(r"[A-Za-z]{2,}", positive)) < _MIN_POSITIVE_WORDS:
        return True
    return normalise(query) in normalise(positive)


def _without_duplicates(pairs: Iterable[Pair]) -> Iterator[Pair]:
    seen: set[str] = set()
    for pair in pairs:
        keys = {normalise(pair.query), normalise(pair.positive)}
        if not keys & seen:
            seen |= keys
            yield pair
