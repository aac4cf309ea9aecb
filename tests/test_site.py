"""The site: what it says of the code is the code's own, its pictures of today's notebooks."""

import json
import re
from pathlib import Path

import nbformat
import pages
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import toolkit
from toolkit.records import RunRecord
from toolkit.runs import RunConfig

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def test_the_command_reference_is_what_the_parsers_say(monkeypatch):
    monkeypatch.setenv("COLUMNS", "96")
    said = pages.commands()
    found = dict(pages.parsers())
    modules = {path.stem.replace("_", "-") for path in pages.COMMANDS}
    assert modules == set(found)
    for name, parser in found.items():
        assert f"## {name}\n\n```text\n{parser.format_help().rstrip()}\n```" in said


def test_the_api_pages_are_of_the_public_names():
    assert re.findall(r"auto\w+:: toolkit\.(\w+)", pages.api()) == toolkit.__all__


@pytest.mark.parametrize("kind", [RunConfig, RunRecord])
def test_every_field_of_the_run_table_is_told(kind):
    told = pages.attributes(kind.__doc__)
    fields = set(kind.__dataclass_fields__)
    assert fields <= set(told), fields - set(told)
    assert all(len(told[name]) > 3 for name in fields)
    assert {name for name in fields - {"config", "curve"} if f"| `{name}` |" in pages.run_table()}


def test_the_pictures_of_the_walkthroughs_are_of_their_code():
    made = json.loads(pages.INPUTS.read_text())
    stale = {p.stem for p in pages.WALKTHROUGHS if made.get(p.stem) != pages.inputs_of(p)}
    assert not stale, f"make docs, and commit docs/gallery: {', '.join(sorted(stale))}"
    for path in pages.WALKTHROUGHS:
        assert f"(notebooks/{path.name})" in (ROOT / "README.md").read_text()
    for picture in pages.GALLERY.glob("*.png"):
        assert picture.stat().st_size < 60_000
        assert f"docs/gallery/{picture.name}" in (ROOT / "README.md").read_text()


@pytest.mark.process
def test_a_walkthrough_that_fails_is_named_with_its_cell_and_error(tmp_path):
    path = tmp_path / "01_x.ipynb"
    cells = [nbformat.v4.new_code_cell(source) for source in ("a = 1", "b = a / 0\nprint(b)")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    try:
        NotebookClient(nbformat.read(path, as_version=4)).execute()
    except CellExecutionError as error:
        told = pages.failed_cell(path, str(error))
    assert told == "cell 2 (b = a / 0): ZeroDivisionError: division by zero"


def test_every_page_is_reached_from_the_contents():
    listed = (DOCS / "index.md").read_text()
    for page in DOCS.glob("*.md"):
        assert page.stem == "index" or re.search(rf"^{page.stem}$", listed, re.MULTILINE), page.name


def test_links_between_pages_lead_somewhere():
    pages_read = [*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for page in [*pages_read, ROOT / "benchmarks/README.md", ROOT / "runs/reference/README.md"]:
        for target in re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} leads to {target}"


def test_the_readme_answers_as_the_recipe_does_and_is_of_one_screen_or_two(fitted_once):
    readme = (ROOT / "README.md").read_text()
    assert pages.answers() in readme
    assert readme.count("\n") <= 120
