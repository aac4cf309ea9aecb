import json
import re

import nbformat
import pytest

from toolkit import report
from toolkit.cli import main
from toolkit.errors import ToolkitError
from toolkit.recipe.recommendation import recommend
from toolkit.recipe.study import Study
from toolkit.synthetic import DECODERS, run_table
from toolkit.text import scientific
from toolkit.words import method_name

pytestmark = pytest.mark.process

EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a {sweep}")
    table = run_table(ranks=(8, 64), seeds=(0,))
    table.loc[0, ["decoder", "status", "reason"]] = [EVIL, "diverged", EVIL]
    table.loc[0, "run"] = EVIL
    table.loc[1, "decoder"] = EVIL
    table.to_csv(folder / "runs.csv", index=False)
    (folder / "test").mkdir()
    unseen = run_table(decoders=(*DECODERS, "small-1.2m", "small-2.7m"), budgets=(1e14,))
    unseen.to_csv(folder / "test" / "runs.csv", index=False)
    assert main(["report", str(folder), "--flop", "2e12"]) == 0
    return folder, table


def test_the_report_writes_notebook_page_figures_and_recipes(built):
    folder, table = built
    assert {path.name for path in folder.iterdir()} == {
        "runs.csv", "test", "report.ipynb", "report.html", "recipe.json", "fits.json", "figures",
    }  # fmt: skip
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "loss_by_params.png", "loss_by_budget.png", "size_and_data_by_budget.png",
        "loss_by_lora_rank_lora.png", "trial.png",
    }  # fmt: skip
    answers = json.loads((folder / "recipe.json").read_text())["recipes"]
    assert [a["budget_flop"] for a in answers] == pytest.approx([2e12, 1e13, 10**13.5])
    assert answers[0] == recommend(table, budget_flop=2e12).to_dict()


def test_the_fits_are_there_in_full(built):
    told = json.loads((built[0] / "fits.json").read_text())
    assert set(told["methods"]) == {"full", "freeze", "lora", "bias"}
    for law in told["methods"].values():
        assert law["constants"].keys() >= {"E", "alpha", "beta", "A", "B"}
        assert law["isoflop"]["laws"].keys() == {"params", "tokens", "loss"}
    assert sum(told["law"]["weights"].values()) == pytest.approx(1)
    assert len(told["crossings"]) == 6


def test_runs_in_the_folder_test_put_the_recipe_to_the_test(tmp_path):
    run_table(seeds=(0, 1)).to_csv(tmp_path / "runs.csv", index=False)
    study = Study.of(report.read_table(tmp_path), draws=20)
    assert report.trial(study, tmp_path) is None
    (tmp_path / "test").mkdir()
    unseen = run_table(decoders=(*DECODERS, "small-1.2m", "small-2.7m"), budgets=(1e14,))
    unseen.iloc[:0].to_csv(tmp_path / "test" / "runs.csv", index=False)
    assert report.trial(study, tmp_path) is None
    unseen.to_csv(tmp_path / "test" / "runs.csv", index=False)
    assert report.trial(study, tmp_path).recipe.budget_flop == 1e14


def test_every_cell_of_the_report_ran_without_error(built):
    notebook = nbformat.read(built[0] / "report.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]


def test_the_page_needs_nothing_else_and_shows_no_code(built):
    page = (built[0] / "report.html").read_text()
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:|#)", page)
    assert "@import" not in page and "url(" not in page
    assert "read_table" not in page
    assert page.count("<img") == 5
    assert "The recipe put to the test" in page
    assert "How large a model?" in page


def test_text_from_the_data_is_escaped_in_the_page(built):
    page = (built[0] / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_second_report_says_the_same(built, capsys):
    folder, _ = built
    kept = {
        p: p.read_bytes()
        for p in [folder / "recipe.json", folder / "fits.json", *(folder / "figures").iterdir()]
    }
    assert main(["report", str(folder), "--flop", "2e12"]) == 0
    assert kept == {path: path.read_bytes() for path in kept}
    assert "How large a model?" in capsys.readouterr().out


def test_the_committed_notebook_has_no_outputs():
    notebook = nbformat.read(report.TEMPLATE, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)
    assert [c.id for c in notebook.cells] == [
        f"cell-{i:02d}" for i in range(1, 1 + len(notebook.cells))
    ]


def test_a_sweep_without_runs_is_one_sentence(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: no run table") and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_failing_notebook_is_one_sentence(tmp_path, monkeypatch):
    broken = nbformat.read(report.TEMPLATE, as_version=4)
    broken.cells[-1].source = "raise ValueError('no')"
    nbformat.write(broken, tmp_path / "broken.ipynb")
    monkeypatch.setattr(report, "TEMPLATE", tmp_path / "broken.ipynb")
    table = tmp_path / "x.csv"
    run_table(decoders=("small-7k",)).to_csv(table, index=False)
    with pytest.raises(ToolkitError, match="notebook failed: ValueError: no"):
        report.build(table)
    assert not (tmp_path / "x-report" / "report.html").exists()


def test_a_plain_table_is_reported_beside_itself(tmp_path):
    assert report.output_folder(tmp_path) == tmp_path
    assert report.output_folder(tmp_path / "runs.csv") == tmp_path / "runs-report"


def test_one_budget_is_stepped_beyond_by_ten():
    study = Study.of(run_table(budgets=(1e12,)), draws=20)
    assert report.reported_budgets(study) == (1e12, 1e13)


def test_tables_hold_a_row_for_every_method_budget_and_cut():
    study = Study.of(run_table(), draws=20)
    assert len(report.size_table(study)) == 4 * 5
    assert list(report.law_table(study).index) == [method_name(m) for m in study.methods]
    assert list(report.hindsight_table(study).index) == [scientific(b) for b in study.budgets[:-1]]
    (recipe, _) = report.recipes(study)
    assert len(report.method_table(recipe)) == 4
