"""The walkthroughs: all of them are built for teaching, and their exercises really check.

One kernel a notebook plays a student: it leaves each exercise open, then gets it wrong, then takes
the folded solution. Cells tagged `demonstration` train and draw what no exercise needs; they are
left to `make docs`, which runs every cell as it ships and compares the outputs that are stored.
"""

import ast
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import toolkit
from toolkit import decoders, teaching
from toolkit.errors import ToolkitError
from toolkit.methods import STUDIED
from toolkit.teaching import Wrong, check, real_or, some_runs

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
WALKTHROUGHS = sorted(NOTEBOOKS.glob("0*.ipynb"))

# What a student may well answer, exercise by exercise.
MISTAKES = {
    "00_before_and_after": (
        "def nearest_rows(vectors, asked, k):\n    return np.argsort(vectors @ asked)[:k]",
        "def place_of_the_right_one(scores):\n"
        "    return (scores > scores.diagonal()[:, None]).sum(1)",
        "def blind_place(n):\n    return n / 2",
    ),
    "01_from_decoder_to_encoder": (
        "def chance(n):\n    return 1 / n",
        "def last_token(states, lengths):\n    return states[:, -1]",
        "mean_reciprocal_rank = 1 / places(before).mean()",
    ),
    "02_counting_flops": (
        "def linear_flops(tokens, inputs, outputs, input_gradient, weight_gradient):\n"
        "    return 6 * tokens * inputs * outputs",
        "lowest_rank = shape.hidden // 2",
        "half_way_length = 2 * 512",
    ),
    "03_four_ways_to_fine_tune": (
        "def lora_params(h, layers, rank):\n    return layers * rank * 12 * h",
        "def merged(weight, a, b, alpha):\n    return weight + b @ a",
        "def steps_for(budget_flop, shape, how, query_tokens, positive_tokens, pairs=16):\n"
        "    return budget_flop / (6 * shape.params * pairs * (query_tokens + positive_tokens))",
    ),
    "04_the_cached_gradient_trick": (
        "def score_gradient(scores):\n    return scores.softmax(1) - torch.eye(len(scores))",
        'extra = {"full": 1 / 3, "bias": 1 / 3, "freeze": 1 / 3}',
        "fewest = 100",
    ),
    "05_laws_from_runs": (
        "def lowest_loss(c2, c1, c0):\n    return -c1 / (2 * c2)",
        "def token_growth(alpha, beta):\n    return 100 ** (beta / (alpha + beta))",
        "tried = list(DECODERS[3:])\nadded = []",
    ),
    "06_the_four_answers": (
        "def flop_of(hours, peak_flop_per_second, share):\n"
        "    return hours * 60 * peak_flop_per_second * share",
        'winners_by_budget = ["bias" for budget in study.budgets]',
        "times_seen = recommend_from(study, budget_flop=high).data.epochs * 2",
    ),
    "07_trust": (
        "def kept(low_ends, high_ends, measured):\n    return (low_ends <= measured).mean()",
        "def seed_noise(first, second):\n    return (first - second).std()",
        "def effective_pairs(distinct, epochs, r_star):\n    return distinct * epochs",
    ),
    "08_your_own_pairs": (
        "def similarity(a, b):\n    return a + b",
        "held_out = 400",
        "def overlap(query, answer):\n    return len(query.split())",
    ),
}


def read(path):
    return nbformat.read(path, as_version=4)


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def code_of(solution):
    (code,) = re.findall(r"```python\n(.*?)```", solution.source, re.DOTALL)
    return code


def answered(source, mistakes):
    """The notebook with each exercise open, then wrong, then solved, checked every time."""
    wrong = iter(mistakes)
    cells = []
    for cell in source.cells:
        tags = cell.metadata.get("tags", [])
        if "check" in tags:
            checking = cell
            cells += [_copy(cell, "open"), _code(next(wrong)), _copy(cell, "wrong")]
        elif "solution" in tags:
            cells += [_code(code_of(cell)), _copy(checking, "solved")]
        elif cell.cell_type == "code" and "demonstration" not in tags:
            cells.append(cell)
    return nbformat.v4.new_notebook(cells=cells, metadata=source.metadata)


def _code(source, *tags):
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)})


def _copy(cell, state):
    return _code(cell.source, state, *(["raises-exception"] if state == "wrong" else []))


@pytest.fixture(scope="module", params=WALKTHROUGHS, ids=lambda path: path.stem)
def played(request):
    """A walkthrough after a student went through its exercises."""
    notebook = answered(read(request.param), MISTAKES[request.param.stem])
    resources = {"metadata": {"path": str(NOTEBOOKS)}}
    return NotebookClient(notebook, timeout=300, resources=resources).execute()


def said(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.mark.process
def test_an_open_exercise_says_so(played):
    for number, cell in enumerate(tagged(played, "open"), 1):
        assert said(cell).startswith(f"Exercise {number}: open.")


@pytest.mark.process
def test_a_wrong_answer_fails_with_a_hint_and_no_traceback(played):
    for number, cell in enumerate(tagged(played, "wrong"), 1):
        (error,) = [output for output in cell.outputs if output.output_type == "error"]
        assert error.ename == "Wrong"
        (sentence,) = error.traceback
        assert re.match(rf"Exercise {number}: not yet\. \S.*[.?]$", sentence, re.DOTALL)


@pytest.mark.process
def test_the_folded_solution_is_right(played):
    for number, cell in enumerate(tagged(played, "solved"), 1):
        assert said(cell) == f"Exercise {number}: right.\n"


def test_there_are_nine_walkthroughs():
    assert [path.stem for path in WALKTHROUGHS] == sorted(MISTAKES)


@pytest.mark.parametrize("path", WALKTHROUGHS, ids=lambda path: path.stem)
class TestEveryWalkthrough:
    def test_says_what_it_teaches_and_how_long_it_takes_before_anything_runs(self, path):
        first = read(path).cells[0]
        assert first.cell_type == "markdown"
        for part in ("# ", "**What you will learn**", "**Takes**", "two cores", "No network"):
            assert part in first.source

    def test_shows_its_result_first(self, path):
        headings = re.findall(r"^## (.*)$", prose(path), re.MULTILINE)
        assert "The result first" in headings[:2]

    def test_asks_for_predictions(self, path):
        assert prose(path).count("**Predict before you run.**") >= 2

    def test_has_three_exercises_each_with_check_and_folded_solution(self, path):
        notebook = read(path)
        parts = [
            tag
            for cell in notebook.cells
            for tag in cell.metadata.get("tags", [])
            if tag in ("exercise", "check", "solution")
        ]
        assert parts == ["exercise", "check", "solution"] * 3
        for cell in tagged(notebook, "exercise"):
            assert "..." in cell.source
        for cell in tagged(notebook, "solution"):
            assert cell.source.startswith("<details><summary>Solution</summary>\n\n")
            assert cell.source.endswith("</details>")

    def test_ends_with_a_summary(self, path):
        assert "## Summary" in read(path).cells[-1].source

    def test_is_stored_without_results_that_could_go_stale(self, path):
        for cell in read(path).cells:
            if cell.cell_type == "code":
                checked = "stored" in cell.metadata.get("tags", [])
                assert bool(cell.outputs) == bool(cell.execution_count) == checked

    def test_no_cell_is_over_25_lines(self, path):
        for cell in read(path).cells:
            assert cell.cell_type != "code" or cell.source.count("\n") < 25, cell.source[:60]

    def test_has_at_most_six_imports_of_the_toolkit_only_public_names(self, path):
        cells = [cell.source for cell in read(path).cells if cell.cell_type == "code"]
        code = ast.walk(ast.parse("\n\n".join(cells)))
        imports = [node for node in code if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert len(imports) <= 6
        for node in imports:
            names = {alias.name for alias in node.names}
            if isinstance(node, ast.Import):
                assert not any(name.startswith("toolkit.") for name in names)
            elif node.module.startswith("toolkit"):
                public = {
                    "toolkit": {*toolkit.__all__, "teaching"},
                    "toolkit.teaching": set(teaching.__all__),
                    "toolkit.synthetic": names,
                }
                assert names <= public[node.module]

    def test_a_guess_that_is_none_is_explained_where_it_is_first_met(self, path):
        told = ""
        for cell in read(path).cells:
            if cell.cell_type == "code" and "my_guess = None" in cell.source:
                assert ("`my_guess = None`" in told and "star" in told) or "title" in told
                break
            told += cell.source if cell.cell_type == "markdown" else ""

    def test_leads_only_to_notebooks_that_exist(self, path):
        for target in re.findall(r"\]\(([\w.]+\.ipynb)\)", prose(path)):
            assert target == "explore.ipynb" or (NOTEBOOKS / target).is_file()


def prose(path):
    return "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def test_they_go_on_with_made_up_runs_and_say_so_where_there_are_none(tmp_path, capsys):
    table, folder = some_runs(tmp_path)
    printed = capsys.readouterr().out
    assert "MADE-UP RUNS" in printed and "make recipe" in printed
    assert folder.name == "made-up runs" and table["method"].nunique() == len(STUDIED)


def test_they_go_on_with_a_small_decoder_and_say_so_where_a_real_one_cannot_be_had(
    monkeypatch, capsys
):
    def refuse(decoder):
        raise ToolkitError("no index in reach")

    monkeypatch.setattr(decoders, "load_tokenizer", refuse)
    assert real_or("smollm2-135m@2", "small-3k") == "small-3k"
    (sentence,) = capsys.readouterr().out.splitlines()
    assert "smollm2-135m@2" in sentence and "small-3k" in sentence and "no index" in sentence


def test_a_check_tells_open_from_wrong_from_right(capsys):
    check("Exercise 9", [1.0, ...], [1.0, 2.0], hint="No.")
    assert "open" in capsys.readouterr().out
    check("Exercise 9", [1.0, 2.0], np.array([1.0, 2.0]), hint="No.")
    assert capsys.readouterr().out == "Exercise 9: right.\n"


@pytest.mark.parametrize(
    "answer", [None, "two", 2, [1.0], [1.0, 2.1], [1.0, float("nan")], {"a": 1}, print]
)
def test_a_check_refuses_whatever_is_not_the_answer(answer):
    with pytest.raises(Wrong, match=r"Exercise 9: not yet\. Count again\."):
        check("Exercise 9", answer, [1.0, 2.0], hint="Count again.")


def test_a_check_may_ask_for_a_property_instead():
    check("Exercise 9", 4, lambda answer: answer % 2 == 0, hint="It is even.")
    with pytest.raises(Wrong):
        check("Exercise 9", 5, lambda answer: answer % 2 == 0, hint="It is even.")
