"""A sweep's report: its tables, and the notebook that shows them with their figures, as HTML."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.flops import CONVENTIONS
from toolkit.laws import as_json
from toolkit.laws.constants import constants, middle
from toolkit.laws.examination import COLUMNS
from toolkit.laws.report import describe
from toolkit.laws.tabular import TableFit
from toolkit.place import NOTEBOOKS
from toolkit.recipe.crossing import crossings
from toolkit.recipe.hindsight import hindsight
from toolkit.recipe.question import Question
from toolkit.recipe.recommendation import Recipe, recommend_from
from toolkit.recipe.recount import recount
from toolkit.recipe.study import Study
from toolkit.recipe.trial import Trial, put_to_test
from toolkit.recipe.truncation import truncations
from toolkit.scores import FILE as SCORES
from toolkit.scores import Score, contents, read_scores
from toolkit.tables import Reading, read_table
from toolkit.tables.published import table_path
from toolkit.text import count, scientific
from toolkit.webpage import as_html
from toolkit.words import amount, loss, method_name, said, say, signed, told
from toolkit.writing import check_folder, write_atomically

TEMPLATE = NOTEBOOKS / "report.ipynb"
RECOUNT_DRAWS = 300  # Three studies more; their intervals need not be fine.
NOTEBOOK, HTML, FIGURES = "report.ipynb", "report.html", "figures"
RECIPES, FITS = "recipe.json", "fits.json"
NAMES = {"E": "E", "alpha": "α", "beta": "β", "R_D": "R_D*", "A": "A", "B": "B"}
HELD_OUT = "held-out, mrr"
TEST = "test"  # The sweep, within another's folder, that tests its recipe.


def output_folder(sweep: str | Path) -> Path:
    """Where a report goes: into the sweep's folder, or beside a table `x.csv` into `x-report`."""
    path = Path(sweep)
    return path if path.is_dir() else path.with_name(f"{path.stem}-report")


def reported_budgets(study: Study, budget_flop: float | None = None) -> tuple[float, ...]:
    """The budget asked for, the largest one tried, and one step of the sweep beyond it."""
    budgets = study.budgets
    step = budgets[-1] / budgets[-2] if len(budgets) > 1 else 10.0
    asked = () if budget_flop is None else (budget_flop,)
    return (*asked, budgets[-1], budgets[-1] * step)


def recipes(study: Study, budget_flop: float | None = None) -> tuple[Recipe, ...]:
    """The recipe at each of `reported_budgets`."""
    return tuple(recommend_from(study, budget_flop=b) for b in reported_budgets(study, budget_flop))


def write_recipes(folder: Path, answers: Sequence[Recipe]) -> None:
    """`recipe.json`: every recipe of the report, for other programs."""
    _write_json(folder / RECIPES, {"recipes": [answer.to_dict() for answer in answers]})


def write_fits(folder: Path, study: Study) -> None:
    """`fits.json`: the law of all methods, crossings, and every method's IsoFLOP fit; all digits.

    Keys: law {form, weights and scores by form, contenders}; methods, by name {constants, middle
    {params, data} at which A and B are told, isoflop (`toolkit.laws.report.describe`)}; data, the
    column that counts data; crossings; excluded; warnings.
    """
    surface = study.surface
    methods = {
        method: {
            "constants": constants(surface, method),
            "middle": dict(zip(("params", "data"), middle(surface, method), strict=True)),
            "isoflop": describe(
                TableFit(fit, COLUMNS, study.convention, fit.dropped, fit.warnings)
            ),
        }
        for method, fit in study.fits.items()
    }
    law = {
        "form": surface.form,
        "weights": surface.weights,
        "scores": surface.scores,
        "contenders": surface.contenders,
    }
    body = as_json(
        {
            "law": law,
            "methods": methods,
            "data": study.data,
            "crossings": crossings(study),
            "excluded": study.comparable.excluded,
            "warnings": [say(warning) for warning in study.warnings],
        }
    )
    _write_json(folder / FITS, body)


def _write_json(path: Path, body: Any) -> None:
    write_atomically(path, json.dumps(body, indent=1, allow_nan=False) + "\n")


def trial(study: Study, sweep: str | Path) -> Trial | None:
    """The recipe put to the test on the runs in the sweep's folder `test`; None if there are none.

    Raises:
        ToolkitError: Those runs are no test of this study (`toolkit.recipe.trial`).
    """
    folder = Path(sweep) / TEST
    if not (folder / "runs.csv").is_file():
        return None
    table = read_table(folder)
    return put_to_test(study, table) if len(table) else None


def method_table(recipe: Recipe) -> pd.DataFrame:
    """Methods at the recipe's budget, best first: decoder, pairs, loss and regret."""
    rows = [
        {
            "method": method_name(choice.method),
            "decoder": choice.decoder,
            "pairs": amount(choice)[0],
            "predicted loss": said(choice.loss, loss),
            "regret": "–" if choice.method == recipe.method else said(choice.regret, signed),
        }
        for choice in recipe.methods
    ]
    return _table(rows, "method").rename_axis(index=None, columns="method")


def law_table(study: Study) -> pd.DataFrame:
    """The constants of every method's law, and whether it was fitted with others or alone."""
    rows = {}
    for method in study.methods:
        found = constants(study.surface, method)
        told = {NAMES[name]: said(found[name], "{:.3g}".format) for name in NAMES if name in found}
        together = "with others" if method in study.surface.contenders else "alone"
        rows[method_name(method)] = told | {"fitted": together}
    return pd.DataFrame(rows).T


def size_table(study: Study) -> pd.DataFrame:
    """The best size of every method at every budget: by the law, of the runs, by a parabola."""
    means = study.best.groupby(["method", "budget_flop", "params"])["loss"].mean()
    rows = []
    for method, fit in study.fits.items():
        for minimum in fit.minima:
            ideal = Question(study, minimum.budget_flop).ideal(method)
            tried = means[method, minimum.budget_flop]
            rows.append(
                {
                    "method": method_name(method),
                    "budget": scientific(minimum.budget_flop),
                    "ideal size": told(ideal.params, count),
                    "its loss": said(ideal.loss, loss) if ideal.params.is_told else "–",
                    "best tried": f"{count(tried.idxmin())} at {loss(tried.min())}",
                    "parabola's minimum": said(minimum.params, count),
                    "the parabola": minimum.reason,
                }
            )
    return _table(rows, "method", "budget")


def hindsight_table(study: Study) -> pd.DataFrame:
    """What the budgets up to each cut would have said of the largest one, and what came."""
    names = {d.params: d.name for d in study.hand}
    rows = [
        {
            "fitted up to": scientific(each.cut),
            "recipe": f"{method_name(each.choice.method)}, {each.choice.decoder}",
            "predicted": said(each.choice.loss, loss),
            "measured": loss(each.measured),
            "best measured": f"{method_name(each.best[0])}, {names[int(each.best[1])]}",
            "regret": signed(each.regret),
            "error of all": f"{each.error:.1%}",
            "intervals that held": f"{each.held} of {each.count}",
        }
        for each in hindsight(study)
    ]
    return _table(rows, "fitted up to")


def truncation_table(study: Study) -> pd.DataFrame:
    """What it costs to keep the first features of an embedding only; empty without such runs."""
    rows = [
        {
            "method": method_name(each.method),
            "decoder": each.decoder,
            "budget": scientific(each.budget_flop),
            "trained for": ", ".join(map(str, each.trained_for)) or "the whole alone",
            "dimension": dimension,
            "loss": loss(value),
            "above the whole": "–" if value is each.loss else signed(value - each.loss),
            "runs": each.runs,
        }
        for each in truncations(study)
        for dimension, value in ((each.width or "whole", each.loss), *each.losses)
    ]
    return _table(rows, "method", "decoder", "budget", "trained for", "dimension")


def recount_table(study: Study) -> pd.DataFrame:
    """The recipe at the largest common budget, with FLOP counted in each convention.

    Raises:
        ToolkitError: The runs do not have all three counts (`toolkit.recipe.recount`).
    """
    rows = []
    for convention in CONVENTIONS:
        recounted = Study.of(recount(study, convention), draws=RECOUNT_DRAWS)
        budget = recounted.budgets[-1]
        recipe = recommend_from(recounted, budget_flop=budget)
        others = recipe.methods[1:]
        rows.append(
            {
                "counted as": convention,
                "budget": scientific(budget),
                "method": method_name(recipe.method),
                "decoder": recipe.decoder.name,
                "ideal size": told(recipe.ideal.params, count),
                "tokens": count(recipe.data.tokens),
                "predicted loss": said(recipe.loss, loss),
                "next best": method_name(others[0].method) if others else "–",
                "its regret": said(others[0].regret, signed) if others else "–",
            }
        )
    return _table(rows, "counted as")


def _table(rows: Sequence[Mapping[str, Any]], *index: str) -> pd.DataFrame:
    """Rows by the names of their index; of no rows, the names alone."""
    return pd.DataFrame(rows, columns=None if rows else list(index)).set_index(list(index))


def scores_table(sweep: str | Path) -> pd.DataFrame | None:
    """Run zero beside the best run: what decoders give untuned and what another encoder gives.

    Each task's main measure; the best run by it, and on the held-out set by its MRR. None where the
    sweep has no `scores.csv` (`python -m toolkit evaluate`).
    """
    path = Path(sweep) / SCORES
    if not path.is_file():
        return None
    scores = read_scores(path)
    columns: dict[str, dict[str, str]] = {}
    for task in dict.fromkeys(score.task for score in scores):
        main = next(score.measure for score in scores if score.task == task)
        these = [s for s in scores if (s.task, s.measure) == (task, main)]
        cells = {_who(s): said(s.estimate, loss) for s in these if s.kind != "run"}
        runs = [s for s in these if s.kind == "run"]
        if runs:
            cells["the best run"] = said(max(runs, key=lambda s: s.value).estimate, loss)
        mixed = len(contents(scores, task) - {""}) > 1
        columns[f"{task}, {main}{' (of different contents)' * mixed}"] = cells
    table = read_table(sweep)
    if HELD_OUT in columns and table["mrr"].notna().any():
        columns[HELD_OUT]["the best run"] = loss(float(table["mrr"].max()))
    return pd.DataFrame(columns).fillna("–")


def _who(score: Score) -> str:
    return f"{score.encoder}, untuned" if score.kind == "untuned" else score.encoder


def build(
    sweep: str | Path,
    budget_flop: float | None = None,
    reading: Reading | None = None,
) -> Study:
    """Execute the report's notebook for a sweep and write it beside the run table.

    Writes report.ipynb, report.html, recipe.json, fits.json and figures/ into `output_folder`. A
    second build replaces the first.

    Args:
        sweep: Its folder, or any run table.
        budget_flop: Answer for this budget as well.
        reading: Arguments of `toolkit.tables.read_table`, plain JSON types only.

    Returns:
        The study that was reported on.

    Example:
        >>> study = d2e.write_report("reference")  # into reference/, beside a copy of its table
        >>> len(study.budgets)
        5

    Raises:
        ToolkitError: The table is missing or wrong, its folder cannot be written in, or the
            notebook failed.
    """
    sweep, reading = _own_copy(sweep), reading or {}
    table = read_table(sweep, **reading)
    check_folder(output_folder(sweep))
    study = Study.of(table)
    recipes(study, budget_flop)  # What cannot be answered is said here, not from a notebook.
    folder = output_folder(sweep)
    folder.mkdir(parents=True, exist_ok=True)
    notebook = _execute(sweep, budget_flop, reading)
    write_atomically(folder / NOTEBOOK, notebook)
    write_atomically(folder / HTML, as_html(notebook, f"Report: {folder.resolve().name}"))
    return study


def _own_copy(sweep: str | Path) -> str | Path:
    """The sweep; of a table by name, which no report goes beside, a copy in a folder of that name
    where we are, its test with it."""
    source = table_path(sweep)
    if source == Path(sweep):
        return sweep
    own = Path(str(sweep))
    check_folder(own)
    tables = ("runs.csv", f"{TEST}/runs.csv") if source.is_dir() else ("",)
    for table in tables:
        if (found := source / table).is_file():
            target = own / (table or "runs.csv")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, target)
    return own


def _execute(sweep: str | Path, budget_flop: float | None, reading: Reading) -> str:
    """The executed notebook as text."""
    from papermill.exceptions import PapermillExecutionError

    from toolkit.sweep.attempt import execute, in_words
    from toolkit.sweep.kernels import KernelHost

    parameters = {
        "sweep": str(Path(sweep).resolve()),
        "budget_flop": budget_flop,
        "reading": dict(reading),
    }
    with tempfile.TemporaryDirectory() as scratch, KernelHost(warm=False) as host:
        executed = Path(scratch) / NOTEBOOK  # Papermill writes in place.
        try:
            with host.kernel(Path(scratch) / "log") as kernel:
                execute(TEMPLATE, executed, parameters, kernel)
        except (PapermillExecutionError, RuntimeError) as error:
            raise ToolkitError(f"the report's notebook failed: {in_words(error)}") from error
        return executed.read_text(encoding="utf-8")
