"""The task `see-also`: which functions do the authors of seven packages say belong together?

The documentation of NumPy, SciPy, pandas, scikit-learn, Matplotlib, NetworkX and SymPy has sections
"See Also" in which people name what a reader of one function may want to read next. A document is
the documentation of something public without that section; a query is the first sentence or two
(the summary) of one that has such a section; what is named there is relevant. The packages are
those installed, so no download is needed and the numbers hold for their versions.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from toolkit.cache import cache_folder
from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.pairs import apart, docstrings
from toolkit.pairs.apart import SEE_ALSO as NAME
from toolkit.pairs.pair import normalise
from toolkit.retrieval.collection import Collection, read_collection, write_collection

MODULES = {"scikit-learn": "sklearn"}  # Where a package is imported under another name.
_VERSION = 1
_SKIPPED = {"tests", "test", "testing", "conftest", "externals", "f2py", "galgebra", "pygletplot"}
_SHORT = {
    "np": "numpy",
    "pd": "pandas",
    "sp": "scipy",
    "plt": "matplotlib.pyplot",
    "nx": "networkx",
}
_HEADING = re.compile(r"^See Also[ \t]*\n[-=]{3,}[ \t]*\n", re.MULTILINE | re.IGNORECASE)
_SIGNATURE = re.compile(r"[\w.]+\([^)]*\)")
_LEAST_WORDS = 3
_NEXT = re.compile(r"^\S.*\n[-=]{3,}[ \t]*$", re.MULTILINE)
_ROLE = re.compile(r":[\w:]+:`")
_NAMED = re.compile(r"\s*`*~?\.?([A-Za-z_][\w.]*)(?:\(\))?`*\.?\s*")


def packages() -> tuple[str, ...]:
    """Those of the seven that are installed, by the names of their distributions."""
    return tuple(p for p in apart.PACKAGES if find_spec(MODULES.get(p, p)) is not None)


def fingerprint() -> str:
    """A digest that changes when the collection does: the packages' versions and how it is made."""
    identity = f"{_VERSION} {packages()} {docstrings.fingerprint(packages())}"
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


@cache
def collection() -> Collection:
    """The collection, mined once by a process of its own and then read from the cache.

    Raises:
        ToolkitError: None of the packages is installed, or they cannot be read.
        SurroundingsError: The cache cannot be written.
    """
    if not packages():
        raise ToolkitError(f"{NAME} needs some of the packages {', '.join(apart.PACKAGES)}")
    folder = cache_folder() / f"{NAME}-{fingerprint()}"
    if not (folder / "qrels" / "test.tsv").is_file():
        _mine_apart(folder)
    return replace(read_collection(folder, own=True), name=NAME)


def _mine_apart(folder: Path) -> None:
    """Mine in another process: all modules of seven packages are not to stay in this one."""
    code = "import sys; from toolkit.retrieval import see_also; see_also.write(sys.argv[1])"
    environment = {**os.environ, "MPLBACKEND": "agg", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", code, str(folder)]
    result = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment
    )
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no word said"])[-1]
        raise SurroundingsError(f"cannot make the task {NAME} in {folder}: {last}")


def write(folder: str) -> None:
    """Mine the installed packages into a folder, in one step."""
    building = Path(f"{folder}.{os.getpid()}.tmp")
    try:
        write_collection(mine(packages()), building)
        with contextlib.suppress(OSError):  # Another process may have been faster.
            building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def mine(names: Iterable[str]) -> Collection:
    """The collection of these packages, by importing what they have that is public."""
    known: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            for module in _public_modules(MODULES.get(name, name)):
                known |= _members(module)
        return collect(known)


def collect(known: dict[str, Any]) -> Collection:
    """The collection of things with documentation.

    Args:
        known: By full name (`numpy.linalg.norm`, `pandas.DataFrame.join`), whatever has `__doc__`.
    """
    # One text under several names is one document, called by the shortest of them.
    called: dict[str, str] = {}  # By raw documentation.
    texts: dict[str, str] = {}  # By name.
    named: dict[str, list[str]] = {}
    of_text: dict[str, str] = {}
    raw = {name: _raw(thing) for name, thing in known.items()}
    names = sorted(filter(raw.get, known), key=lambda name: (name.count("."), name))
    for name in names:
        if raw[name] not in called:
            text, section = parse(inspect.cleandoc(raw[name]))
            one = called[raw[name]] = of_text.setdefault(normalise(text), name) if text else ""
            texts.setdefault(one, text)
            named.setdefault(one, []).extend(section if text else ())
    resolve = _Resolver(known)
    edges: dict[str, dict[str, int]] = {}
    done = set()
    for name in names:  # Under another name, in another module, a thing's neighbours may be found.
        query = called[raw[name]]
        for each in named[query]:
            target = None if (query, each) in done else resolve(name, each)
            document = called.get(_raw(target))
            if target is not None:
                done.add((query, each))
            if document and document != query:
                edges.setdefault(query, {})[document] = 1
    edges = {query: found for query, found in edges.items() if _says(texts[query])}
    used = sorted({*edges, *(document for judged in edges.values() for document in judged)})
    return Collection(
        name=NAME,
        documents={name: texts[name] for name in used},
        queries={name: summary(texts[name]) for name in sorted(edges)},
        judgements={name: dict(sorted(edges[name].items())) for name in sorted(edges)},
        own=True,
    )


def summary(text: str) -> str:
    """The first paragraph of a documentation; where that is a signature, the next one."""
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n", 2)[:2]]
    signature = len(paragraphs) > 1 and _SIGNATURE.match(paragraphs[0])
    return paragraphs[1 if signature else 0]


def _says(text: str) -> bool:
    """Whether a documentation's summary is enough to ask by."""
    return len(summary(text).split()) >= _LEAST_WORDS


def parse(documentation: str) -> tuple[str, list[str]]:
    """A documentation without its section "See Also", and the names in that section."""
    found = _HEADING.search(documentation)
    if found is None:
        return documentation.strip(), []
    rest = documentation[found.end() :]
    following = _NEXT.search(rest)
    end = following.start() if following else len(rest)
    text = f"{documentation[: found.start()].rstrip()}\n\n{rest[end:].lstrip()}"
    return text.strip(), list(_names(rest[:end]))


def _names(section: str) -> Iterator[str]:
    """Names at the left of a section's lines: `a, b : what they do`; descriptions are indented."""
    for line in section.splitlines():
        if line and not line[0].isspace():
            names = re.split(r"\s:|:\s|:$", _ROLE.sub("`", line))[0]
            for part in names.split(","):
                if matched := _NAMED.fullmatch(part):
                    yield matched[1].rstrip(".")


class _Resolver:
    """What is meant by a name in a documentation: looked up from where it stands, outwards."""

    def __init__(self, known: dict[str, Any]) -> None:
        self._known = known
        self._ends: dict[str, set[int]] = {}
        self._by_id = {id(thing): thing for thing in known.values()}
        for full, thing in known.items():
            parts = full.split(".")
            for start in range(1, len(parts)):
                end = ".".join([parts[0], *parts[start:]])
                self._ends.setdefault(end, set()).add(id(thing))

    def __call__(self, where: str, name: str) -> Any:
        """The thing, or None where nothing or several have that name."""
        first, dot, rest = name.partition(".")
        name = f"{_SHORT[first]}.{rest}" if dot and first in _SHORT else name
        parts = where.split(".")
        for depth in range(len(parts) - 1, -1, -1):
            thing = self._at(".".join([*parts[:depth], name]))
            if thing is not None:
                return thing
        found = self._ends.get(f"{parts[0]}.{name}", set())
        return self._by_id[next(iter(found))] if len(found) == 1 else None

    def _at(self, full: str) -> Any:
        """A thing by its full name; a member of a class may be inherited."""
        if full in self._known:
            return self._known[full]
        owner, _, member = full.rpartition(".")
        if inspect.isclass(self._known.get(owner)):
            with contextlib.suppress(Exception):
                return inspect.getattr_static(self._known[owner], member)
        return None


def _raw(thing: Any) -> str:
    text = getattr(thing, "__doc__", None)
    return text if isinstance(text, str) else ""


def _public_modules(package: str) -> Iterator[Any]:
    """A package and the modules in it whose names have no underscore at the front."""
    root = importlib.import_module(package)
    yield root
    for found in pkgutil.walk_packages(root.__path__, f"{package}.", onerror=lambda name: None):
        parts = found.name.split(".")
        if not any(part.startswith("_") or part in _SKIPPED for part in parts):
            # A module may need what is not installed, and may say so in any way.
            with contextlib.suppress(Exception, SystemExit):
                yield importlib.import_module(found.name)


def _members(module: Any) -> dict[str, Any]:
    """The functions and classes that a module makes public, and those classes' own members."""
    package = module.__name__.partition(".")[0]
    names = getattr(module, "__all__", None) or dir(module)
    members = {}
    for name in names:
        thing = None if name.startswith("_") else getattr(module, name, None)
        if thing is None or not callable(thing) or not _is_of(thing, package):
            continue
        full = f"{module.__name__}.{name}"
        members[full] = thing
        if inspect.isclass(thing):
            members |= {
                f"{full}.{each}": member
                for each, member in vars(thing).items()
                if not each.startswith("_")
            }
    return members


def _is_of(thing: Any, package: str) -> bool:
    """Whether a thing is defined in a package, as far as it tells."""
    where = getattr(thing, "__module__", None) or type(thing).__module__ or ""
    return where.partition(".")[0] == package
