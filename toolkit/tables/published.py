"""Tables by name: the reference study, and those of published laws (docs/laws.md).

Those whose licence allows it lie in the package. The others are fetched from where their authors
put them, or taken from a file that a person has; either way their numbers must be those that the
published fits were made of.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cache import cache_folder
from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.place import REFERENCE
from toolkit.tables.files import read_file

if TYPE_CHECKING:
    import pandas as pd

_SHIPPED = Path(__file__).parent / "published"
_RAW = "https://raw.githubusercontent.com/"
_PATIENCE = 60  # Seconds without an answer after which a fetch is given up.


@dataclass(frozen=True)
class Published:
    """A table by name.

    Attributes:
        about: What it is, in a few words.
        source: Whose it is, and exactly where.
        licence: Under which it may be used; "none given" where its authors say nothing.
        rows: How many runs or optima.
        columns: Ours, in order, each with its name at the source.
        sha256: Of its numbers (`digest`), whatever the file around them looks like.
        url: Where the file itself can be fetched; none of a format that is not read.
        path: Where it lies in the package; None if it may not.
        try_it: Arguments of `python -m toolkit` that give what was published.
    """

    about: str
    source: str
    licence: str
    rows: int
    columns: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""
    url: str = ""
    path: Path | None = None
    try_it: str = ""


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


PUBLISHED: dict[str, Published] = {
    "reference": Published(
        "the reference study: four methods, six small decoders, budgets 3e10 to 3e12 FLOP",
        "this project, runs/reference",
        "MIT",
        299,
        path=REFERENCE,
        try_it="recipe reference --flop 1e13",
    ),
    "data-constrained": Published(
        "language models on repeated data (Muennighoff et al. 2023)",
        "PlanarG/active-sl, benchmark/dataset/data_constrained_scaling_law (arXiv 2604.22753)",
        "CC BY 4.0",
        182,
        _same("unique_tokens", "params", "tokens", "loss", "part", "flop"),
        "4c8269e017a76003625fdfcbce55633e7168854f2af450b49d49bdf607b6a6f7",
        path=_SHIPPED / "data-constrained.csv",
        try_it="fit data-constrained --form data-constrained",
    ),
    "farseer": Published(
        "language models over a grid of sizes and tokens (Farseer, Li et al. 2025)",
        "PlanarG/active-sl, benchmark/dataset/farseer_scaling_law (arXiv 2604.22753)",
        "CC BY 4.0",
        411,
        _same("params", "tokens", "loss", "part", "flop"),
        "653be50c858d48bde396cde445ad279ba2ff90da415e9ef76a1339e8e185e043",
        path=_SHIPPED / "farseer.csv",
        try_it="fit farseer --form parametric",
    ),
    "chinchilla": Published(
        "Chinchilla's runs as read off its figure 4 (Epoch AI 2024)",
        "epoch-research/analyzing-chinchilla at 9225883, data/svg_extracted_data.csv",
        "none given",
        245,
        {"params": "Model Size", "train_flop": "Training FLOP", "loss": "loss"},
        "b0ff73b2665a52d3a3be7a7551c774da075bcb8ccf98ad6db8c948466dc8d95c",
        url=f"{_RAW}epoch-research/analyzing-chinchilla/92258837425e1b5f2851d624287f0120583a3d0e"
        "/data/svg_extracted_data.csv",
        try_it="fit chinchilla --form parametric --flop train_flop --drop-highest-loss 5",
    ),
    "llama3": Published(
        "IsoFLOP points of Llama 3 as read off figure 2 of its report (Czech 2025)",
        "eric-czech/llama3_isoflop_extraction at 7ec1fb7, isoflops_points.csv",
        "none given",
        133,
        {"budget_flop": "compute_budget", "tokens": "training_tokens", "loss": "validation_loss"},
        "75b188786d614d1e88da5265eed56aab2a990f0a301112681354683a9953241c",
        url=f"{_RAW}eric-czech/llama3_isoflop_extraction/7ec1fb7ddfbf5fb6363879eb895ae872a4bb9952"
        "/isoflops_points.csv",
        try_it="fit llama3 --form isoflop --x tokens --at 3.8e25",
    ),
    "refinedweb": Published(
        "optimal sizes of five set-ups on RefinedWeb (Porian et al. 2024)",
        "formll/resolving-scaling-law-discrepancies at 859f146, data/summary_df.pickle.xz: a "
        "pickle, which is not read; save its seven columns as CSV",
        "none seen",
        59,
        _same(
            "config",
            "budget_flop",
            "params_opt",
            "tokens_opt",
            "loss_opt",
            "params_opt_std",
            "loss_opt_std",
        ),
        "5a7d0630975c58ed01e4e656cc9b3f2f8a86c05d40e45955d70a9f2d566182c0",
        try_it="fit refinedweb --form power --y params_opt --sigma params_opt_std --group config",
    ),
}


def table_path(source: str | Path) -> Path:
    """The path of a table: as it stands, or, where nothing is there, of the table of that name.

    Raises:
        ToolkitError: A published table is asked for by name and is neither in the package nor in
            the cache, or is not what it was.
    """
    path = Path(source)
    name = str(source)
    if name not in PUBLISHED or path.exists():
        return path
    return published_path(name)


def published_path(name: str) -> Path:
    """Where the published table of this name lies.

    Raises:
        ToolkitError: It is not here, or not what it was; says how to get it.
    """
    table = PUBLISHED[name]
    path = table.path or _kept(name)
    if not path.exists():
        raise ToolkitError(f"the table {name} is not here: {how_to_get(name)}")
    if path.is_file() and digest(_read(path, table)) != table.sha256:
        raise ToolkitError(
            f"{path} is not the table {name} that was published: its numbers differ; "
            + ("install the package anew" if table.path else how_to_get(name))
        )
    return path


def is_here(name: str) -> bool:
    """Whether the table can be read now."""
    return (PUBLISHED[name].path or _kept(name)).exists()


def how_to_get(name: str) -> str:
    """How a person gets a table that may not lie in the package."""
    table = PUBLISHED[name]
    fetch = f"python -m toolkit data {name} --fetch, or " if table.url else ""
    return (
        f"{fetch}python -m toolkit data {name} --file FILE with the file from {table.source} "
        f"(licence: {table.licence})"
    )


def keep(name: str, file: Path) -> Path:
    """Keep a person's copy of a published table in the cache, in our columns.

    Raises:
        ToolkitError: It cannot be read, or its numbers are not those that were published.
    """
    table = PUBLISHED[name]
    if table.path:
        raise ToolkitError(f"the table {name} is part of the package: {table.path}")
    if not file.is_file():
        raise SurroundingsError(f"there is no file {file}")
    frame = _read(file, table)
    if (found := digest(frame)) != table.sha256:
        raise ToolkitError(
            f"{file} is not the table {name} that was published: {len(frame):,} rows of "
            f"{table.rows:,}, digest {found[:12]} for {table.sha256[:12]}; not kept"
        )
    target = _kept(name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=target.parent, delete=False) as temporary:
            frame.to_csv(temporary, index=False)
        shutil.move(temporary.name, target)
    except OSError as error:
        raise SurroundingsError(f"cannot keep the table in {target.parent}: {error}") from error
    return target


def fetch(name: str) -> Path:
    """Fetch a published table from exactly where its authors put it, and keep it.

    Raises:
        ToolkitError: It cannot be reached, or gives other numbers than those published.
    """
    from urllib.request import urlopen

    table = PUBLISHED[name]
    if not table.url:
        raise ToolkitError(f"the table {name} cannot be fetched: {how_to_get(name)}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "table.csv")
        try:
            with urlopen(table.url, timeout=_PATIENCE) as answer, open(path, "wb") as file:
                shutil.copyfileobj(answer, file)
        except (OSError, ValueError) as error:
            raise SurroundingsError(
                f"cannot fetch the table {name} from {table.url}: {error}; with the file from "
                f"elsewhere: python -m toolkit data {name} --file FILE"
            ) from error
        return keep(name, path)


def digest(table: pd.DataFrame) -> str:
    """SHA-256 of a table's cells, numbers to twelve digits: whatever the file looks like."""
    lines = [",".join(map(str, table.columns))]
    for row in table.itertuples(index=False):
        lines.append(",".join(x if isinstance(x, str) else f"{float(x):.12g}" for x in row))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _kept(name: str) -> Path:
    return cache_folder() / "tables" / f"{name}.csv"


def _read(path: Path, table: Published) -> pd.DataFrame:
    """The published columns of a file, under our names whichever of the two it has.

    Raises:
        ToolkitError: It cannot be read or lacks one.
    """
    frame, _ = read_file(path)
    names = {ours: ours if ours in frame else theirs for ours, theirs in table.columns.items()}
    if missing := [name for name in names.values() if name not in frame]:
        raise ToolkitError(f"{path} has no column {missing[0]!r}, so it is not this table")
    return frame[list(names.values())].set_axis(list(names), axis=1)
