"""`python -m toolkit fit`: a scaling law, fitted to any table."""

from __future__ import annotations

import argparse
import json
import math
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import ToolkitError
from toolkit.tables import options as table_options
from toolkit.text import read_signed

if TYPE_CHECKING:
    import pandas as pd

    from toolkit.laws.suspects import Suspects
    from toolkit.laws.tabular import Columns, Options, TableFit
    from toolkit.recipe.comparable import Excluded

HELP = "fit a scaling law to a sweep or to any table"
COLUMNS = {
    "x": "input of a law of one input, or the size that isoflop parabolas are in",
    "y": "what the law predicts; another name for --loss",
    "sigma": "standard deviation of the loss (lsq) or of its log (lsq-log, huber-log)",
    "params": "model size (default params)",
    "tokens": "training tokens (default tokens; from FLOP / (6 params) where only --flop is given)",
    "flop": "training FLOP (default budget_flop)",
    "loss": "default loss",
    "unique-tokens": "distinct training tokens (default unique_tokens)",
    "candidates": "how many candidates the loss was taken over (default candidates), or the number",
}
ROLES = {"flop": "budget_flop"}  # Where a flag and the run table have two names for one thing.


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "table",
        metavar="TABLE",
        help="a table (CSV, JSONL, Parquet and others), of which every row counts, or a sweep's "
        "folder, of which the best settings at each size and budget count, as in the recipe",
    )
    parser.add_argument(
        "--form",
        required=True,
        metavar="FORM",
        help="the law: isoflop, parametric or another of docs/laws.md by its name, or an "
        "expression in the table's columns and named parameters, "
        "'E + A*params**-alpha + B*tokens**-beta'",
    )
    for name, words in COLUMNS.items():
        parser.add_argument(f"--{name}", metavar="COL", help=words)
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="COL=LOW:HIGH",
        help="only rows with LOW <= COL <= HIGH; may be given again",
    )
    parser.add_argument(
        "--drop-highest-loss",
        metavar="K",
        default="0",
        help="leave out the K rows with the highest loss",
    )
    parser.add_argument(
        "--drop-outliers",
        action="store_true",
        help="leave out the runs that lie far above those around them (without it they are named)",
    )
    parser.add_argument(
        "--objective",
        metavar="NAME",
        help="lsq, lsq-log, huber-log, or asymmetric- before one of them: a law above a run then "
        "costs ten times what it costs below one, as undertuned runs lie above what is possible",
    )
    parser.add_argument("--group", metavar="COL", help="one law for each value of COL, compared")
    parser.add_argument(
        "--bootstrap", metavar="N", default="1000", help="resamples (default %(default)s)"
    )
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--starts", metavar="N", default="200", help="default %(default)s")
    begin.add_argument(
        "--start",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a single start instead; may be given again",
    )
    parser.add_argument(
        "--pin",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="hold a parameter, E=0 for example (an amplitude: with its exponent); may be given "
        "again",
    )
    parser.add_argument("--tie", action="store_true", help="one exponent for params and tokens")
    parser.add_argument(
        "--held-out",
        action="store_true",
        help="also say how well each form predicts budgets that it was not fitted to",
    )
    parser.add_argument(
        "--at",
        action="append",
        default=[],
        metavar="FLOP|COL=VALUE,...",
        help="what the law says of a budget (or of a single input), or at a point of its columns, "
        "params=7e9,tokens=4e12; may be given again",
    )
    parser.add_argument(
        "--figures", metavar="FOLDER", type=Path, help="write figures of the fit into FOLDER"
    )
    parser.add_argument("--seed", metavar="N", default="0", help="of starts and resamples")
    parser.add_argument("--json", action="store_true", help="print JSON, at full precision")
    table_options.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from toolkit.laws.words import as_text
    from toolkit.tables import notes
    from toolkit.tables.published import table_path
    from toolkit.words import n_runs
    from toolkit.writing import check_folder

    if args.figures is not None:
        check_folder(args.figures)
    table, asked = _read(args)
    left_out: tuple[Excluded, ...] = ()
    if table_path(args.table).is_dir():
        table, left_out = _counting(table, asked)
    said = notes(table)
    make = _alone if args.group is None else _grouped
    report = make(table, asked)
    if left_out:
        report["left_out"] = [asdict(some) for some in left_out]
    if said:
        report["notes"] = said
    if args.json:
        print(json.dumps(report, indent=1, allow_nan=False))
        return 0
    for sentence in said:
        print(f"note: {sentence}")
    for some in left_out:
        print(f"{n_runs(some.count)} left out: {some.reason}")
    if args.group is None:
        print(as_text(report))
        return 0
    for label, part in report["groups"].items():
        print(f"{args.group} {label}\n{as_text(part)}\n")
    for label, reason in report["failed"].items():
        print(f"{args.group} {label}\n  no law: {reason}\n")
    joint = report["joint"]
    for verdict in (*report["crossovers"], *report["better_at"], *([joint] if joint else [])):
        print(verdict["statement"])
    return 0


def _read(args: argparse.Namespace) -> tuple[pd.DataFrame, _Asked]:
    """The table, and what was asked of it in the names that its columns have now."""
    from toolkit.laws.tabular import Columns
    from toolkit.tables import named, read_table, with_shared_budgets

    options = _options(args)
    given = {name.replace("-", "_"): vars(args)[name.replace("-", "_")] for name in COLUMNS}
    given = {role: name for role, name in given.items() if name is not None}
    chosen = {role: name for role, name in given.items() if role != "candidates"}
    table = read_table(
        args.table,
        roles={ROLES.get(role, role): name for role, name in chosen.items()},
        # An expression calls columns by the file's names; --candidates may be a number.
        kept=[*re.findall(r"\w+", args.form), given.get("candidates", "")],
        **table_options.reading(args),
    )
    columns = Columns(**given | {role: named(table, name) for role, name in chosen.items()})
    if args.group is not None:
        args.group = named(table, args.group)
    keep = [(named(table, name), low, high) for name, low, high in options.keep]
    if args.form == "isoflop":
        x, flop = columns.x or columns.params, columns.flop or "budget_flop"
        table = with_shared_budgets(table, flop, x or "params")
    return table, _Asked(args, columns, replace(options, keep=keep))


def _counting(table: pd.DataFrame, asked: _Asked) -> tuple[pd.DataFrame, tuple[Excluded, ...]]:
    """Of a sweep's runs those that the recipe's laws stand on, and the others."""
    import pandas as pd

    from toolkit.laws import FORMS
    from toolkit.recipe.comparable import LIMITED, Comparable
    from toolkit.recipe.repeats import with_unique_tokens

    form = asked.args.form
    found = Comparable.of(table, keep=asked.options.keep, apart=asked.args.group)
    left_out = (*found.excluded, found.poorer) if found.poorer.count else found.excluded
    if form not in FORMS or "unique_tokens" not in FORMS[form].roles:
        return found.best, left_out
    # Repeats are what this form is about.
    left_out = tuple(some for some in left_out if some.reason != LIMITED)
    return with_unique_tokens(pd.concat([found.best, found.limited])), left_out


@dataclass(frozen=True)
class _Asked:
    """What a command line asks of a table: its words, and what they mean to a law."""

    args: argparse.Namespace
    columns: Columns
    options: Options


@dataclass(frozen=True, eq=False)
class _Fitted:
    """A law, the table that it was asked of, and the rows of it that lie too high."""

    fitted: TableFit
    table: pd.DataFrame
    suspects: Suspects


def _alone(table: pd.DataFrame, asked: _Asked) -> dict[str, Any]:
    """The whole table as one."""
    report = _described(_fit(table, asked), asked, asked.args.figures)
    methods = table["method"].nunique() if "method" in table.columns else 1
    if methods > 1:
        report["warnings"].insert(
            0, f"{methods} methods are fitted as one: --group method gives each a law of its own"
        )
    return report


def _grouped(table: pd.DataFrame, asked: _Asked) -> dict[str, Any]:
    """A law for each group, and the groups compared; a group without a law says why."""
    from toolkit.laws.report import compare
    from toolkit.laws.tabular import groups

    group, figures = asked.args.group, asked.args.figures
    found, failures = {}, {}
    for label, rows in groups(table, group).items():
        try:
            found[label] = _fit(rows, asked)
        except ToolkitError as error:
            failures[label] = str(error)
    if not found:
        raise ToolkitError("; ".join(f"{group} {label}: {why}" for label, why in failures.items()))
    reports = {}
    for label, one in found.items():
        folder = figures and figures / (re.sub(r"[^\w.+-]", "_", label).strip(".") or "_")
        reports[label] = _described(one, asked, folder)
    fits = {label: one.fitted for label, one in found.items()}
    budgets = [at for at in _points(asked.args) if isinstance(at, float)]
    return {
        "form": asked.args.form,
        "group": group,
        "groups": reports,
        "failed": failures,
        **compare(fits, budgets),
    }


def _fit(table: pd.DataFrame, asked: _Asked) -> _Fitted:
    """A law of a table, with its outliers or without."""
    from toolkit.laws.suspects import of_a_law
    from toolkit.laws.tabular import fit_table

    found = of_a_law(table, asked.args.form, asked.columns, asked.options)
    if asked.args.drop_outliers:
        table = found.left(table)
    fitted = fit_table(table, asked.args.form, asked.columns, asked.options)
    return _Fitted(fitted, table, found)


def _outliers(one: _Fitted, asked: _Asked) -> tuple[dict[str, Any], str]:
    """The outliers as JSON, and the sentence about them."""
    from toolkit.laws.suspects import effect

    found = one.suspects
    rows = [
        {name: getattr(each, name) for name in ("run", "loss", "allowed", "reason")}
        for each in found.found
    ]
    if asked.args.drop_outliers:
        return {"runs": rows, "left_out": True}, f"{found.statement}: left out"
    params, sentence = effect(one.table, found, asked.args.form, asked.columns, asked.options)
    body = {"runs": rows, "left_out": False, "params_without": params}
    return body, f"{found.statement}; {sentence} (--drop-outliers)"


def _described(one: _Fitted, asked: _Asked, folder: Path | None) -> dict[str, Any]:
    """One fit as JSON, with the predictions that were asked for; its figures go into a folder."""
    from toolkit.laws import as_json
    from toolkit.laws.report import describe, predictions, rollout

    fitted, args = one.fitted, asked.args
    report = describe(fitted)
    if one.suspects.found:
        body, sentence = _outliers(one, asked)
        report["outliers"] = as_json(body)
        report["warnings"].insert(0, sentence)
    if args.at:
        report["at"] = predictions(fitted, _points(args))
    rolled = rollout(one.table, asked.columns, asked.options) if args.held_out else None
    if rolled:
        report["held_out"] = as_json(rolled)
    if folder:
        from toolkit.figures.laws import save

        paths = save(fitted.fit, folder, columns=fitted.columns, rollout=rolled)
        report["figures"] = [str(path) for path in paths]
    return report


def _options(args: argparse.Namespace) -> Options:
    from toolkit.laws.tabular import Options

    return Options(
        objective=args.objective,
        resamples=_whole("--bootstrap", args.bootstrap),
        starts=_whole("--starts", args.starts),
        start=dict(_assignment("--start", text) for text in args.start),
        pinned=dict(_assignment("--pin", text) for text in args.pin),
        tie=args.tie,
        keep=[_range(text) for text in args.keep],
        drop_highest_loss=_whole("--drop-highest-loss", args.drop_highest_loss),
        seed=_whole("--seed", args.seed),
    )


def _points(args: argparse.Namespace) -> list[float | dict[str, float]]:
    """Budgets, and points by column."""
    points: list[float | dict[str, float]] = []
    for text in args.at:
        named = [_assignment("--at", part) for part in text.split(",")] if "=" in text else []
        values = [value for _, value in named] or [_number("--at", text)]
        if not all(value > 0 and math.isfinite(value) for value in values):
            raise ToolkitError(f"--at takes positive numbers, not {text!r}")
        if len(dict(named)) < len(named):
            raise ToolkitError(f"--at {text!r} names a column twice")
        points.append(dict(named) or values[0])
    return points


def _whole(flag: str, text: str) -> int:
    value = read_signed(text)
    if math.isfinite(value) and value >= 0 and value.is_integer():
        return int(value)
    raise ToolkitError(f"{flag} takes a whole number of zero or more, not {text!r}")


def _number(flag: str, text: str) -> float:
    value = read_signed(text)
    if math.isnan(value):
        raise ToolkitError(f"{flag}: {text!r} is not a number")
    return value


def _assignment(flag: str, text: str) -> tuple[str, float]:
    """NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ToolkitError(f"{flag} takes NAME=VALUE, not {text!r}")
    return name, _number(flag, value)


def _range(text: str) -> tuple[str, float, float]:
    """COL=LOW:HIGH; an end left out is open."""
    column, equals, ends = text.rpartition("=")
    low, colon, high = ends.partition(":")
    if not (column and equals and colon):
        raise ToolkitError(f"--keep takes COL=LOW:HIGH, not {text!r}")
    bounds = (
        _number("--keep", low) if low else -math.inf,
        _number("--keep", high) if high else math.inf,
    )
    if bounds[0] > bounds[1]:
        raise ToolkitError(f"--keep {text}: the low end is above the high end")
    return column, *bounds
