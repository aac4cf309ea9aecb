"""Parameters that do not exist are refused with what was meant, wherever they are given."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.errors import ToolkitError
from toolkit.parameters import assigned, refuse_unknown
from toolkit.runs import SYNONYMS, RunConfig

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
TEMPLATES = ("train", "pretrain", "report", "explore")


def sources(name: str) -> list[str]:
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("temprature", "temperature"),
        ("learning_rate", "lr"),
        ("batch_size", "batch_pairs"),
        ("max_seq_length", "max_tokens"),
        ("export", "export_to"),
        ("output_dir", "folder"),
    ],
)
def test_papermills_cell_is_compared_with_the_parameters_of_the_notebook(given, meant):
    parameters = sources("train")[0]
    refuse_unknown(["", parameters, "# Parameters\nlr = 0.1\nfolder = None\n", "x = 1"])
    refuse_unknown(["", parameters, "another_name = 1"])  # of a person at work in the notebook
    with pytest.raises(ToolkitError, match=f"no parameter '{given}'; did you mean {meant}"):
        refuse_unknown(["", parameters, f"# Parameters\nlr = 0.1\n{given} = 1\n"])


def test_every_stranger_is_named_at_once():
    with pytest.raises(ToolkitError, match=r"'tau'; did you mean temperature.*'sead'; did you"):
        refuse_unknown([sources("train")[0], "# Parameters\ntau = 1\nsead = 3\n"])


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_asks_before_it_does_anything(name):
    parameters, first = sources(name)[:2]
    calls = [
        node.value.func.id
        for node in ast.parse(first).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        if isinstance(node.value.func, ast.Name)
    ]
    assert calls[:1] == ["refuse_unknown"]
    before = first[: first.index("refuse_unknown()")]
    assert "=" not in before and assigned(ast.parse(parameters).body)


@pytest.mark.process
@pytest.mark.parametrize("name", ["train", "explore"])
def test_papermills_own_command_refuses_it(tmp_path, name):
    command = [sys.executable, "-m", "papermill", NOTEBOOKS / f"{name}.ipynb", tmp_path / "o.ipynb"]
    done = subprocess.run(
        [*command, "-p", "temprature", "0.05", "-p", "sorce", "x"], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "no parameter 'temprature'" in done.stderr and "'sorce'" in done.stderr


@pytest.mark.parametrize("ours", sorted(set(SYNONYMS) - {"folder", "export_to"}))
def test_a_parameter_by_another_tools_name_is_understood(ours):
    for name in (*SYNONYMS[ours], SYNONYMS[ours][0].upper(), SYNONYMS[ours][0].replace("_", "-")):
        with pytest.raises(ToolkitError, match=f"did you mean {ours}\\?"):
            RunConfig.from_dict({"decoder": "small-7k", "budget_flop": 1e9, name: 1})
