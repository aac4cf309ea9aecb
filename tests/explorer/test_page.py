import json
import re

import numpy as np
import pytest

from toolkit.cli import main
from toolkit.explorer import app
from toolkit.explorer import page as page_module
from toolkit.explorer.page import write_page
from toolkit.recipe.recommendation import recommend_from
from toolkit.recipe.study import Study
from toolkit.synthetic import BUDGETS, TRUTH, run_table


def frames(page: str) -> dict:
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(data)


@pytest.fixture(scope="module")
def page(study, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "explorer.html"
    write_page(study, path, "A <title>", frames=11)
    return path.read_text(encoding="utf-8")


def test_the_page_holds_an_answer_for_every_position_of_the_slider(page, study):
    answers = frames(page)["answers"]
    budgets = [answer["flop"] for answer in answers]
    assert budgets == sorted(budgets) and set(BUDGETS) <= set(budgets)
    assert f'max="{len(answers) - 1}"' in page
    start = int(re.search(r'id="budget"[^>]*value="(\d+)"', page)[1])
    assert budgets[start] == BUDGETS[-1]
    recipe = recommend_from(study, budget_flop=budgets[3])
    assert f"{recipe.loss.value:.3f}" in answers[3]["html"]
    assert recipe.decoder.name in answers[3]["html"] and recipe.decoder.name in answers[3]["alt"]
    assert len({answer["png"] for answer in answers}) == len(answers)


def test_the_page_needs_nothing_else(page):
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:)", page)
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "@import" not in page and "fetch(" not in page


def test_the_title_is_escaped(page):
    assert "<title>A &lt;title&gt;</title>" in page


def test_data_cannot_end_the_script(tmp_path):
    evil = "</script><script>alert(1)</script>"
    study = Study.of(run_table(truth={"full": TRUTH["full"]}).assign(decoder=evil), draws=100)
    write_page(study, tmp_path / "page.html", "x", frames=2)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<script") == page.count("</script") == 2
    assert all(evil not in answer["html"] for answer in frames(page)["answers"])


@pytest.mark.slow
def test_where_no_sweep_has_run_the_command_shows_the_example(tmp_path, fitted_once, monkeypatch):
    written = []
    monkeypatch.setattr(app, "find_sweeps", lambda **_: {})
    monkeypatch.setattr(page_module, "write_page", lambda *given: written.append(given))
    assert main(["explorer", "--output", str(tmp_path / "explorer.html")]) == 0
    ((study, _, title),) = written
    assert "example" in title and "synthetic" in title and "lora" in study.methods


@pytest.mark.slow
def test_the_command_writes_the_page(tmp_path, capsys):
    run_table(noise=0).to_csv(tmp_path / "runs.csv", index=False)
    target = tmp_path / "explorer.html"
    assert main(["explorer", str(tmp_path), "--output", str(target)]) == 0
    assert target.stat().st_size < 4e6
    assert np.isfinite([a["flop"] for a in frames(target.read_text())["answers"]]).all()
    assert main(["explorer", str(tmp_path), "--output", str(tmp_path / "no" / "x.html")]) == 2
    assert main(["explorer", str(tmp_path / "nothing")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and all(line.startswith("error: ") for line in said)
