"""A sweep's report: its tables, and the notebook that shows them with their figures, as HTML."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.laws import Estimate, PowerLaw, as_json
from toolkit.laws.report import crossover, describe
from toolkit.laws.tabular import TableFit
from toolkit.place import NOTEBOOKS
from toolkit.recipe.recommendation import Recipe, recommend_from
from toolkit.recipe.recount import CONVENTIONS, recount
from toolkit.recipe.study import Study
from toolkit.recipe.trial import Trial, put_to_test
from toolkit.recipe.wording import loss, method_name, signed, spread
from toolkit.runs import write_atomically
from toolkit.tables import read_table
from toolkit.text import count, scientific
from toolkit.writing import check_folder

TEMPLATE = NOTEBOOKS / "report.ipynb"
RECOUNT_RESAMPLES = 200  # Three studies more; their intervals need not be fine.
NOTEBOOK, HTML, FIGURES = "report.ipynb", "report.html", "figures"
RECIPES, FITS = "recipe.json", "fits.json"
_COLUMNS = {name: name for name in ("params", "tokens", "loss")} | {"budget": "budget_flop"}
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
    body = {"recipes": [answer.to_dict() for answer in answers]}
    write_atomically(folder / RECIPES, json.dumps(body, indent=1, allow_nan=False) + "\n")


def write_fits(folder: Path, study: Study) -> None:
    """`fits.json`: every method's laws, how well each form predicts, crossovers; all digits."""
    methods = {
        method: describe(TableFit(fit, _COLUMNS, study.convention, fit.dropped, fit.warnings))
        | {"held_out": as_json(study.rollouts.get(method))}
        for method, fit in study.fits.items()
    }
    body = as_json(
        {
            "methods": methods,
            "crossovers": [crossover(c) for c in study.crossovers],
            "excluded": study.excluded,
            "warnings": study.warnings,
        }
    )
    write_atomically(folder / FITS, json.dumps(body, indent=1, allow_nan=False) + "\n")


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
    """Methods at the recipe's budget, best first: expected loss, regret and own size."""
    rows = [
        {
            "method": method_name(choice.method),
            "expected loss": said(choice.loss, loss),
            "regret": "–" if choice.method == recipe.method else said(choice.regret, signed),
            "best in": "" if math.isnan(choice.best_share) else f"{choice.best_share:.0%}",
            "own best size": said(choice.params, count),
            "size from": choice.source,
        }
        for choice in recipe.methods
    ]
    return pd.DataFrame(rows).set_index("method").rename_axis(index=None, columns="method")


def minima_table(study: Study) -> pd.DataFrame:
    """The minimum of every method's parabola at every budget, or why there is none."""
    rows = [
        {
            "method": method_name(method),
            "budget": scientific(minimum.budget_flop),
            "best size": said(minimum.params, count),
            "tokens": said(minimum.tokens, count),
            "loss": said(minimum.loss, loss),
            "best tried": f"{count(minimum.best_params)} at {loss(minimum.best_loss)}",
            "remark": minimum.reason,
        }
        for method, fit in study.fits.items()
        for minimum in fit.minima
    ]
    return pd.DataFrame(rows).set_index(["method", "budget"])


def law_table(study: Study) -> pd.DataFrame:
    """N*(C), D*(C) and L*(C) of every method: exponents with intervals, and what is wrong."""
    rows = []
    for method, fit in study.fits.items():
        for name, law in (("N*", fit.params_law), ("D*", fit.tokens_law), ("L*", fit.loss_law)):
            rows.append(
                {
                    "method": method_name(method),
                    "law": f"{name}(C)",
                    "exponent": said(law.exponent, "{:.3f}".format),
                    "asymptote": _asymptote(law),
                    "points": len(law.budgets),
                    "remark": law.reason,
                }
            )
    return pd.DataFrame(rows).set_index(["method", "law"])


def rollout_table(study: Study) -> pd.DataFrame:
    """How well each form, fitted on the budgets up to a cut, predicts the loss at the largest."""
    rows = [
        {
            "method": method_name(method),
            "form": prediction.form,
            "fitted up to": scientific(prediction.cut),
            "predicted at": scientific(prediction.budgets[-1]) if prediction.budgets else "",
            "predicted": _number(prediction.predicted),
            "measured": _number(prediction.seen),
            "error": f"{prediction.errors[-1]:+.1%}" if prediction.errors else "–",
            "remark": prediction.reason,
        }
        for method, rollout in study.rollouts.items()
        for prediction in rollout.predictions
    ]
    names = ["method", "form", "fitted up to"]
    return pd.DataFrame(rows, columns=None if rows else names).set_index(names)


def recount_table(study: Study) -> pd.DataFrame:
    """The recipe at the largest common budget, with FLOP counted in each convention.

    Raises:
        ToolkitError: The runs do not have all three counts (`toolkit.recipe.recount`).
    """
    rows = []
    for convention in CONVENTIONS:
        seen = Study.of(recount(study, convention), resamples=RECOUNT_RESAMPLES)
        budget = seen.budgets[-1]
        recipe = recommend_from(seen, budget_flop=budget)
        law = seen.fits[recipe.method].params_law
        others = [choice for choice in recipe.methods if choice.method != recipe.method]
        rows.append(
            {
                "counted as": convention,
                "budget": scientific(budget),
                "method": method_name(recipe.method),
                "best size": said(recipe.size.params, count),
                "tokens": said(recipe.data.tokens, count),
                "next best": method_name(others[0].method) if others else "–",
                "its regret": said(others[0].regret, signed) if others else "–",
                "N* exponent": said(law.exponent, "{:.3f}".format),
            }
        )
    return pd.DataFrame(rows).set_index("counted as")


def _number(values: Sequence[float]) -> str:
    return loss(values[-1]) if values else "–"


def _asymptote(law: PowerLaw) -> str:
    return said(law.asymptote, loss) if law.form == "saturating" else "none"


def said(estimate: Estimate, show: Any) -> str:
    """A value and its interval in one cell."""
    if math.isnan(estimate.value):
        return "–"
    text = show(estimate.value)
    return text if math.isnan(estimate.low) else f"{text} ({spread(estimate, show)})"


def build(
    sweep: str | Path,
    budget_flop: float | None = None,
    reading: Mapping[str, Any] | None = None,
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

    Raises:
        ToolkitError: The table is missing or wrong, its folder cannot be written in, or the
            notebook failed.
    """
    table = read_table(sweep, **(reading or {}))
    check_folder(output_folder(sweep))
    study = Study.of(table)
    recipes(study, budget_flop)  # What cannot be answered is said here, not from a notebook.
    folder = output_folder(sweep)
    folder.mkdir(parents=True, exist_ok=True)
    notebook = _execute(sweep, budget_flop, reading or {})
    write_atomically(folder / NOTEBOOK, notebook)
    write_atomically(folder / HTML, as_html(notebook, f"Report: {folder.resolve().name}"))
    return study


def _execute(sweep: str | Path, budget_flop: float | None, reading: Mapping[str, Any]) -> str:
    """The executed notebook as text."""
    import logging

    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from toolkit.sweep.kernels import KernelHost

    logging.getLogger("papermill").setLevel(logging.ERROR)
    parameters = {
        "sweep": str(Path(sweep).resolve()),
        "budget_flop": budget_flop,
        "reading": dict(reading),
    }
    template = nbformat.read(TEMPLATE, as_version=4)
    with tempfile.TemporaryDirectory() as scratch, KernelHost(warm=False) as host:
        executed = Path(scratch) / NOTEBOOK  # Papermill writes in place, and reads {} in paths.
        try:
            with host.kernel(Path(scratch) / "log") as kernel:
                papermill.execute_notebook(
                    template,
                    str(executed),
                    parameters,
                    km=kernel,
                    kernel_name="python3",
                    language="python",
                    progress_bar=False,
                    start_timeout=300,
                    iopub_timeout=60,
                )
        except PapermillExecutionError as error:
            sentence = f"the report's notebook failed: {error.ename}: {error.evalue}"
            raise ToolkitError(sentence) from error
        except RuntimeError as error:
            raise ToolkitError(f"the report's notebook could not be run: {error}") from error
        return executed.read_text(encoding="utf-8")


def as_html(notebook: str, title: str) -> str:
    """An executed notebook as one page that needs nothing else: outputs, no code, no scripts."""
    import nbformat
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    settings = Config()
    settings.HTMLExporter.exclude_input = True
    settings.HTMLExporter.exclude_output_prompt = True
    settings.HTMLExporter.exclude_anchor_links = True
    settings.HTMLExporter.embed_images = True
    exporter = HTMLExporter(config=settings, template_name="basic")
    body, _ = exporter.from_notebook_node(nbformat.reads(notebook, as_version=4))
    return PAGE.format(title=escape(title), style=STYLE, body=body)


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --line: #ddd; --quiet: #f6f6f6; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --paper: #161616; --line: #444; --quiet: #222; }
}
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1rem 1.25rem 4rem; }
h1, h2 { line-height: 1.2; margin: 2.2em 0 0.4em; }
h1 { margin-top: 0.8em; }
pre { font: 14px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; background: var(--quiet);
  padding: 0.9em 1.1em; border-radius: 6px; overflow-x: auto; }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 0.92em; }
img { max-width: 100%; background: #fff; border-radius: 6px; }
.output_html { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.88em; margin: 0.6em 0; border: 0; }
th, td { text-align: left !important; vertical-align: top; padding: 0.25em 0.8em 0.25em 0;
  border: 0; border-bottom: 1px solid var(--line); }
"""
