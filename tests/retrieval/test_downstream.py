"""Loss and score of the same runs: how far one predicts the other, and run zero beside both."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.sweeps import record
from toolkit.cli import main
from toolkit.commands.downstream import as_text
from toolkit.errors import ToolkitError
from toolkit.figures.downstream import score_by_loss
from toolkit.recipe.downstream import by_score, downstream, scored
from toolkit.recipe.study import Study
from toolkit.records import table_csv
from toolkit.retrieval.similarity import Judged, correlate
from toolkit.retrieval.sweep_scores import _still_true
from toolkit.retrieval.tasks import find
from toolkit.runs import RunConfig
from toolkit.scores import NoScore, Score, as_csv, read_scores

SIZES = {"small-7k": 6592, "small-15k": 14496, "small-38k": 38176}


def made_up(tell):
    """Runs of three sizes at four budgets and, for each, a score that `tell` makes of its loss."""
    rows, scores = [], []
    random = np.random.default_rng(0)
    for decoder, params in SIZES.items():
        for budget in (1e10, 3e10, 1e11, 3e11):
            for seed in (0, 1):
                config = RunConfig(decoder, budget, seed=seed)
                loss = 1 + 40 * params**-0.3 + 3e3 * (budget / params) ** -0.5
                loss *= np.exp(random.normal(0, 0.005))
                made = record(
                    config, params=params, loss=loss, pairs=int(budget / params / 600),
                    unique_pairs=10**6,
                )  # fmt: skip
                rows.append(made)
                name = config.run_id
                value = tell(loss)
                scores.append(
                    Score(name, "run", "animals", "map", value, value, value, 9, "queries")
                )
    scores.append(Score("small-7k", "untuned", "animals", "map", 0.1, 0.05, 0.2, 9, "queries"))
    return rows, scores


def table_of(rows, tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(table_csv(rows))
    return pd.read_csv(path)


@pytest.fixture
def lawless(monkeypatch):
    """Without the laws, which take seconds and are not asked about."""
    monkeypatch.setattr("toolkit.recipe.downstream._by_laws", lambda *_: ())


def test_a_score_that_falls_with_the_loss_is_predicted_by_it(tmp_path, fitted_once):
    rows, scores = made_up(lambda loss: 1 / (1 + loss))
    found = downstream(table_of(rows, tmp_path), scores, "animals", draws=50)
    assert found.correlation.value == pytest.approx(-1)
    assert found.zero == {"small-7k": 0.1}
    measured = [p for p in found.preferences if p.source == "measured"]
    assert len(measured) == 4 and all(p.by_loss == p.by_score for p in measured)


def test_a_score_that_rises_with_the_loss_makes_the_best_sizes_differ(tmp_path, fitted_once):
    rows, scores = made_up(lambda loss: loss / (1 + loss))
    found = downstream(table_of(rows, tmp_path), scores, "animals", draws=50)
    assert found.correlation.value == pytest.approx(1)
    assert all(p.by_loss != p.by_score for p in found.preferences if p.source == "measured")


def test_laws_are_fitted_to_what_is_missing_from_a_perfect_score(tmp_path, fitted_once):
    rows, scores = made_up(lambda loss: 1 / (1 + loss))
    runs = scored(table_of(rows, tmp_path), scores, "animals", "map")
    table = by_score(runs)
    np.testing.assert_allclose(table["loss"], 1 - runs["score"])
    study = Study.of(table, draws=50)
    assert study.surface.cells.chance == 1.0
    law = [p for p in downstream(table_of(rows, tmp_path), scores, "animals", draws=50).preferences]
    assert [p.source for p in law[-2:]] == ["law", "law"]


def test_too_few_runs_with_a_score_say_how_to_have_more(tmp_path):
    rows, scores = made_up(lambda loss: 1 / loss)
    with pytest.raises(ToolkitError, match=r"3 finished runs have a score on animals.*keep: all"):
        downstream(table_of(rows, tmp_path), scores[:3], "animals")
    with pytest.raises(ToolkitError, match="nothing was scored on 'see-also'; known: animals"):
        downstream(table_of(rows, tmp_path), scores, "see-also")


def test_the_table_of_scores_survives_its_file_and_damage_is_told_by_line(tmp_path):
    _, scores = made_up(lambda loss: 1 / loss)
    path = tmp_path / "scores.csv"
    path.write_text(as_csv(scores))
    assert read_scores(path) == scores
    newer = replace(scores[0], value=0.5)
    path.write_text(as_csv([*scores, newer]))
    assert read_scores(path)[0] == newer and len(read_scores(path)) == len(scores)
    path.write_text(as_csv(scores).replace("untuned", "raw"))
    with pytest.raises(ToolkitError, match="line 26, has the kind 'raw'"):
        read_scores(path)
    with pytest.raises(ToolkitError, match=r"make them: python -m toolkit evaluate"):
        read_scores(tmp_path / "none" / "scores.csv")


@pytest.mark.parametrize(
    ("side", "told"), [("scores", "all 24 scores are 0.3333"), ("losses", "all 24 losses are 2")]
)
def test_where_one_side_is_constant_no_correlation_is_told_and_why(tmp_path, lawless, side, told):
    rows, scores = made_up(lambda loss: 1 / 3 if side == "scores" else 1 / loss)
    table = table_of(rows, tmp_path)
    if side == "losses":
        table["loss"] = 2.0
    found = downstream(table, scores, "animals", draws=50)
    assert found.untold == f"{told}, which has no order"
    text = as_text(found)
    assert f"Spearman's correlation cannot be told: {told}" in text and "nan" not in text
    title = score_by_loss(found).axes[0].get_title()
    assert told in title and "nan" not in title


def test_an_encoder_to_which_all_texts_are_one_has_no_rank_correlation():
    judged = Judged("lee", ("a", "b", "c"), np.array([[0, 1], [0, 2]]), np.array([1.0, 2.0]))
    with pytest.raises(NoScore, match=r"on lee cannot be told: all 2 cosines are 1, which has no"):
        correlate(judged, np.tile([[1.0, 0.0]], (3, 1)))


def noted(scores, *contents):
    """The same scores, of these contents in turn."""
    return [
        replace(score, content=content)
        for score, content in zip(scores, itertools.cycle(contents), strict=False)
    ]


def test_scores_of_different_contents_are_not_compared(tmp_path, lawless):
    rows, scores = made_up(lambda loss: 1 / loss)
    table = table_of(rows, tmp_path)
    with pytest.raises(ToolkitError, match=r"are of 2 different contents .* again: .* evaluate"):
        downstream(table, noted(scores, "one", "two"), "animals", draws=50)
    assert downstream(table, noted(scores, "one"), "animals", draws=50).content_note == ""
    half = downstream(table, noted(scores, "one", ""), "animals", draws=50)
    assert half.content_note.startswith("12 of the scores on animals were made before its content")


def test_scores_without_a_note_of_their_content_are_read_kept_and_told(folder, tmp_path):
    _, scores = made_up(lambda loss: 1 / loss)
    path, said = tmp_path / "scores.csv", []
    path.write_text("\n".join(line.rpartition(",")[0] for line in as_csv(scores).splitlines()))
    old = read_scores(path)
    assert old == scores
    task = find(str(folder))
    assert _still_true(old, [task], said.append) == old
    assert "25 encoders were judged on animals before its content was noted" in said[0]
    assert _still_true(noted(old, "gone", task.content), [task], said.append) == [
        score for score in noted(old, "gone", task.content) if score.content != "gone"
    ]


@pytest.mark.slow
def test_a_sweep_is_judged_with_its_decoders_untuned_and_only_what_is_missing(
    easy, folder, tmp_path, capsys, monkeypatch
):
    """A sweep that keeps its encoders, from its runs to the answer."""
    from toolkit.retrieval import sweep_scores
    from toolkit.training.run import train_encoder

    monkeypatch.setattr(
        sweep_scores, "contenders", lambda plan, real=sweep_scores.contenders: (
            one for one in real(plan) if one.kind != "other"
        ),
    )  # fmt: skip
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    base = {**easy, "budget_flop": 1e8}
    plan = {"base": base, "grid": [{"seed": [0, 1, 2, 3]}], "keep": "all"}
    (sweep / "sweep.yaml").write_text(json.dumps(plan))
    records = []
    for seed in range(4):
        config = RunConfig.from_dict({**base, "seed": seed})
        records.append(train_encoder(config, sweep / "runs" / config.run_id, keep=True)[0])
    (sweep / "runs.csv").write_text(table_csv(records))
    assert main(["evaluate", str(sweep), str(folder)]) == 0
    out = capsys.readouterr()
    assert "small-7k" in out.out and "untuned" in out.out and out.err.count(" on ") == 5
    scores = {(s.encoder, s.task, s.measure): s for s in read_scores(sweep / "scores.csv")}
    assert scores["small-7k", "held-out", "loss"].value > min(r.loss for r in records)
    assert main(["evaluate", str(sweep), str(folder)]) == 0
    assert capsys.readouterr().err == ""
    (folder / "qrels" / "test.tsv").write_text("q2\td2\t1\n")
    assert main(["evaluate", str(sweep), str(folder)]) == 0
    told = capsys.readouterr().err
    assert "animals has changed since 5 encoders were judged on it: again" in told
    assert told.count(" on animals\n") == 5
    figure = tmp_path / "figure.png"
    assert main(["downstream", str(sweep), "--task", "animals", "--figure", str(figure)]) == 0
    assert "Spearman" in capsys.readouterr().out and figure.stat().st_size > 10_000
    run = str(sweep / "runs" / records[0].config.run_id)
    assert main(["search", run, str(folder), "stock prices", "-k", "2", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert len(answer["found"]) == 2 and answer["found"][0]["similarity"] <= 1.0001


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: t.drop(columns="run"), "no column 'run'"),
        (lambda t: t.drop(columns="params"), "no column 'params'"),
        (lambda t: t.assign(loss="abc"), "'loss' must hold numbers; row 1 holds 'abc'"),
        (lambda t: t.assign(run="one"), "two runs called 'one'"),
    ],
)
def test_a_run_table_that_cannot_be_put_beside_scores_is_told(tmp_path, change, complaint):
    rows, scores = made_up(lambda loss: 1 / (1 + loss))
    scores.append(replace(scores[0], encoder="one"))
    with pytest.raises(ToolkitError, match=complaint):
        scored(change(table_of(rows, tmp_path)), scores, "animals", "map")


def test_runs_that_did_not_finish_or_are_called_by_numbers_are_no_trouble(tmp_path):
    rows, scores = made_up(lambda loss: 1 / (1 + loss))
    table = table_of(rows, tmp_path)
    names = {name: number for number, name in enumerate(table["run"], 100)}
    numbered = [replace(s, encoder=str(names.get(s.encoder, s.encoder))) for s in scores]
    table = table.assign(run=table["run"].map(names))
    table.loc[0, "status"] = "failed"
    assert len(scored(table, numbered, "animals", "map")) == len(rows) - 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1, lacks the columns encoder, kind"),
        ("encoder;kind;task\n", "line 1, lacks the columns encoder"),
        ("VALUE=inf", "line 2, has the value 'inf', no number"),
        ("VALUE=nan", "line 2, has the value 'nan', no number"),
        ("KIND=mine", "line 2, has the kind 'mine'; known: run"),
    ],
)
def test_scores_that_are_none_are_named(tmp_path, text, complaint):
    path = tmp_path / "scores.csv"
    field, _, value = text.partition("=")
    whole = as_csv([Score("a", "run", "t", "m", 0.25, 0.1, 0.4, 9, "queries")])
    old = {"VALUE": "0.25", "KIND": "run"}.get(field)
    path.write_text(whole.replace(old, value) if old else text)
    with pytest.raises(ToolkitError, match=complaint):
        read_scores(path)
    path.write_text(whole, encoding="utf-8-sig")
    assert read_scores(path)[0].value == 0.25
