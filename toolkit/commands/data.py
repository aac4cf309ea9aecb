"""`python -m toolkit data`: run tables by name, with source and licence."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.text import table

HELP = "run tables by name, ours and published ones: list, tell, fetch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="of one table, to be told about or to get")
    get = parser.add_mutually_exclusive_group()
    get.add_argument("--fetch", action="store_true", help="get it from exactly where it came from")
    get.add_argument("--file", metavar="FILE", help="get it from a file that you have of it")


def run(args: argparse.Namespace) -> int:
    from toolkit.errors import ToolkitError, nearest
    from toolkit.tables.published import PUBLISHED, fetch, keep

    if args.name is None:
        if args.fetch or args.file:
            raise ToolkitError(f"which table? name one: {', '.join(PUBLISHED)}")
        print(_listed())
        return 0
    if args.name not in PUBLISHED:
        raise ToolkitError(f"unknown table {args.name!r}{nearest(args.name, list(PUBLISHED))}")
    if args.fetch or args.file:
        path = fetch(args.name) if args.fetch else keep(args.name, Path(args.file))
        print(f"Kept: {path}")
        return 0
    print(_told(args.name))
    return 0


def _listed() -> str:
    from toolkit.tables.published import PUBLISHED, is_here

    rows = [
        [name, each.about, "here" if is_here(name) else "to be got", each.licence, f"{each.rows}"]
        for name, each in PUBLISHED.items()
    ]
    head = ["name", "what", "", "licence", "rows"]
    return (
        f"{table(head, rows)}\n\nA name stands wherever a table does: "
        "python -m toolkit recipe reference --flop 1e13"
    )


def _told(name: str) -> str:
    from toolkit.tables.published import PUBLISHED, how_to_get, is_here, published_path

    each = PUBLISHED[name]
    where = str(published_path(name)) if is_here(name) else f"not here: {how_to_get(name)}"
    columns = f"\n  columns  {', '.join(each.columns)}" if each.columns else ""
    return (
        f"{name}: {each.about}\n  rows     {each.rows}{columns}\n  source   {each.source}\n"
        f"  licence  {each.licence}\n  where    {where}\n  try      python -m toolkit {each.try_it}"
    )
