"""Does the contrastive loss predict what an encoder is good for?

A study fits laws to a loss because it is cheap and smooth; what people want is a score on a task.
Over the runs of a sweep that kept their encoders both are known: how well do they agree in order,
and would a recipe by the score name another decoder? The study found Spearman -0.892 between loss
and the mean of seven of MTEB's tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from toolkit.errors import ToolkitError, nearest
from toolkit.laws.correlation import spearman, why_untold
from toolkit.laws.estimate import Estimate
from toolkit.laws.table import check
from toolkit.recipe.recommendation import recommend_from
from toolkit.recipe.study import Study
from toolkit.scores import Score, contents
from toolkit.values import repeated

LEAST = 4  # Runs: of three any order is likely.
_CELL = ["method", "budget_flop", "decoder", "params"]


@dataclass(frozen=True)
class Preference:
    """Which decoder is best at a budget, by the loss and by the score.

    Attributes:
        method, budget_flop: Where; the method is empty where the recipe chooses it.
        by_loss, by_score: The decoders' names. sizes: Their non-embedding parameters.
        source: `measured`, the mean over seeds; or `law`, what a recipe says of each.
    """

    method: str
    budget_flop: float
    by_loss: str
    by_score: str
    sizes: tuple[int, int]
    source: str


@dataclass(frozen=True, eq=False)
class Downstream:
    """Loss and score of the same runs.

    Attributes:
        task, measure: Of the score.
        runs: Columns run, method, decoder, params, budget_flop, loss, score; one row a run.
        correlation: Spearman's, of loss and score over runs: -1 where the loss tells all.
        preferences: At every method and budget tried, and by the laws of both.
        zero: The score of each decoder untuned. other: Of encoders from elsewhere.
        law_note: Why there are no laws to compare, if so.
        untold: Why there is no correlation, if so: one side is constant.
        content_note: What is not known of what the scores are of, if so.
    """

    task: str
    measure: str
    runs: pd.DataFrame
    correlation: Estimate
    preferences: tuple[Preference, ...]
    zero: dict[str, float]
    other: dict[str, float]
    law_note: str = ""
    untold: str = ""
    content_note: str = ""


def downstream(
    table: pd.DataFrame,
    scores: Sequence[Score],
    task: str,
    measure: str | None = None,
    *,
    draws: int = 300,
) -> Downstream:
    """Put a sweep's losses beside its scores.

    Args:
        table: The run table. scores: Of its encoders (`toolkit.scores`).
        task, measure: Which; None takes the task's main measure.
        draws: Of the laws that are compared.

    Raises:
        ToolkitError: There is no such task or measure, too few runs have a score, or the scores
            are of different contents of the task.
    """
    measure = _measure(scores, task, measure)
    content_note = _content(scores, task)
    runs = scored(table, scores, task, measure)
    try:
        law, note = _by_laws(table, runs, draws), ""
    except ToolkitError as error:
        law, note = (), str(error)
    these = [s for s in scores if (s.task, s.measure) == (task, measure)]
    return Downstream(
        task=task,
        measure=measure,
        runs=runs,
        correlation=spearman(runs["loss"].to_numpy(), runs["score"].to_numpy()),
        preferences=(*_measured(runs), *law),
        zero={s.encoder: s.value for s in these if s.kind == "untuned"},
        other={s.encoder: s.value for s in these if s.kind == "other"},
        law_note=note,
        untold=why_untold({"losses": runs["loss"].to_numpy(), "scores": runs["score"].to_numpy()}),
        content_note=content_note,
    )


def _content(scores: Sequence[Score], task: str) -> str:
    """Make sure that all scores are of one content of the task; says if that is not known of some.

    Raises:
        ToolkitError: They are not.
    """
    found = contents(scores, task)
    if len(found - {""}) > 1:
        raise ToolkitError(
            f"the scores on {task} are of {len(found - {''})} different contents of it and cannot "
            f"be compared; judge the sweep on {task} again: python -m toolkit evaluate"
        )
    if len(found) == 1:
        return ""
    rest = sum(not score.content for score in scores if score.task == task)
    return (
        f"{rest} of the scores on {task} were made before its content was noted: whether they are "
        "of the same is not known"
    )


def _measure(scores: Sequence[Score], task: str, measure: str | None) -> str:
    tasks = tuple(dict.fromkeys(s.task for s in scores))
    if not tasks:
        raise ToolkitError("nothing was scored yet: python -m toolkit evaluate makes scores")
    if task not in tasks:
        raise ToolkitError(f"nothing was scored on {task!r}{nearest(task, tasks)}")
    measures = tuple(dict.fromkeys(s.measure for s in scores if s.task == task))
    if measure is not None and measure not in measures:
        raise ToolkitError(f"{task} has no measure {measure!r}{nearest(measure, measures)}")
    return measure or measures[0]


def scored(table: pd.DataFrame, scores: Sequence[Score], task: str, measure: str) -> pd.DataFrame:
    """The finished runs that have a score, with it.

    Raises:
        ToolkitError: They are too few, or the table lacks a column, holds a text where a number
            must be, or has two runs of one name.
    """
    values = {
        s.encoder: s.value for s in scores if (s.kind, s.task, s.measure) == ("run", task, measure)
    }
    checked = check(table, {name: name for name in ("params", "budget_flop", "loss")})
    runs = table.iloc[checked.rows]
    for name in ("run", "method", "decoder"):
        if name not in runs:
            raise ToolkitError(f"the run table has no column {name!r}")
    runs = runs.assign(run=runs["run"].astype(str))
    runs = runs.assign(score=runs["run"].map(values))
    runs = runs[runs["score"].notna()].reset_index(drop=True)
    if twice := repeated(runs["run"]):
        raise ToolkitError(f"the run table has two runs called {twice!r}")
    if len(runs) < LEAST:
        raise ToolkitError(
            f"{len(runs)} finished runs have a score on {task}, and at least {LEAST} are needed: "
            "set keep: all in the sweep.yaml, run the sweep, then evaluate it"
        )
    return runs


def by_score(runs: pd.DataFrame) -> pd.DataFrame:
    """A run table whose loss is what is missing from a perfect score, for laws and recipes.

    1 - score is 0 at the best and ends at 1, as the loss ends at chance; the column `chance` says
    so to the bounded law (`toolkit.laws.links`).

    Args:
        runs: From `scored`.
    """
    return runs.assign(loss=1 - runs["score"], chance=1.0).drop(columns="score")


def _measured(runs: pd.DataFrame) -> list[Preference]:
    """The best decoder of each method and budget where several were tried."""
    found = []
    means = runs.groupby(_CELL)[["loss", "score"]].mean().reset_index()
    for _, cell in means.groupby(["method", "budget_flop"]):
        if len(cell) > 1:
            loss = cell.sort_values("loss").iloc[0]
            score = cell.sort_values("score").iloc[-1]
            sizes = int(loss["params"]), int(score["params"])
            names = str(loss["decoder"]), str(score["decoder"])
            place = str(loss["method"]), float(loss["budget_flop"])
            found.append(Preference(*place, *names, sizes, "measured"))
    return found


def _by_laws(table: pd.DataFrame, runs: pd.DataFrame, draws: int) -> tuple[Preference, ...]:
    """What recipes by the law of each say, at the largest budget tried and one beyond it.

    Both laws are fitted to the same runs: those that have a score.
    """
    same = table[table["run"].astype(str).isin(runs["run"])]
    studies = [Study.of(each, draws=draws) for each in (same, by_score(runs))]
    found = []
    last = studies[0].budgets[-1]
    for budget in (last, 3.16 * last):
        loss, score = (recommend_from(study, budget_flop=budget) for study in studies)
        sizes = loss.decoder.params, score.decoder.params
        names = loss.decoder.name, score.decoder.name
        found.append(Preference("", budget, *names, sizes, "law"))
    return tuple(found)
