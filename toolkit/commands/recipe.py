"""`python -m toolkit recipe`: model size, data, method and hyperparameters for a budget."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from toolkit.flops import CONVENTIONS
from toolkit.tables import options

HELP = "the compute-optimal recipe for a budget, from a sweep's run table"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", help=options.TABLE)
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--flop", metavar="FLOP", help="the budget, 1e13 for example")
    budget.add_argument("--gpu-hours", metavar="HOURS", help="the budget as hours on --gpu")
    budget.add_argument("--loss", metavar="L", help="the cheapest budget that reaches this loss")
    parser.add_argument("--gpu", metavar="NAME", help="a100, h100, h200, l4 or rtx-4090")
    parser.add_argument(
        "--utilisation", metavar="SHARE", help="of the GPU's peak that becomes model FLOP"
    )
    parser.add_argument("--max-pairs", metavar="N", help="distinct training pairs that you have")
    parser.add_argument("--max-params", metavar="N", help="largest model you want to serve")
    parser.add_argument(
        "--queries",
        metavar="N",
        help="texts to be embedded over the encoder's life: the budget pays for these, too",
    )
    parser.add_argument(
        "--decoders",
        metavar="NAME,…",
        default="",
        help="decoders at hand besides the sweep's: names, folders, hub names, name@k",
    )
    parser.add_argument(
        "--convention", choices=CONVENTIONS, help="use the runs whose budgets are counted so"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from toolkit.laws import as_json
    from toolkit.recipe.cheapest import cheapest
    from toolkit.recipe.limits import Limits
    from toolkit.recipe.recommendation import recommend_from
    from toolkit.recipe.study import Study
    from toolkit.tables import read_table
    from toolkit.words import as_text, cheapest_in_words

    most = positive_number("--max-pairs", args.max_pairs)
    limits = Limits(
        max_pairs=None if most is None else int(most),
        max_params=positive_number("--max-params", args.max_params),
        queries=positive_number("--queries", args.queries),
        decoders=tuple(name for name in args.decoders.split(",") if name),
    )
    loss = positive_number("--loss", args.loss)
    budget, as_hours = (0.0, {}) if loss is not None else _budget(args)
    study = Study.of(read_table(args.sweep, **options.reading(args)), convention=args.convention)
    least = None if loss is None else cheapest(study, loss, limits)
    recipe = recommend_from(
        study, budget_flop=budget if least is None else least.value, **asdict(limits)
    )
    if args.json:
        about = as_hours | ({} if least is None else {"cheapest": as_json(least)})
        print(json.dumps(recipe.to_dict() | about, indent=1, allow_nan=False))
        return 0
    if least is not None and loss is not None:
        print(cheapest_in_words(loss, least) + "\n")
    print(as_text(recipe))
    if as_hours:
        print(
            "\nThe budget is {gpu_hours:g} hours of one {gpu} at {utilisation:.0%} of its peak, "
            "in model FLOP.".format(**as_hours)
        )
        if recipe.convention not in ("model", "unstated"):
            print(
                f"This table counts {recipe.convention} FLOP, which are not the same: "
                "take the hours as a rough guide."
            )
    return 0


def _budget(args: argparse.Namespace) -> tuple[float, dict[str, Any]]:
    """The budget in FLOP and, where it was given in hours, what it came from."""
    from toolkit import hardware
    from toolkit.errors import ToolkitError

    flop = positive_number("--flop", args.flop)
    hours = positive_number("--gpu-hours", args.gpu_hours)
    if flop is None and hours is None:
        raise ToolkitError(
            "say what there is to spend (--flop 1e13, or --gpu-hours 2 --gpu h100) or to reach "
            "(--loss 2.5)"
        )
    if hours is None:
        if args.gpu is not None or args.utilisation is not None:
            raise ToolkitError("--gpu and --utilisation belong to --gpu-hours")
        assert flop is not None
        return flop, {}
    if args.gpu is None:
        raise ToolkitError(f"hours of what? name it with --gpu: {', '.join(hardware.DEVICES)}")
    device = hardware.find(args.gpu)
    utilisation = positive_number("--utilisation", args.utilisation) or hardware.DEFAULT_UTILISATION
    about = {"gpu": device.name, "gpu_hours": hours, "utilisation": utilisation}
    return device.flop(hours, utilisation), about


def positive_number(name: str, text: str | None) -> float | None:
    """A positive number as people write them (3e12, 30k), or None where it was left out."""
    from toolkit.errors import ToolkitError
    from toolkit.text import read_number

    if text is None:
        return None
    try:
        return read_number(text)
    except ToolkitError:
        raise ToolkitError(f"{name} must be a positive number, not {text!r}") from None
