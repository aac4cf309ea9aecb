"""Laws fitted to a table: which column is what, which rows count, all rows or one group's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError, nearest
from toolkit.laws import chance
from toolkit.laws.fitting import STARTS, Fit, fit
from toolkit.laws.forms import FORMS, Form
from toolkit.laws.forms.bounded import CEILING
from toolkit.laws.forms.custom import Expression
from toolkit.laws.isoflop import IsoFlopFit, fit_isoflop
from toolkit.laws.objective import Objective
from toolkit.laws.optimiser import Array
from toolkit.laws.table import Checked, Dropped, check

ISOFLOP = "isoflop"
NAMES = (ISOFLOP, *(name for name in FORMS if name != "parabola"))
REPEATING = {"parametric": "data-constrained", "bounded": "bounded-repeats"}
SHARED = {"params", "tokens", "unique_tokens"}  # Inputs that the forms of size and data share.
FLOP_PER_PARAM_TOKEN = 6.0
REPEATED = 1.01  # Times seen from which data counts as repeated.


@dataclass(frozen=True)
class Columns:
    """Column names; None for the usual one (see `resolve`).

    Attributes:
        x, y: Input and loss of a law of one input; `y` is another name for `loss`.
        sigma: Standard deviations: of the loss with objective lsq, of its log otherwise.
        params, tokens, flop, loss, unique_tokens: As in the run table.
        candidates: Over how many the loss of a bounded law was taken; a number serves too.
    """

    x: str | None = None
    y: str | None = None
    sigma: str | None = None
    params: str | None = None
    tokens: str | None = None
    flop: str | None = None
    loss: str | None = None
    unique_tokens: str | None = None
    candidates: str | None = None


@dataclass(frozen=True)
class Options:
    """How to fit.

    Attributes:
        objective: None for the form's own.
        resamples: Of the bootstrap.
        starts, start: So many random starts or, instead, one by published parameters.
        pinned, tie: Parameters held, and one exponent for both inputs.
        keep: (column, low, high): rows outside are left out.
        drop_highest_loss: So many rows with the highest loss are left out.
        scheme: Of the bootstrap; None for the default.
        seed: Of starts and resamples.
    """

    objective: str | None = None
    resamples: int = 1000
    starts: int = STARTS
    start: Mapping[str, float] = field(default_factory=dict)
    pinned: Mapping[str, float] = field(default_factory=dict)
    tie: bool = False
    keep: Sequence[tuple[str, float, float]] = ()
    drop_highest_loss: int = 0
    scheme: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class TableFit:
    """A law and the rows that it stands on.

    Attributes:
        fit: The law.
        columns: Which column served as what.
        convention: How FLOP are counted, where the table says so (`flop_convention`).
        dropped: Rows left out, and why.
        warnings: Those of the table and of the fit.
    """

    fit: Fit | IsoFlopFit
    columns: dict[str, str]
    convention: str
    dropped: tuple[Dropped, ...]
    warnings: tuple[str, ...]


def resolve(form: str, columns: Columns, present: Sequence[str]) -> dict[str, str]:
    """Column name by role, for a registered form or isoflop and the columns that a table has.

    Where no name is given: `params`, `tokens`, `unique_tokens` and `loss`, `budget_flop` for the
    budget, and the budget or `tokens` for a law of one input (`Form.usual`); a form of other
    inputs has the columns of their names. IsoFLOP parabolas are in params, or in tokens where only
    those are named or present.
    """
    loss = columns.y or columns.loss or "loss"
    flop = columns.flop or "budget_flop"
    if form == ISOFLOP:
        params, tokens = columns.params or "params", columns.tokens or "tokens"
        only_tokens = columns.tokens is not None and columns.params is None
        x = columns.x or (tokens if only_tokens or params not in present else params)
        if x not in (params, tokens):
            params = x
        return {"x": x, "params": params, "tokens": tokens, "budget": flop, "loss": loss}
    needs = FORMS[form].roles
    if needs == ("x",):
        usual = {"flop": flop, "tokens": columns.tokens or "tokens"}[FORMS[form].usual]
        return {"x": columns.x or usual, "loss": loss}
    if not set(needs) <= SHARED:
        given = {"params": columns.params, "tokens": columns.tokens}
        return {role: given.get(role) or role for role in needs} | {"loss": loss}
    roles = {"params": columns.params or "params", "loss": loss}
    tokens_given = columns.tokens or ("tokens" if columns.flop is None else None)
    if tokens_given and (columns.tokens or tokens_given in present or flop not in present):
        roles["tokens"] = tokens_given
    else:
        roles["flop"] = flop
    if "unique_tokens" in needs:
        roles["unique_tokens"] = columns.unique_tokens or "unique_tokens"
    return roles


def fit_table(
    table: pd.DataFrame, form: str, columns: Columns | None = None, options: Options | None = None
) -> TableFit:
    """Fit one form to all rows of a table that count.

    Args:
        table: One row a run.
        form: "isoflop", a registered form, or an expression in the table's columns
            (`toolkit.laws.forms.custom`).
        columns, options: Which column is what, and how to fit.

    Example:
        >>> law = d2e.fit(d2e.read_runs("data-constrained"), "parametric").fit
        >>> round(law.params["alpha"].value, 2), law.status
        (0.23, 'ok')

    Raises:
        ToolkitError: The form is unknown, a column is missing or wrong, the rows are too few.
    """
    columns, options = columns or Columns(), options or Options()
    names = [str(c) for c in table.columns]
    if form == ISOFLOP:
        return _isoflop(table, resolve(form, columns, names), columns, options)
    expression = None
    if form in NAMES:
        roles = resolve(form, columns, names)
    elif re.fullmatch(r"[\w-]*", form):
        raise ToolkitError(f"unknown form {form!r}{nearest(form, NAMES)}")
    else:
        given = {"params": columns.params, "tokens": columns.tokens, "x": columns.x}
        known = {**{n: n for n in names}, **{role: n for role, n in given.items() if n}}
        loss = columns.y or columns.loss or "loss"
        expression = Expression.read(form, list(known), loss)
        roles = {**{role: known[role] for role in expression.inputs}, "loss": loss}
    extra = {"sigma": columns.sigma} if columns.sigma else {}
    bounded = expression is None and CEILING in FORMS[form].names
    pinned, told = dict(options.pinned), None
    if bounded and CEILING not in pinned:
        told = chance.candidates(table, columns.candidates)
        extra |= {chance.USUAL: told} if isinstance(told, str) else {}
    checked = _check(table, {**roles, **extra}, options)
    if told is not None:
        pinned[CEILING] = chance.ceiling(checked, told)
    if bounded:
        checked = chance.below(table, checked, pinned[CEILING])
    data = checked.columns
    warnings = list(checked.warnings)
    if "flop" in roles:
        data["tokens"] = data["flop"] / (FLOP_PER_PARAM_TOKEN * data["params"])
        warnings.append(f"tokens taken as {roles['flop']} / (6 {roles['params']})")
    inputs = np.stack(
        [data[role] for role in (expression.inputs if expression else FORMS[form].roles)]
    )
    law = expression.form(inputs, data["loss"]) if expression else FORMS[form]
    warnings += _repeats(table, law, checked)
    fitted = fit(
        law,
        inputs,
        data["loss"],
        sigma=data.get("sigma"),
        objective=options.objective,
        starts=options.starts,
        start=options.start,
        pinned=pinned,
        tie=options.tie,
        resamples=options.resamples,
        strata=_strata(table, columns, checked),
        scheme=options.scheme,
        seed=options.seed,
        names=[roles.get(role, role) for role in law.roles],
    )
    convention, mixed = _convention(table, checked)
    return TableFit(
        fitted,
        {**roles, **extra},
        convention,
        checked.dropped,
        (*warnings, *mixed, *fitted.warnings),
    )


def _repeats(table: pd.DataFrame, law: Form, checked: Checked) -> list[str]:
    """What to know of data that is seen again."""
    seen, unique = checked.columns.get("tokens"), checked.columns.get("unique_tokens")
    if unique is None and law.name in REPEATING:
        for some, distinct in (("tokens", "unique_tokens"), ("pairs", "unique_pairs")):
            if {some, distinct} <= set(map(str, table.columns)):
                rows = table.iloc[checked.rows]
                seen, unique = (
                    pd.to_numeric(rows[name], errors="coerce").to_numpy(float)
                    for name in (some, distinct)
                )
                break
    if seen is None or unique is None:
        return []
    count = int((seen > REPEATED * unique).sum())
    if law.name in REPEATING and count:
        return [
            f"{count} of {len(seen)} runs see data again, which {law.name} takes for fresh: "
            f"{REPEATING[law.name]} does not"
        ]
    if "R_D" in law.names and not count:
        return [f"no run sees data again: R_D cannot be told, and {law.name} wants it"]
    return []


def groups(table: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    """The rows of every value of a column, in the order of first appearance.

    Raises:
        ToolkitError: There is no such column, or it is empty.
    """
    if column not in table.columns:
        names = [str(c) for c in table.columns]
        raise ToolkitError(f"the table has no column {column!r}{nearest(column, names)}")
    found = {str(label): rows for label, rows in table.groupby(column, sort=False)}
    if not found:
        raise ToolkitError(f"column {column!r} is empty: no groups to fit")
    return found


def _isoflop(
    table: pd.DataFrame, roles: dict[str, str], columns: Columns, options: Options
) -> TableFit:
    objective = options.objective or "lsq"
    if not Objective(objective).squares:
        raise ToolkitError("isoflop parabolas are fitted by lsq (of the loss) or lsq-log")
    for what, given in (
        ("--sigma", columns.sigma),
        ("--start", options.start),
        ("--pin", options.pinned),
        ("--tie", options.tie),
        ("scheme", options.scheme),
    ):
        if given:
            raise ToolkitError(f"{what} means nothing to isoflop: parabolas are solved directly")
    needed = {k: roles[k] for k in ("budget", "loss")} | {"size": roles["x"]}
    checked = _check(table, needed, options)
    fitted = fit_isoflop(
        table.iloc[checked.rows],
        **roles,
        resamples=options.resamples,
        log_loss=objective == "lsq-log",
        seed=options.seed,
    )
    if not {fitted.x, "loss"} & set(fitted.usable):
        raise ToolkitError(f"{fitted.laws[fitted.x].reason}; {fitted.laws['loss'].reason}")
    used = {role: name for role, name in roles.items() if name in table.columns}
    convention, mixed = _convention(table, checked)
    return TableFit(
        fitted,
        used,
        convention,
        (*checked.dropped, *fitted.dropped),
        (*checked.warnings, *mixed, *fitted.warnings),
    )


def _check(table: pd.DataFrame, roles: dict[str, str], options: Options) -> Checked:
    highest = ("loss", options.drop_highest_loss) if options.drop_highest_loss else None
    return check(table, roles, keep=options.keep, drop_highest=highest)


def _convention(table: pd.DataFrame, checked: Checked) -> tuple[str, list[str]]:
    """The rows' FLOP convention, and a warning where they have several."""
    if "flop_convention" not in table.columns:
        return "unstated", []
    found = sorted(table["flop_convention"].iloc[checked.rows].dropna().astype(str).unique())
    if len(found) > 1:
        return " and ".join(found), [f"FLOP are counted in several ways: {', '.join(found)}"]
    return found[0] if found else "unstated", []


def _strata(table: pd.DataFrame, columns: Columns, checked: Checked) -> Array | None:
    """Budgets, where runs share them: resamples then keep the number of runs at each."""
    name = columns.flop or "budget_flop"
    if name not in table.columns:
        return None
    budgets = pd.to_numeric(table[name], errors="coerce").to_numpy(float)[checked.rows]
    if np.isnan(budgets).any() or len(np.unique(budgets)) > len(budgets) / 3:
        return None
    return budgets
