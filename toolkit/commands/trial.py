"""`python -m toolkit trial`: a recipe beside runs at its budget that its law has not seen."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from toolkit.tables import options

HELP = "put a sweep's recipe to the test on runs at a budget that the sweep does not have"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", help=f"whose law is tested: {options.TABLE}")
    parser.add_argument("test", help="the runs that test it: likewise")
    parser.add_argument("--flop", metavar="FLOP", help="the budget, if the test has several")
    parser.add_argument("--figure", metavar="FILE", help="draw predicted against measured: a PNG")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from toolkit.commands.recipe import positive_number
    from toolkit.recipe.study import Study
    from toolkit.recipe.trial import as_text, put_to_test
    from toolkit.tables import read_table
    from toolkit.writing import check_file

    if args.figure:
        check_file(Path(args.figure))
    budget = positive_number("--flop", args.flop)
    reading = options.reading(args)
    # Both are read before a law is fitted to the first: a wrong path costs nothing.
    table, test = (read_table(place, **reading) for place in (args.sweep, args.test))
    trial = put_to_test(Study.of(table), test, budget)
    if args.figure:
        from toolkit import figures

        figures.write(lambda: figures.predicted_and_measured(trial), args.figure)
    if args.json:
        print(json.dumps(trial.to_dict(), indent=1, allow_nan=False))
    else:
        print(as_text(trial))
    return 0
