"""`python -m toolkit calibrate`: the recipe for a target, for a tenth of its budget."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.arguments import positive, resources, whole

if TYPE_CHECKING:
    from toolkit.calibrate.book import Asked
    from toolkit.calibrate.campaign import Standing

HELP = "choose, train and read a few cheap runs, and name the recipe for a budget"
METHODS = "full,lora"
DECODERS = "small-7k,small-15k,small-38k,small-85k,small-200k"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", help="a folder of its own; begun there, it goes on there")
    parser.add_argument("--flop", metavar="FLOP", help="the target's budget, 1e16 for example")
    parser.add_argument(
        "--spend", metavar="10%%", help="for all runs together: a share, or FLOP (default 10%%)"
    )
    parser.add_argument(
        "--decoders", metavar="NAME,…", help=f"to choose among (default {DECODERS})"
    )
    parser.add_argument(
        "--methods",
        metavar="NAME,…",
        help=f"to choose among, the likely one first (default {METHODS})",
    )
    parser.add_argument(
        "--pairs", metavar="DATA", help="docstrings (the default), manuals, a file, hub:owner/name"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="of every run's configuration: query_column=question; may be given again",
    )
    parser.add_argument(
        "--prior", metavar="TABLE", help="borrow the exponents of this study, with a stated width"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show the next round and what all may cost"
    )
    parser.add_argument("--retry-failed", action="store_true", help="try failed runs again")
    parser.add_argument(
        "--workers", type=whole, metavar="N", help="notebooks at a time (one a GPU or a core)"
    )
    parser.add_argument(
        "--timeout", type=positive, metavar="SECONDS", help="the longest that one cell may take"
    )
    parser.add_argument(
        "--cluster", metavar="WHERE", help="dask workers: local, or a scheduler's tcp://host:port"
    )
    parser.add_argument(
        "--resources", type=resources, metavar="GPU=1", help="what a run needs of a dask worker"
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from toolkit.calibrate import campaign, words
    from toolkit.laws import as_json

    folder = Path(args.study)
    book = campaign.begin(folder, _asked(args, folder))
    if args.dry_run:
        print(words.dry_run(campaign.stand(book)))
        return 0
    options: dict[str, Any] = {
        "workers": args.workers,
        "timeout": args.timeout,
        "cluster": args.cluster,
        "resources": args.resources,
        "retry_failed": args.retry_failed,
    }

    def tell(standing: Standing) -> None:
        print(words.round_in_words(standing), file=sys.stderr, flush=True)

    standing, stopped = campaign.calibrate(book, told=tell, options=options)
    if stopped:
        print(f"stopped; go on with: python -m toolkit calibrate {args.study}")
        return 130
    found = campaign.answer(standing)
    values = as_json(found)
    replace(standing.book, answer=values).write()
    if args.json:
        print(json.dumps(values, indent=1, allow_nan=False))
    else:
        print(words.answer_in_words(found, book.asked.prior))
    return 0


def _asked(args: argparse.Namespace, folder: Path) -> Asked | None:
    """What the options say; None where they leave all to a calibration that was begun."""
    from dataclasses import replace

    from toolkit.calibrate.book import BOOK, Asked, Book
    from toolkit.commands.recipe import positive_number
    from toolkit.errors import ToolkitError

    target = positive_number("--flop", args.flop)
    given = {
        "decoders": args.decoders and _names("--decoders", args.decoders),
        "methods": args.methods and _methods(args.methods),
        "prior": args.prior,
    }
    base = _base(args)
    if (folder / BOOK).exists():
        there = Book.open(folder, None).asked
        changes: dict[str, Any] = {k: v for k, v in given.items() if v}
        if target:
            changes["target"] = target
        if args.spend:
            changes["spend"] = _spend(args.spend, target or there.target)
        if base:
            changes["base"] = {**there.base, **base}
        return replace(there, **changes) if changes else None
    if target is None:
        raise ToolkitError("say what the calibration is for: --flop 1e16")
    return Asked(
        target,
        _spend(args.spend or "10%", target),
        given["decoders"] or tuple(DECODERS.split(",")),
        given["methods"] or tuple(METHODS.split(",")),
        base or {"data": "docstrings"},
        args.prior or "",
    )


def _spend(text: str, target: float) -> float:
    from toolkit.commands.recipe import positive_number

    if text.strip().endswith("%"):
        share = positive_number("--spend", text.strip()[:-1])
        assert share is not None
        return target * share / 100
    value = positive_number("--spend", text)
    assert value is not None
    return value


def _names(option: str, text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _methods(text: str) -> tuple[str, ...]:
    from toolkit.errors import ToolkitError, nearest
    from toolkit.methods import METHODS as KNOWN

    names = _names("--methods", text)
    for name in names:
        if name not in KNOWN:
            raise ToolkitError(f"unknown method {name!r}{nearest(name, list(KNOWN))}")
    return names


def _base(args: argparse.Namespace) -> dict[str, Any]:
    """Fields of every run, checked as a run's are when it is made."""
    import yaml

    from toolkit.errors import ToolkitError

    base: dict[str, Any] = {"data": args.pairs} if args.pairs else {}
    for text in args.set:
        name, equals, value = text.partition("=")
        if not equals or name in ("decoder", "method", "budget_flop", "lr"):
            raise ToolkitError(
                f"--set takes FIELD=VALUE of a run's configuration, not {text!r}; decoders, "
                "methods, budgets and rates are what a calibration chooses itself"
            )
        base[name] = yaml.safe_load(value)
    return base
