"""Held-out judgement: forms fitted below a cut are judged above it."""

import numpy as np
import pandas as pd
import pytest

from toolkit.errors import ToolkitError
from toolkit.laws import FORMS, roll

BUDGETS = np.geomspace(1e11, 1e14, 8)


def table(loss):
    """Runs around N* = 1e5 (C / 1e12)^0.5, with optimal losses as given."""
    rows = []
    for c in BUDGETS:
        best = 1e5 * (c / 1e12) ** 0.5
        for n in best * np.geomspace(0.1, 10, 7):
            bowl = 0.05 * np.log(n / best) ** 2
            rows.append(
                {"budget_flop": c, "params": n, "tokens": c / 6 / n, "loss": loss(c) + bowl}
            )
    return pd.DataFrame(rows)


def saturating(c):
    return 2.0 + 40.0 * c**-0.15


def power(c):
    return 20.0 * c**-0.06


def test_a_form_that_is_the_truth_predicts_what_it_has_not_seen():
    found = {p.form: p for p in roll(table(saturating), cuts=[BUDGETS[5]]).predictions}
    assert found["saturating"].errors == pytest.approx([0, 0], abs=1e-5)
    assert max(found["power"].errors) < -1e-3  # Without an asymptote it falls too fast.


def test_only_budgets_above_the_cut_are_predicted():
    found = roll(table(saturating), cuts=[BUDGETS[5]]).predictions[0]
    assert found.budgets == pytest.approx(BUDGETS[6:])
    assert found.cut == BUDGETS[5]


def test_losses_above_the_cut_do_not_change_what_is_predicted():
    changed = table(saturating)
    changed.loc[changed.budget_flop > BUDGETS[5], "loss"] *= 1.5
    plain = roll(table(saturating), cuts=[BUDGETS[5]]).predictions
    for a, b in zip(plain, roll(changed, cuts=[BUDGETS[5]]).predictions, strict=True):
        if a.form != "parametric":
            assert a.predicted == b.predicted


@pytest.mark.parametrize(("truth", "best"), [(saturating, "saturating"), (power, "power")])
def test_the_rolling_origin_names_the_form_that_predicts_best(truth, best):
    noise = np.random.default_rng(1).normal(size=56)
    runs = table(truth)
    runs["loss"] *= 1 + 0.0002 * noise
    found = roll(runs, forms=("power", "saturating"))
    assert found.best == best
    assert found.errors[best] == min(found.errors.values())
    assert found.best in found.statement


def test_a_form_with_too_few_budgets_says_so_instead_of_predicting():
    found = {p.form: p for p in roll(table(saturating), cuts=[BUDGETS[3]]).predictions}
    assert found["saturating"].predicted == ()
    assert "needs at least 5 runs" in found["saturating"].reason


def test_forms_are_ranked_only_where_all_of_them_predict():
    found = roll(table(saturating), forms=("power", "saturating"))
    cuts = {p.cut for p in found.predictions if p.form == "saturating" and not p.reason}
    errors = [p.errors for p in found.predictions if p.form == "power" and p.cut in cuts]
    assert found.errors["power"] == pytest.approx(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def test_the_parametric_law_predicts_a_table_of_its_own():
    theta = [1.8, 30.0, 0.3, 60.0, 0.3]
    runs = table(saturating)
    runs["loss"] = FORMS["parametric"].value(theta, runs[["params", "tokens"]].to_numpy().T)
    (found,) = roll(runs, cuts=[BUDGETS[4]], forms=("parametric",)).predictions
    assert found.errors == pytest.approx(np.zeros(3), abs=0.01)


def test_where_chance_is_known_the_bounded_law_is_judged_too():
    runs = table(saturating)
    theta = [0.5, 300.0, 0.6, 3000.0, 0.5, np.log(64)]
    runs["loss"] = FORMS["bounded"].value(theta, runs[["params", "tokens"]].to_numpy().T)
    plain = roll(runs, cuts=[BUDGETS[4]]).predictions
    assert [p.form for p in plain] == ["power", "saturating", "parametric"]
    rolled = roll(runs, cuts=BUDGETS[3:5], candidates=64)
    found = {p.form: p for p in rolled.predictions if p.cut == BUDGETS[4]}
    assert found["bounded"].errors == pytest.approx(np.zeros(3), abs=0.002)
    assert rolled.best == "bounded"
    (unknown,) = roll(runs, cuts=[BUDGETS[4]], forms=("bounded",)).predictions
    assert "over how many candidates" in unknown.reason


def test_without_tokens_the_parametric_law_is_left_out_with_a_reason():
    found = roll(table(saturating).drop(columns="tokens"))
    assert "parametric" not in found.errors
    assert any(p.form == "parametric" and "tokens" in p.reason for p in found.predictions)


def test_a_cut_beyond_the_budgets_is_refused():
    with pytest.raises(ToolkitError, match="no budget on one side"):
        roll(table(saturating), cuts=[1e20])


def test_one_budget_cannot_be_held_out():
    runs = table(saturating)
    with pytest.raises(ToolkitError, match="at least two budgets"):
        roll(runs[runs.budget_flop == BUDGETS[0]])


def test_an_unknown_form_is_refused():
    with pytest.raises(ToolkitError, match="did you mean power"):
        roll(table(saturating), cuts=[BUDGETS[5]], forms=("powr",))
