"""What a budget buys: a run of whole blocks, not the smooth law's share of one."""

import math

import numpy as np
import pandas as pd
import pytest

from toolkit import decoders
from toolkit.methods import SETTINGS
from toolkit.recipe.costs import Costs, flop_per_pair
from toolkit.recipe.recommendation import recommend_from
from toolkit.recipe.settings import own_settings, run_cost
from toolkit.recipe.study import Study
from toolkit.recipe.tuning import Tuning
from toolkit.synthetic import TRUTH, run_table

TOKENS = 40.0
DECODERS = ("small-7k", "small-15k", "small-38k", "small-85k")


def table(method="freeze", blocks=((2, 1), (4, 2), (8, 4)), dearer=1.1, **columns):
    """Runs of cut decoders that paid more by a factor than is counted for them."""
    rows = []
    for depth, trained in blocks:
        name = f"smollm2-135m@{depth}"
        known = decoders.catalogued(name)
        own = {"trained_blocks": trained} if method == "freeze" else {}
        each = flop_per_pair(known.shape, name, method, TOKENS, "model", own)
        rows.append(
            {"method": method, "decoder": name, "params": known.params, "budget_flop": 1e14}
            | {"pairs": 1e14 / (dearer * each)} | own | columns
        )  # fmt: skip
    return pd.DataFrame(rows)


def costs(runs):
    return Costs.of(runs, "pairs", TOKENS, "model")


def test_a_run_of_an_odd_depth_is_priced_with_the_blocks_that_it_trains():
    found = costs(table())
    three = decoders.catalogued("smollm2-135m@3")
    frozen, half = 2 * three.params, 2 * three.params / 3  # FLOP a token: forward; of one block
    one, two = (found.of_run("freeze", three.name, {"trained_blocks": k}) for k in (1, 2))
    assert two - one == pytest.approx(1.1 * TOKENS * 2 * half, rel=0.05)
    assert two == pytest.approx(1.1 * TOKENS * (frozen + 4 * half), rel=0.05)
    smooth = found.flop("freeze", np.array([float(three.params)]))[0]
    assert one < smooth < two


def test_what_the_runs_paid_is_told_of_their_own_decoders_whatever_is_counted():
    runs = table(dearer=1.3)
    found = costs(runs)
    for row in runs.itertuples():
        own = {"trained_blocks": row.trained_blocks}
        assert found.of_run("freeze", row.decoder, own) == pytest.approx(1e14 / row.pairs)
    full = table("full", dearer=0.9)
    for row in full.itertuples():
        assert costs(full).of_run("full", row.decoder, {}) == pytest.approx(1e14 / row.pairs)


@pytest.mark.parametrize(
    "runs, decoder",
    [
        (table(), "somebody/elses"),
        (table().assign(decoder="somebody/elses"), "smollm2-135m@3"),
        (table().drop(columns="decoder"), "smollm2-135m@3"),
        (table().assign(method="prompt tuning"), "smollm2-135m@3"),
    ],
    ids=["unknown decoder", "unknown decoders tried", "no names", "unknown method"],
)
def test_what_cannot_be_counted_is_not_a_number(runs, decoder):
    method = runs["method"].iloc[0]
    assert math.isnan(costs(runs).of_run(method, decoder, {"trained_blocks": 2}))
    too_many = {"trained_blocks": 9}
    assert math.isnan(costs(runs).of_run(method, "smollm2-135m@3", too_many))


def test_a_recipe_has_one_amount_whatever_else_its_runs_had(fit_once):
    """Settings that need a partner, such as a warm-up in FLOP, are none that a run is priced by."""
    runs = run_table(truth={m: TRUTH[m] for m in ("full", "freeze")}, decoders=DECODERS)
    runs = runs.assign(warmup=0.1, weight_decay=0.1, cooldown=0.2, lora_rank=8.0)
    recipe = recommend_from(fit_once(runs, draws=100), budget_flop=1e12)
    assert recipe.choices[0].pairs == recipe.data.pairs
    study = fit_once(runs, draws=100)
    for choice in recipe.choices:
        own = own_settings(study, choice.method, 1e12, choice.params, choice.decoder)
        assert set(own) <= {"trained_blocks"}
        cost = study.costs.of_run(choice.method, choice.decoder, own)
        assert choice.pairs == pytest.approx(1e12 / cost)


def test_a_fraction_of_the_blocks_stays_a_fraction_of_another_decoder_s():
    eight, four = (decoders.catalogued(f"smollm2-135m@{k}").shape for k in (8, 4))
    carry = SETTINGS["trained_blocks"].carry
    assert (carry(0.5, eight, four), carry(4, eight, four), carry(0.5, None, eight)) == (2, 2, 4)


def test_the_law_reads_a_cell_at_what_its_best_settings_bought():
    """One block trained buys twice the pairs that four do; the loss to explain is that of four."""
    rows = [
        {"method": "freeze", "params": 1e6, "budget_flop": budget, "unique": math.inf}
        | {"trained_blocks": blocks, "pairs": pairs * budget, "loss": loss}
        for budget in (1e12, 4e12)
        for blocks, pairs, loss in ((1, 4e-7, 3.0), (4, 2e-7, 2.5))
    ]
    tuning = Tuning.of(pd.DataFrame(rows), "pairs", math.log(1024), 0.01, draws=20)
    assert tuning.cells["data"].tolist() == [2e5, 8e5]
    assert tuning.cells["runs"].tolist() == [2, 2]


def test_what_the_law_is_asked_has_no_step_where_a_method_s_own_setting_changes():
    """A quarter of the blocks is best at the lower budget, all of them at the higher: dearer."""
    budgets, shares = (1e11, 1e12), (0.25, 1.0)
    made = run_table(truth={"freeze": TRUTH["freeze"]}, decoders=DECODERS, budgets=budgets)
    layers = made["decoder"].map(lambda name: decoders.catalogued(name).shape.layers)
    tried = [
        made.assign(
            trained_blocks=np.ceil(share * layers),
            loss=made["loss"] * np.where(np.isclose(made["budget_flop"], best), 1.0, 1.1),
        )
        for share, best in zip(shares, budgets, strict=True)
    ]
    study = Study.of(pd.concat(tried, ignore_index=True), draws=20)
    name = DECODERS[-1]
    where = study, "freeze", decoders.catalogued(name).params, name
    steps = np.geomspace(*budgets, 21)
    costs = np.array([run_cost(*where, budget) for budget in steps])
    own = [own_settings(study, "freeze", b, where[2], name)["trained_blocks"] for b in budgets]
    assert own[0] < own[1]
    ends = [study.costs.of_run("freeze", name, {"trained_blocks": blocks}) for blocks in own]
    assert costs[[0, -1]] == pytest.approx(ends)
    assert np.diff(np.log(costs)) == pytest.approx(np.log(ends[1] / ends[0]) / 20)
    assert run_cost(*where, 1e15) == pytest.approx(ends[1])
    assert math.isnan(run_cost(study, "freeze", 1234, "somebody/elses", 1e12))
