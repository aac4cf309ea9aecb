"""`python -m toolkit explorer`: the explorer as one HTML page that needs no kernel."""

import argparse

from toolkit.tables import options

HELP = "write the explorer as one HTML page without a kernel, to share"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sweep",
        nargs="?",
        help="a sweep's folder or a run table (default: the first under runs/, else an example)",
    )
    parser.add_argument("--output", default="explorer.html", help="the file to write")
    options.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from toolkit.explorer.app import offered
    from toolkit.explorer.page import write_page
    from toolkit.recipe.study import Study
    from toolkit.tables import read_table
    from toolkit.writing import check_file

    target = Path(args.output)
    check_file(target)
    reading = options.reading(args)
    if args.sweep is None:
        name, source = next(iter(offered().items()))
        table = source()
    else:
        table = read_table(args.sweep, **reading)
        name = Path(args.sweep).resolve().name
    write_page(Study.of(table), target, f"The compute-optimal recipe: {name}")
    print(f"Written: {target}")
    return 0
