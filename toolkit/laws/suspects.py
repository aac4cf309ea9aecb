"""The rows of a table that lie far above those around them, and what they do to a law."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.laws.chance import chance
from toolkit.laws.fitting import Fit
from toolkit.laws.forms import FORMS
from toolkit.laws.isoflop import IsoFlopFit
from toolkit.laws.outliers import Outlier, outliers
from toolkit.laws.table import check, row_numbers
from toolkit.laws.tabular import NAMES, Columns, Options, fit_table, resolve

SHOWN = 3  # So many runs and so many changes are named in a sentence.
CHANGED = 0.02  # A parameter that moves by less is as it was.


@dataclass(frozen=True)
class Suspects:
    """Outliers of a table.

    Attributes:
        found: By the highest loss first, named by their `run`, else by the row's number from 1.
    """

    found: tuple[Outlier, ...]

    def left(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table without them; its rows keep their index, and so their numbers."""
        rows = np.ones(len(table), bool)
        rows[[one.row for one in self.found]] = False
        return table[rows]

    @property
    def statement(self) -> str:
        """A sentence that names them; empty if there are none."""
        if not self.found:
            return ""
        said = [
            f"{one.run} (loss {one.loss:.4g}, where those around it allow {one.allowed:.4g})"
            for one in self.found
        ][:SHOWN]
        rest = len(self.found) - len(said)
        more = f" and {rest} more" if rest else ""
        one = len(self.found) == 1
        lie = "1 run lies" if one else f"{len(self.found)} runs lie"
        return f"{lie} far above those around {'it' if one else 'them'}: {', '.join(said)}{more}"


def suspects(
    table: pd.DataFrame,
    *,
    loss: str = "loss",
    budget: str | None = "budget_flop",
    size: str | None = "params",
    apart: str = "method",
) -> Suspects:
    """The outliers of a table, sought among the runs of each method.

    Args:
        table: Columns of positive numbers where a run counts; rows with others are passed over.
        loss, budget, size: Columns; a budget or size that the table does not have is done without.
        apart: The column whose values are not compared, where there is one.
    """
    columns = {"loss": loss, "budgets": budget, "sizes": size}
    values = {
        role: pd.to_numeric(table[name], errors="coerce").to_numpy(float)
        for role, name in columns.items()
        if name in table
    }
    usable = np.ones(len(table), bool)
    for each in values.values():
        usable &= np.isfinite(each) & (each > 0)
    limit = chance(table)
    labels = table[apart].astype(str).to_numpy() if apart in table else np.full(len(table), "")
    numbers = row_numbers(table)

    def called(row: int) -> str:
        return str(table["run"].iloc[row]) if "run" in table else f"row {numbers[row]}"

    found: list[Outlier] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(usable & (labels == label))
        part = {role: each[rows] for role, each in values.items()}
        for one in outliers(**part, chance=limit):
            row = int(rows[one.row])
            found.append(replace(one, row=row, run=called(row)))
    return Suspects(tuple(sorted(found, key=lambda one: -one.loss)))


def of_a_law(table: pd.DataFrame, form: str, columns: Columns, options: Options) -> Suspects:
    """The outliers among the rows that a law of the table stands on; none where the law is about
    data that repeat, which may do harm."""
    names = [str(column) for column in table.columns]
    registered = FORMS[form].roles if form in FORMS else ()
    if "unique_tokens" in registered:
        return Suspects(())
    if form in NAMES:
        roles = resolve(form, columns, names)
    else:  # A person's own expression.
        roles = {"loss": columns.y or columns.loss or "loss", "params": columns.params or "params"}
    if registered == ("x",):
        budget, size = roles["x"], None
    else:
        budget = columns.flop or "budget_flop"
        size = roles.get("x") or roles.get("params") or columns.params or "params"
        if budget not in names:
            budget = columns.tokens or "tokens"
    needed = {"loss": roles["loss"], "budget": budget, "size": size}
    present = {role: name for role, name in needed.items() if name in names}
    if "loss" not in present:
        return Suspects(())
    highest = ("loss", options.drop_highest_loss) if options.drop_highest_loss else None
    checked = check(table, present, keep=options.keep, drop_highest=highest)
    found = suspects(table.iloc[checked.rows], loss=roles["loss"], budget=budget, size=size)
    return Suspects(tuple(replace(one, row=int(checked.rows[one.row])) for one in found.found))


def effect(
    table: pd.DataFrame, found: Suspects, form: str, columns: Columns, options: Options
) -> tuple[dict[str, float], str]:
    """What a law says without the outliers: its parameters, and a sentence on those that move.

    Empty where it has none of them; a law that cannot stand without them says so.
    """
    quick = replace(options, resamples=0)
    without = "without it" if len(found.found) == 1 else "without them"
    try:
        after = _parameters(fit_table(found.left(table), form, columns, quick).fit)
    except ToolkitError as error:
        return {}, f"{without} there is no law: {error}"
    before = _parameters(fit_table(table, form, columns, quick).fit)
    moved = {
        name: abs(value - before[name]) / max(abs(before[name]), 1e-300)
        for name, value in after.items()
        if name in before
    }
    most = sorted((n for n, by in moved.items() if by > CHANGED), key=lambda n: -moved[n])[:SHOWN]
    if not most:
        return after, f"{without} no parameter moves by more than {CHANGED:.0%}"
    said = ", ".join(f"{name} is {after[name]:.4g} instead of {before[name]:.4g}" for name in most)
    return after, f"{without} {said}"


def _parameters(fit: Fit | IsoFlopFit) -> dict[str, float]:
    if isinstance(fit, Fit):
        return {name: estimate.value for name, estimate in fit.params.items()}
    return {f"exponent of the {n} law": law.exponent.value for n, law in fit.usable.items()}
