"""The explorer's notebook, executed from top to bottom: its widgets' state tells the errors."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from toolkit.explorer import widget_errors

pytestmark = pytest.mark.process

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "explore.ipynb"
PLANT = """
def fail(ask):
    raise RuntimeError("planted")

explorer.view.show = fail
explorer.budget.flop.slider.value /= 2
explorer.flush()
"""


def executed(table, folder, *extra):
    """The notebook on a run table, with more cells before its last one."""
    path = folder / "runs.csv"
    table.to_csv(path, index=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (parameters,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    parameters.source = f"source = {str(path)!r}"
    notebook.cells[-1:-1] = [nbformat.v4.new_code_cell(source) for source in extra]
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    client = NotebookClient(notebook, timeout=300, resources=resources, allow_errors=True)
    return client.execute()


def errors_of(notebook):
    return [
        output.ename
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type == "error"
    ]


def test_it_runs_and_no_widget_met_an_error(table, tmp_path):
    notebook = executed(table, tmp_path)
    assert errors_of(notebook) == []
    assert notebook.metadata.widgets and widget_errors(notebook) == []


def test_a_failing_callback_turns_it_red_in_the_widgets_state_and_in_the_last_cell(table, tmp_path):
    notebook = executed(table, tmp_path, PLANT)
    (shown,) = widget_errors(notebook)
    assert "planted" in shown
    assert errors_of(notebook) == ["RuntimeError"]


def test_it_is_stored_without_results():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    assert "widgets" not in notebook.metadata
