"""`python -m toolkit report`: figures, tables and the recipe of a sweep, as notebook and HTML."""

import argparse

from toolkit.tables import options

HELP = "write a sweep's report: notebook, HTML, figures, recipe.json and fits.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", help=options.TABLE)
    parser.add_argument("--flop", metavar="FLOP", help="answer for this budget as well")
    options.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from toolkit.commands.recipe import positive_number
    from toolkit.report import FIGURES, FITS, HTML, RECIPES, build, output_folder, recipes
    from toolkit.words import as_text

    budget = positive_number("--flop", args.flop)
    study = build(args.sweep, budget, options.reading(args))
    print(as_text(recipes(study, budget)[0]))
    folder = output_folder(args.sweep)
    written = [str(folder / name) for name in (HTML, RECIPES, FITS, f"{FIGURES}/")]
    print(f"\nWritten: {', '.join(written)}")
    return 0
