"""`python -m toolkit fit`: flags, JSON keys, and mistakes that end in one sentence."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.laws.published import published
from tests.laws.simulation import isoflop_table
from toolkit.cli import main
from toolkit.laws import FORMS

KEYS = {
    "form", "objective", "status", "n_points", "dropped", "params", "derived", "starts", "rivals",
    "warnings",
}  # fmt: skip


@pytest.fixture
def fit_json(capsys):
    """Runs `fit … --json` and gives back what it printed."""

    def run(*args):
        assert main(["fit", *map(str, args), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def sentence(capsys):
    """Runs a `fit` that must fail, and gives back its one sentence."""

    def run(*args):
        assert main(["fit", *map(str, args)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        return error

    return run


def write(path, table):
    table.to_csv(path, index=False)
    return path


@pytest.fixture
def sweep(tmp_path):
    """A sweep's folder: two methods, five budgets, seven sizes."""
    parts = [
        isoflop_table(np.random.default_rng(seed), loss=lambda c, p=p: 2 + 0.6 * (c / 1e12) ** p)
        .assign(method=method)
        for seed, (method, p) in enumerate({"full": -0.1, "lora": -0.25}.items())
    ]  # fmt: skip
    write(tmp_path / "runs.csv", pd.concat(parts))
    return tmp_path


@pytest.fixture
def points(tmp_path):
    """A table of one input with a saturating loss."""
    budgets = np.geomspace(1e15, 1e20, 12)
    loss = FORMS["saturating"].value([2.0, 500.0, 0.15], budgets)
    loss *= np.exp(0.003 * np.random.default_rng(0).normal(size=12))
    return write(tmp_path / "points.csv", pd.DataFrame({"budget_flop": budgets, "loss": loss}))


def test_json_has_the_promised_keys(fit_json, points):
    report = fit_json(points, "--form", "saturating", "--bootstrap", 50)
    assert set(report) >= KEYS
    assert set(report["params"]) == {"E", "A", "alpha"}
    assert set(report["params"]["E"]) == {"value", "low", "high"}
    assert set(report["starts"]) == {"tried", "reached_best"}
    assert report["params"]["E"]["low"] < report["params"]["E"]["value"]


def test_numbers_are_stored_at_full_precision(fit_json, points):
    value = fit_json(points, "--form", "saturating", "--bootstrap", 0)["params"]["alpha"]["value"]
    assert len(repr(value)) > 14


def test_the_data_of_residual_plots_is_stored(fit_json, points, sweep):
    law = fit_json(points, "--form", "saturating", "--bootstrap", 0)["residuals"]
    assert law["seen"] == pytest.approx(pd.read_csv(points).loss.tolist())
    assert law["predicted"] == pytest.approx(law["seen"], rel=0.02)
    report = fit_json(sweep, "--form", "isoflop", "--bootstrap", 0)
    misfit = np.subtract(report["residuals"]["seen"], report["residuals"]["predicted"])
    assert (misfit**2).sum() == pytest.approx(report["objective"])


def test_without_a_bootstrap_intervals_are_null(fit_json, points):
    report = fit_json(points, "--form", "saturating", "--bootstrap", 0)
    assert report["params"]["E"]["low"] is None


def test_a_sweeps_folder_is_a_table(fit_json, sweep):
    report = fit_json(sweep, "--form", "isoflop", "--keep", "params=2e4:", "--bootstrap", 20)
    assert report["x"] == "params"
    assert len(report["minima"]) == 5
    assert set(report["params"]) == {"exponent", "coefficient"}
    assert any("--group method" in warning for warning in report["warnings"])


def with_poor_ranks(sweep):
    """The sweep's LoRA runs at rank 8, and each of them again at rank 1, one nat worse."""
    table = pd.read_csv(sweep / "runs.csv")
    lora = table.method == "lora"
    table.loc[lora, "lora_rank"] = 8
    poor = table[lora].assign(lora_rank=1, loss=table.loss[lora] + 1)
    write(sweep / "runs.csv", pd.concat([table, poor]))
    return len(poor)


def test_of_a_sweeps_folder_the_best_settings_count_as_in_the_recipe(fit_json, sweep):
    asked = ("--form", "isoflop", "--group", "method", "--bootstrap", 0)
    before = fit_json(sweep, *asked)
    poor = with_poor_ranks(sweep)
    after = fit_json(sweep, *asked)
    assert after["groups"] == before["groups"]
    assert [some["count"] for some in after["left_out"]] == [poor]
    assert "other settings did better" in after["left_out"][0]["reason"]


def test_of_a_csv_every_row_counts(fit_json, sweep):
    poor = with_poor_ranks(sweep)
    report = fit_json(
        sweep / "runs.csv", "--form", "isoflop", "--group", "method", "--bootstrap", 0
    )
    assert report["groups"]["lora"]["n_points"] == 2 * poor


def test_settings_that_are_compared_do_not_compete(fit_json, sweep):
    poor = with_poor_ranks(sweep)
    report = fit_json(sweep, "--form", "isoflop", "--group", "lora_rank", "--bootstrap", 0)
    assert {name: group["n_points"] for name, group in report["groups"].items()} == {
        "8.0": poor,
        "1.0": poor,
    }


def test_kept_rows_compete_with_each_other_only(fit_json, sweep):
    poor = with_poor_ranks(sweep)
    report = fit_json(sweep, "--form", "isoflop", "--keep", "lora_rank=1:1", "--bootstrap", 0)
    assert report["n_points"] == poor


def test_the_data_constrained_law_of_a_sweep_keeps_the_limited_runs(fit_json, sweep):
    table = pd.read_csv(sweep / "runs.csv").assign(pairs=1000, unique_pairs=1000, max_pairs=np.nan)
    few = table[table.method == "full"].assign(unique_pairs=100, max_pairs=100)
    few["loss"] += 0.5
    write(sweep / "runs.csv", pd.concat([table, few]))
    asked = (sweep, "--keep", "params=1:", "--group", "method", "--bootstrap", 0, "--starts", 3)
    held = fit_json(*asked, "--form", "data-constrained")["groups"]["full"]["n_points"]
    assert held == 2 * len(few)
    report = fit_json(*asked, "--form", "isoflop")
    assert report["groups"]["full"]["n_points"] == len(few)
    assert "fewer distinct pairs" in report["left_out"][0]["reason"]


def test_groups_get_laws_of_their_own_and_are_compared(fit_json, sweep):
    report = fit_json(sweep, "--form", "isoflop", "--group", "method", "--bootstrap", 100)
    assert set(report["groups"]) == {"full", "lora"}
    (crossing,) = report["crossovers"]
    assert crossing["better_above"] == "lora"
    assert crossing["budget_flop"]["low"] < 1e12 < crossing["budget_flop"]["high"]
    assert report["joint"]["shared"] == ["E"]


def test_a_group_without_a_law_says_why_and_the_others_go_on(fit_json, sweep):
    table = pd.read_csv(sweep / "runs.csv")
    lone = table[(table.method == "lora") & (table.budget_flop > 1e11)].index
    write(sweep / "runs.csv", table.drop(index=lone))
    report = fit_json(sweep, "--form", "isoflop", "--group", "method", "--bootstrap", 20)
    assert set(report["groups"]) == {"full"}
    assert "needs at least 3 budgets" in report["failed"]["lora"]


def test_runs_are_resampled_within_the_budgets_they_share(fit_json, sweep):
    report = fit_json(
        sweep, "--form", "parametric", "--group", "method", "--bootstrap", 10, "--starts", 10
    )
    assert [g["bootstrap"]["strata"] for g in report["groups"].values()] == [5, 5]


def test_held_out_budgets_are_predicted_on_request(fit_json, sweep):
    report = fit_json(
        sweep, "--form", "isoflop", "--group", "method", "--bootstrap", 0, "--held-out"
    )
    assert report["groups"]["full"]["held_out"]["best"]


def test_the_parametric_law_takes_its_tokens_from_flop_where_there_are_none(fit_json, tmp_path):
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e10, 5), np.geomspace(1e9, 1e12, 5)))
    theta = [1.8, 400.0, 0.34, 2000.0, 0.37]
    loss = FORMS["parametric"].value(theta, [n, d])
    path = write(tmp_path / "t.csv", pd.DataFrame({"size": n, "flop": 6 * n * d, "y": loss}))
    report = fit_json(
        path, "--form", "parametric", "--params", "size", "--flop", "flop", "--loss", "y",
        "--bootstrap", 0, "--starts", 20,
    )  # fmt: skip
    assert [p["value"] for p in report["params"].values()] == pytest.approx(theta, rel=1e-3)
    assert "tokens taken as flop / (6 size)" in report["warnings"]


def test_the_data_constrained_law_reads_unique_tokens(fit_json, tmp_path):
    n, d, u = (
        a.ravel()
        for a in np.meshgrid(np.geomspace(1e7, 3e10, 4), np.geomspace(1e9, 3e11, 4), [5e9, 3e10])
    )
    theta = [1.8, 400.0, 0.34, 2000.0, 0.37, 5.0, 15.0]
    loss = FORMS["data-constrained"].value(theta, [n, d, u])
    columns = {"params": n, "tokens": d, "distinct": u, "loss": loss}
    report = fit_json(
        write(tmp_path / "t.csv", pd.DataFrame(columns)), "--form", "data-constrained",
        "--unique-tokens", "distinct", "--bootstrap", 0, "--starts", 40,
    )  # fmt: skip
    assert report["params"]["R_D"]["value"] == pytest.approx(15, rel=0.01)


def test_the_fine_tuning_law_reads_x_and_y(fit_json, tmp_path):
    data = np.geomspace(1e2, 1e9, 14)
    loss = FORMS["finetune"].value([1.5, 3.5, 0.5, -6.0], data)
    path = write(tmp_path / "t.csv", pd.DataFrame({"pairs": data, "test": loss}))
    report = fit_json(
        path, "--form", "finetune", "--x", "pairs", "--y", "test", "--bootstrap", 0, "--starts", 40
    )
    assert report["params"]["A"]["value"] == pytest.approx(3.5, rel=1e-3)
    assert set(report["derived"]) == {"D_l", "B"}


def test_budgets_asked_about_are_answered_with_intervals(fit_json, sweep):
    report = fit_json(
        sweep, "--form", "isoflop", "--group", "method", "--bootstrap", 100, "--at", "1e13",
        "--at", "1e15",
    )  # fmt: skip
    near, far = report["groups"]["lora"]["at"]
    assert near["params"]["low"] < near["params"]["value"] < near["params"]["high"]
    assert (near["extrapolated"], far["extrapolated"]) == (False, True)
    assert [v["better"] for v in report["better_at"]] == ["lora", "lora"]


def test_least_squares_fits_carry_profile_intervals_too(fit_json, points):
    report = fit_json(points, "--form", "saturating", "--bootstrap", 50)
    assert set(report["profile"]) == {"E", "A", "alpha"}
    assert report["profile"]["E"]["low"] < report["params"]["E"]["value"]


def test_a_law_of_params_and_tokens_says_how_it_splits_a_budget(tmp_path, capsys):
    inputs = np.array(
        [[n, d] for n in np.geomspace(1e6, 1e9, 4) for d in np.geomspace(1e9, 1e12, 4)]
    )
    loss = FORMS["parametric"].value([1.8, 400.0, 0.34, 2000.0, 0.37], inputs.T)
    table = pd.DataFrame({"params": inputs[:, 0], "tokens": inputs[:, 1], "loss": loss})
    path = write(tmp_path / "t.csv", table)
    main(["fit", str(path), "--form", "parametric", "--bootstrap", "0", "--at", "1e18"])
    assert "with C = 6 N D" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("x", "files"),
    [
        ("params", {"parabolas", "params-law", "tokens-law", "loss-law", "rollout"}),
        ("tokens", {"parabolas", "params-law", "tokens-law", "loss-law", "rollout"}),
    ],
)
def test_figures_of_every_group_are_written_on_request(fit_json, sweep, x, files):
    report = fit_json(
        sweep, "--form", "isoflop", "--x", x, "--group", "method", "--bootstrap", 50,
        "--held-out", "--figures", sweep / "figures",
    )  # fmt: skip
    for label in ("full", "lora"):
        written = {path.stem for path in (sweep / "figures" / label).glob("*.png")}
        assert written == files
        assert len(report["groups"][label]["figures"]) == len(files)


def test_a_law_has_figures_of_its_fit_residuals_profiles_and_rivals(fit_json, points, tmp_path):
    folder = tmp_path / "figures"
    fit_json(points, "--form", "saturating", "--bootstrap", 50, "--figures", folder)
    written = {path.stem for path in folder.glob("*.png")}
    assert written == {"fit", "residuals", "profiles", "rivals"}


def test_figures_that_cannot_be_written_are_one_sentence(sentence, points):
    said = sentence(points, "--form", "power", "--bootstrap", "0", "--figures", points)
    assert "cannot write in" in said


def test_rows_left_out_are_listed_with_their_reasons(fit_json, points):
    report = fit_json(
        points, "--form", "saturating", "--bootstrap", 0, "--keep", "budget_flop=1e15:3e19",
        "--drop-highest-loss", 1,
    )  # fmt: skip
    reasons = {d["reason"]: d["rows"] for d in report["dropped"]}
    assert reasons["loss is among the 1 highest"] == [1]
    assert len(reasons["budget_flop is not within 1e+15 and 3e+19"]) == 2


def test_parameters_may_be_pinned_and_starts_given(fit_json, points):
    report = fit_json(
        points, "--form", "saturating", "--bootstrap", 0, "--pin", "E=2", "--start", "alpha=0.3"
    )
    assert report["pinned"] == {"E": 2.0}
    assert report["params"]["E"]["value"] == 2.0
    assert report["starts"] == {"tried": 1, "reached_best": 1}


def test_the_text_names_the_law_its_intervals_and_its_warnings(points, capsys):
    args = ["fit", str(points), "--form", "saturating", "--bootstrap", "100", "--keep",
            "budget_flop=1e15:1e18"]  # fmt: skip
    assert main(args) == 0
    text = capsys.readouterr().out
    assert "L(C) = E + A C^-alpha" in text
    assert "too few to judge" in text


def test_the_published_chinchilla_fit_comes_from_the_command_line(fit_json):
    report = fit_json(
        published("chinchilla"), "--form", "parametric", "--flop", "train_flop",
        "--drop-highest-loss", 5, "--bootstrap", 0,
    )  # fmt: skip
    assert report["objective"] <= 1.01830e-3
    assert report["n_points"] == 240
    assert report["params"]["alpha"]["value"] == pytest.approx(0.3473, abs=1e-3)


def test_the_published_chinchilla_fit_comes_from_a_form_of_ones_own(fit_json):
    report = fit_json(
        published("chinchilla"), "--objective", "huber-log", "--drop-highest-loss", 5,
        "--form", "E + A*(params/1e6)**-alpha + B*(train_flop/(6*params))**-beta",
        "--bootstrap", 0, "--starts", 50,
    )  # fmt: skip
    assert report["objective"] <= 1.01830e-3
    assert report["params"]["beta"]["value"] == pytest.approx(0.3672, abs=1e-3)
    in_millions = 477.84 * 1e6**-0.34731
    assert report["params"]["A"]["value"] == pytest.approx(in_millions, rel=0.02)
    assert report["middle"]["amplitudes"]["A"]["value"] == pytest.approx(0.379, abs=0.002)


def test_the_published_llama_3_law_comes_from_the_command_line(fit_json):
    report = fit_json(published("llama3"), "--form", "isoflop")
    assert report["params"]["exponent"]["value"] == pytest.approx(0.537, abs=0.002)
    assert report["params"]["coefficient"]["value"] == pytest.approx(0.299, rel=0.01)


def test_the_published_refinedweb_exponents_come_from_the_command_line(fit_json):
    report = fit_json(
        published("refinedweb"), "--form", "power", "--x", "budget_flop", "--y",
        "params_opt", "--sigma", "params_opt_std", "--group", "config", "--bootstrap", 0,
    )  # fmt: skip
    found = [group["params"]["exponent"]["value"] for group in report["groups"].values()]
    assert found == pytest.approx([0.83530, 0.70647, 0.60204, 0.57149, 0.49690], abs=1e-4)


BOUNDED = [1.2, 40.0, 0.45, 3000.0, 0.5, float(np.log(1024))]


def study(**changes):
    """Runs of a bounded law over 1,024 candidates; `changes` are columns, None to leave one out."""
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(3e3, 3e6, 6), np.geomspace(1e5, 1e8, 6)))
    loss = FORMS["bounded"].value(BOUNDED, [n, d])
    loss *= np.exp(0.01 * np.random.default_rng(0).normal(size=36))
    columns = {"params": n, "tokens": d, "loss": loss, "candidates": 1024} | changes
    return pd.DataFrame({name: values for name, values in columns.items() if values is not None})


def test_the_bounded_law_takes_chance_from_the_tables_candidates(fit_json, tmp_path):
    report = fit_json(write(tmp_path / "t.csv", study()), "--form", "bounded", "--bootstrap", 300)
    assert report["pinned"] == {"ceiling": pytest.approx(np.log(1024))}
    for name, truth in zip(("E", "A", "alpha", "B", "beta"), BOUNDED, strict=False):
        assert report["params"][name]["low"] < truth < report["params"][name]["high"]
    assert report["columns"]["candidates"] == "candidates"
    assert set(report["profile"]) == {"E", "A", "alpha", "B", "beta"}


def test_candidates_may_be_a_column_of_another_name_or_a_number(fit_json, tmp_path):
    whole = fit_json(write(tmp_path / "a.csv", study()), "--form", "bounded", "--bootstrap", 0)
    other = write(tmp_path / "b.csv", study(candidates=None, pool=1024))
    for given in ("pool", "1024"):
        report = fit_json(other, "--form", "bounded", "--bootstrap", 0, "--candidates", given)
        assert report["params"] == whole["params"]


def test_losses_above_chance_are_left_out_and_named(fit_json, tmp_path):
    table = study()
    table.loc[[3, 5], "loss"] = [7.1, np.log(1024)]
    report = fit_json(write(tmp_path / "t.csv", table), "--form", "bounded", "--bootstrap", 0)
    (dropped,) = report["dropped"]
    assert dropped["rows"] == [4, 6]
    assert "not below chance, ln 1024 = 6.931" in dropped["reason"]
    assert any("2 rows left out: loss is not below chance" in said for said in report["warnings"])


def test_the_bounded_law_knows_what_repeats_are_worth_where_it_is_told(fit_json, tmp_path):
    table = pd.concat([study(), study()], ignore_index=True)
    table["unique_tokens"] = np.repeat([1e9, 3e6], 36)
    theta = [*BOUNDED, 8.0]
    table["loss"] = FORMS["bounded-repeats"].value(
        theta, table[["params", "tokens", "unique_tokens"]].to_numpy().T
    ) * np.exp(0.003 * np.random.default_rng(0).normal(size=72))
    path = write(tmp_path / "t.csv", table)
    report = fit_json(path, "--form", "bounded-repeats", "--bootstrap", 200)
    assert report["params"]["R_D"]["low"] < 8 < report["params"]["R_D"]["high"]
    plain = fit_json(path, "--form", "bounded", "--bootstrap", 0)
    assert plain["objective"] > 2 * report["objective"]
    assert any("18 of 72 runs see data again" in said for said in plain["warnings"])
    fresh = write(tmp_path / "f.csv", study(unique_tokens=1e9))
    report = fit_json(fresh, "--form", "bounded-repeats", "--bootstrap", 0)
    assert any("R_D cannot be told" in said for said in report["warnings"])


def test_methods_of_bounded_laws_are_compared_by_their_asymptote(fit_json, tmp_path):
    both = pd.concat([study(method="full"), study(method="lora", loss=study().loss * 1.02)])
    report = fit_json(
        write(tmp_path / "t.csv", both), "--form", "bounded", "--group", "method", "--bootstrap", 0
    )
    assert report["joint"]["shared"] == ["E"]
    assert report["joint"]["params"]["ceiling"] == pytest.approx(np.log(1024))


@pytest.mark.parametrize(
    ("changes", "args", "expected"),
    [
        ({"candidates": None}, (), "no column 'candidates', over how many candidates the loss"),
        ({"candidates": [512, 1024] * 18}, (), "several values (512, 1024)"),
        ({"candidates": 1}, (), "two candidates or more; column 'candidates' has 1"),
        ({"candidates": "many"}, (), "must hold numbers"),
        ({"candidates": None}, ("--candidates", "1"), "two candidates or more; --candidates has 1"),
        (
            {"candidates": None},
            ("--candidates", "nan"),
            "two candidates or more; --candidates has nan",
        ),
        ({"candidates": None}, ("--candidates", "pool"), "no column 'pool', over how many"),
        ({"loss": np.linspace(6.88, 6.95, 36)}, (), "all 36 runs are at chance"),
        ({"loss": np.linspace(7, 8, 36)}, (), "all 36 runs are at chance"),
        ({"params": 1e5}, (), "different values of params"),
        (
            {},
            ("--form", "saturating", "--x", "tokens", "--pin", "ceiling=1"),
            "no parameter 'ceiling'",
        ),
        ({}, ("--pin", "A=40"), "pin alpha too"),
        ({}, ("--objective", "asymmetric"), "unknown objective 'asymmetric'; did you mean"),
        ({}, ("--at", "params=1e6"), "the point lacks tokens"),
        ({}, ("--at", "params=1e6,tokans=1e9"), "did you mean tokens"),
        ({}, ("--at", "params=1e6,tokens=0"), "positive numbers"),
        ({}, ("--at", "params=1e6,params=1e7"), "names a column twice"),
        ({}, ("--at", "params=1e6,"), "NAME=VALUE"),
    ],
)
def test_a_mistake_about_a_bounded_law_is_one_sentence(changes, args, expected, sentence, tmp_path):
    path = write(tmp_path / "t.csv", study(**changes))
    assert expected in sentence(path, "--form", "bounded", "--bootstrap", 0, "--starts", 5, *args)


@pytest.mark.parametrize("form", ["bounded", "E + A*params**-alpha + B*tokens**-beta"])
def test_a_law_answers_at_any_point_of_its_columns(form, fit_json, tmp_path):
    path = write(tmp_path / "t.csv", study())
    report = fit_json(
        path, "--form", form, "--bootstrap", 100, "--starts", 50,
        "--at", "params=1e5,tokens=1e7", "--at", "params=7e9,tokens=4e12", "--at", "1e13",
    )  # fmt: skip
    inside, beyond, budget = report["at"]
    assert inside["at"] == {"params": 1e5, "tokens": 1e7}
    assert inside["loss"]["low"] < inside["loss"]["value"] < inside["loss"]["high"]
    assert (inside["extrapolated"], beyond["extrapolated"]) == (False, True)
    assert budget["params"]["value"] * budget["tokens"]["value"] == pytest.approx(1e13 / 6)


def test_a_point_may_name_flop_where_tokens_are_taken_from_it(fit_json, tmp_path):
    table = study(candidates=None)
    table = table.assign(flop=6 * table.params * table.tokens).drop(columns="tokens")
    report = fit_json(
        write(tmp_path / "t.csv", table), "--form", "parametric", "--flop", "flop", "--bootstrap",
        0, "--starts", 20, "--at", "params=1e5,flop=6e12", "--at", "params=1e5,tokens=1e7",
    )  # fmt: skip
    one, other = report["at"]
    assert one["loss"] == pytest.approx(other["loss"])


@pytest.mark.slow
def test_a_form_of_ones_own_is_fitted_like_any_other(fit_json, tmp_path):
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e10, 5), np.geomspace(1e9, 1e12, 5)))
    theta = [1.8, 400.0, 0.34, 2000.0, 0.37]
    loss = FORMS["parametric"].value(theta, [n, d])
    loss *= np.exp(1e-5 * np.random.default_rng(0).normal(size=25))
    path = write(tmp_path / "t.csv", pd.DataFrame({"size": n, "data": d, "y": loss}))
    report = fit_json(
        path, "--form", "E + A*size**-alpha + B*data**-beta", "--y", "y", "--bootstrap", 20,
        "--starts", 30, "--at", "size=1e9,data=1e11", "--figures", tmp_path / "figures",
    )  # fmt: skip
    assert [p["value"] for p in report["params"].values()] == pytest.approx(theta, rel=0.01)
    assert (report["form"], report["status"]) == ("custom", "ok")
    assert report["equation"] == "loss = E + A*size**-alpha + B*data**-beta"
    assert set(report["middle"]["amplitudes"]) == {"A", "B"}
    assert {path.stem for path in (tmp_path / "figures").glob("*.png")} >= {"fit", "residuals"}
    named = fit_json(
        path, "--form", "E + A*params**-alpha + B*tokens**-beta", "--y", "y", "--params", "size",
        "--tokens", "data", "--bootstrap", 0, "--starts", 30, "--at", "1e20",
    )  # fmt: skip
    assert named["params"]["A"]["value"] == pytest.approx(400, rel=0.01)
    assert named["at"][0]["params"]["value"] > 0


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("boundd", "unknown form 'boundd'; did you mean bounded"),
        ("E + A*", "cannot be read"),
        ("E + A*N**-alpha", "names no column"),
        ("E + A/0*params", "divides by zero"),
        ("open('x')*params", "not allowed"),
        ("E + A*decoder**-alpha", "must hold numbers"),
        ("A*params + B*params + C*params + D*params" + "".join(
            f" + X{i}*tokens" for i in range(40)), "44 free parameters and needs at least 45 runs"),
    ],
)  # fmt: skip
def test_a_mistaken_form_is_one_sentence(form, expected, sentence, tmp_path):
    path = write(tmp_path / "t.csv", study(decoder="small"))
    assert expected in sentence(path, "--form", form, "--bootstrap", 0)


def test_the_text_tells_what_the_terms_are_at_the_middle_of_the_table(tmp_path, capsys):
    path = write(tmp_path / "t.csv", study())
    assert main(["fit", str(path), "--form", "bounded", "--bootstrap", "50", "--at",
                 "params=1e5,tokens=1e7"]) == 0  # fmt: skip
    text = capsys.readouterr().out
    assert "ceiling            6.93147, pinned" in text
    assert "at the middle, params 9.49e+04, tokens 3.16e+06: loss " in text
    assert "at params 1e+05, tokens 1e+07: loss " in text


GOOD = {"budget_flop": [1e12, 1e13, 1e14] * 4, "params": [1e4, 1e5, 1e6, 1e7] * 3}


@pytest.mark.parametrize(
    ("changes", "args", "expected"),
    [
        ({"loss": None}, (), "no column 'loss'"),
        ({"params": ["big"] * 12}, (), "row 1 holds 'big'"),
        ({"budget_flop": [0.0] * 12}, (), "positive finite numbers"),
        ({"budget_flop": [-1e12] * 12}, (), "positive finite numbers"),
        ({"budget_flop": [1e12] * 12}, (), "needs at least 3 budgets and has 1"),
        ({"loss": [float("inf")] * 12}, (), "no row of the table is left"),
        ({"loss": [float("nan")] * 12}, (), "no row of the table is left"),
        ({}, ("--keep", "params=5:1"), "low end is above"),
        ({}, ("--keep", "params"), "COL=LOW:HIGH"),
        ({}, ("--keep", "parms=1:2"), "did you mean params"),
        ({}, ("--bootstrap", "-1"), "whole number"),
        ({}, ("--starts", "many"), "whole number"),
        ({}, ("--drop-highest-loss", "99"), "cannot drop"),
        ({}, ("--group", "method"), "no column 'method'"),
        ({}, ("--pin", "E"), "NAME=VALUE"),
        ({}, ("--objective", "huber-log"), "lsq"),
        ({}, ("--x", "paramz"), "did you mean params"),
        ({}, ("--at", "0"), "positive number"),
    ],
)
def test_a_mistake_is_one_sentence(changes, args, expected, sentence, tmp_path):
    columns = {**GOOD, "loss": np.linspace(4, 3, 12), **changes}
    table = pd.DataFrame({name: values for name, values in columns.items() if values is not None})
    path = write(tmp_path / "t.csv", table)
    assert expected in sentence(path, "--form", "isoflop", *args)


def test_too_few_rows_say_how_many_are_needed(sentence, tmp_path):
    path = write(tmp_path / "t.csv", pd.DataFrame({"budget_flop": [1e12, 1e13], "loss": [4, 3]}))
    said = sentence(path, "--form", "saturating")
    assert "needs at least 4 runs, better 5; there are 2" in said


def test_columns_are_called_by_their_own_names(sentence, points):
    table = pd.read_csv(points).assign(flop=1e15)
    write(points, table)
    assert "different values of flop" in sentence(points, "--form", "saturating", "--x", "flop")


def test_a_missing_table_is_one_sentence(sentence, tmp_path):
    assert "no run table" in sentence(tmp_path / "nowhere.csv", "--form", "power")


def test_a_file_that_is_no_table_is_one_sentence(sentence, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xff\xfe\x00\x01 not a table")
    sentence(path, "--form", "power")


def test_repeated_rows_count_once(fit_json, points):
    plain = fit_json(points, "--form", "saturating", "--bootstrap", 0)
    table = pd.read_csv(points)
    write(points, pd.concat([table, table, table]))
    tripled = fit_json(points, "--form", "saturating", "--bootstrap", 0)
    assert tripled["n_points"] == plain["n_points"]
    assert tripled["params"] == plain["params"]
    assert tripled["dropped"][0]["count"] == 24


@pytest.mark.slow
def test_a_very_large_table_gets_a_right_answer_with_intervals(fit_json, tmp_path):
    rng = np.random.default_rng(0)
    budgets = np.exp(rng.uniform(np.log(1e15), np.log(1e20), 200_000))
    loss = FORMS["saturating"].value([2.0, 500.0, 0.15], budgets)
    loss *= np.exp(0.01 * rng.normal(size=len(budgets)))
    path = write(tmp_path / "t.csv", pd.DataFrame({"budget_flop": budgets, "loss": loss}))
    report = fit_json(path, "--form", "saturating")
    assert report["n_points"] == 200_000
    assert report["bootstrap"]["scheme"] == "sandwich"
    for name, truth in (("E", 2.0), ("A", 500.0), ("alpha", 0.15)):
        estimate = report["params"][name]
        assert estimate["value"] == pytest.approx(truth, rel=0.01)
        assert estimate["low"] < estimate["value"] < estimate["high"]


def test_a_group_whose_budgets_bracket_no_minimum_has_an_unknown_exponent(tmp_path, capsys):
    table = isoflop_table(np.random.default_rng(0)).sort_values(["budget_flop", "params"])
    smallest = table.groupby("budget_flop").head(3)
    one = pd.concat([smallest.assign(method="edge"), table.assign(method="whole")])
    path = write(tmp_path / "runs.csv", one)
    assert main(["fit", str(path), "--form", "isoflop", "--group", "method"]) == 0
    edge = capsys.readouterr().out.split("method whole")[0]
    assert "exponent           unknown" in edge
