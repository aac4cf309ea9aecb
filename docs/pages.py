"""Pages of the site that follow from the code, and what the build adds to the others.

Nothing is listed by hand: commands come from the parsers, names from `toolkit.__all__`, the run
table from the dataclasses of its rows, walkthroughs from the notebooks.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import inspect
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).resolve().parent.parent
MADE = "made"  # Folder of the pages made here; git-ignored.
GALLERY = ROOT / "docs" / "gallery"
INPUTS = GALLERY / "inputs.json"
COMMANDS = sorted((ROOT / "toolkit" / "commands").glob("[a-z]*.py"))
WALKTHROUGHS = sorted((ROOT / "notebooks").glob("0*.ipynb"))
PICTURE_WIDTH = 420  # Pixels.
EXPLORER = "explorer-reference.html"


# What was executed


@cache
def execution_cache() -> Path:
    """Where executed walkthroughs are kept: a folder for each state of the code and its data."""
    digest = hashlib.sha256()
    sources = [*(ROOT / "toolkit").rglob("*.py"), ROOT / "runs" / "reference" / "runs.csv"]
    for path in sorted(sources):
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return ROOT / ".cache" / "site" / digest.hexdigest()[:16]


# Walkthroughs and their pictures


def title_and_lead(path: Path) -> tuple[str, str]:
    """A walkthrough's heading, and the first thing that it teaches."""
    first = nbformat.read(path, as_version=4).cells[0].source
    heading, _, rest = first.partition("\n")
    taught = re.search(r"^- (.*?)[;.]?$", rest, re.MULTILINE)
    return heading.lstrip("# ").strip(), taught[1] if taught else ""


def inputs_of(path: Path) -> str:
    """A digest of a walkthrough's code, from which its picture was made."""
    cells = nbformat.read(path, as_version=4).cells
    code = "\n\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def gallery() -> str:
    """The walkthroughs as pictures, with what each teaches."""
    lines = [":::{container} gallery", ""]
    for path in WALKTHROUGHS:
        title, lead = title_and_lead(path)
        if not (GALLERY / f"{path.stem}.png").is_file():  # Its first build makes it.
            lines += [f"**[{title}](/notebooks/{path.stem}.ipynb)**: {lead}", ""]
            continue
        lines += [
            f"```{{figure}} /docs/gallery/{path.stem}.png",
            f":target: ../notebooks/{path.stem}.html",
            f":alt: A picture from {path.stem}",
            "",
            f"**{title}**: {lead}",
            "```",
            "",
        ]
    return "\n".join([*lines, ":::", ""])


def executed(path: Path) -> Any:
    """The walkthrough as it was executed by this build; None if it was not."""
    from jupyter_cache import get_cache

    cache = get_cache(execution_cache())
    try:
        return cache.merge_match_into_file(str(path))[1]
    except KeyError:
        return None


def draw_pictures() -> None:
    """A small picture for each walkthrough whose code changed since its last one was made."""
    made = json.loads(INPUTS.read_text()) if INPUTS.is_file() else {}
    for path in WALKTHROUGHS:
        target = GALLERY / f"{path.stem}.png"
        if made.get(path.stem) == inputs_of(path):
            continue
        notebook = executed(path)
        if notebook is not None:
            draw_picture(notebook, target)
            made[path.stem] = inputs_of(path)
    kept = {path.stem: made[path.stem] for path in WALKTHROUGHS if path.stem in made}
    INPUTS.write_text(json.dumps(kept, indent=1) + "\n")


def draw_picture(notebook: Any, target: Path) -> None:
    """The first picture of an executed notebook, small; nothing where it draws none."""
    from PIL import Image

    for picture in _pictures(notebook):
        with Image.open(io.BytesIO(picture)) as image:
            size = (PICTURE_WIDTH, round(image.height * PICTURE_WIDTH / image.width))
            image.convert("RGB").resize(size).quantize(64).save(target, optimize=True)
        return


def _pictures(notebook: Any) -> Iterator[bytes]:
    import base64

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                yield base64.b64decode(output["data"]["image/png"])


def failures(environment: Any) -> list[str]:
    """Walkthroughs that failed: notebook, cell and error, a sentence each."""
    from myst_nb.sphinx_ import NbMetadataCollector

    found = []
    for path in WALKTHROUGHS:
        data = NbMetadataCollector.get_exec_data(environment, f"notebooks/{path.stem}") or {}
        if traceback := data.get("traceback"):
            found.append(f"notebooks/{path.name}, {failed_cell(path, traceback)}")
    return found


def failed_cell(path: Path, traceback: str) -> str:
    """Which cell of a notebook a traceback is of, and its error."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", traceback)
    last = next((x for x in reversed(plain.splitlines()) if re.match(r"[\w.]+: ", x)), "failed")
    cells = nbformat.read(path, as_version=4).cells
    for number, cell in enumerate(cells, 1):
        if cell.cell_type == "code" and cell.source.strip() and cell.source in plain:
            first = cell.source.strip().splitlines()[0]
            return f"cell {number} ({first}): {last}"
    return last


def changed_outputs() -> list[str]:
    """Cells tagged `stored` that gave another output than the one that the notebook ships."""
    found = []
    for path in WALKTHROUGHS:
        notebook = executed(path)
        if notebook is None:
            continue
        shipped = nbformat.read(path, as_version=4).cells
        for number, (ours, now) in enumerate(zip(shipped, notebook.cells, strict=True), 1):
            stored = "stored" in ours.metadata.get("tags", [])
            if stored and _said(ours) != _said(now):
                found.append(
                    f"notebooks/{path.name}, cell {number}: gives {_said(now)!r}, "
                    f"stored is {_said(ours)!r}"
                )
    return found


def _said(cell: Any) -> str:
    """What a cell printed or gave as text."""
    return "".join(
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for output in cell.get("outputs", [])
    )


# The README's table

ASKED = (1e12, 3e12, 1e13)  # FLOP; the last is beyond the study's runs.


def answers() -> str:
    """What the reference study answers at a few budgets, as a table."""
    from toolkit.recipe.recommendation import recommend_from
    from toolkit.recipe.study import Study
    from toolkit.tables import read_table
    from toolkit.text import count, scientific
    from toolkit.words import method_name

    study = Study.of(read_table("reference"))
    lines = [
        "| budget (FLOP) | model size | data | method | learning rate, batch | loss (95 %) |",
        "|---|---|---|---|---|---|",
    ]
    for budget in ASKED:
        recipe = recommend_from(study, budget_flop=budget)
        settings = {setting.name: setting.value for setting in recipe.settings}
        loss = recipe.loss
        lines.append(
            f"| {scientific(budget)} | {recipe.decoder.name} | {count(recipe.data.pairs)} pairs | "
            f"{method_name(recipe.method)} | {settings['lr']:.2g}, {settings['batch_pairs']:.0f} | "
            f"{loss.value:.2f} ({loss.low:.2f} to {loss.high:.2f}) |"
        )
    return "\n".join(lines)


def refresh_readme() -> None:
    """Put today's answers and pictures into the README."""
    path = ROOT / "README.md"
    text = path.read_text()
    for start, now in (("| budget (FLOP)", answers()), ("[![", pictures())):
        old = text[text.index(f"\n{start}") + 1 :].split("\n\n")[0]
        text = text.replace(old, now)
    if text != path.read_text():
        path.write_text(text)


def pictures() -> str:
    """The walkthroughs as a row of pictures that lead to them, for a code host's page."""
    links = []
    for path in WALKTHROUGHS:
        title = title_and_lead(path)[0]
        made = (GALLERY / f"{path.stem}.png").is_file()
        shown = f"![{title}](docs/gallery/{path.stem}.png)" if made else title
        links.append(f"[{shown}](notebooks/{path.name})")
    return "\n".join(links)


# Pages from the code


def commands() -> str:
    """Every command with what its parser says of itself."""
    os.environ["COLUMNS"] = "96"
    lines = [
        "# Commands",
        "",
        "What `python -m toolkit COMMAND --help` prints. A mistake is one sentence and "
        "exit status 2.",
        "",
    ]
    for name, parser in parsers():
        lines += [f"## {name}", "", "```text", parser.format_help().rstrip(), "```", ""]
    return "\n".join(lines)


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The commands' parsers by name."""
    from toolkit.cli import build_parser

    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def api() -> str:
    """The public face: every name of `import toolkit as d2e`."""
    import toolkit

    lines = ["# In Python", "", "```python", "import toolkit as d2e", "```", ""]
    lines += ["Every example here is run by a test.", "", "```{eval-rst}"]
    for name in toolkit.__all__:
        kind = "function"
        value = getattr(toolkit, name)
        if inspect.isclass(value):
            kind = "exception" if issubclass(value, Exception) else "class"
        lines += [f".. auto{kind}:: toolkit.{name}", ""]
        if kind == "class":
            lines[-1:] = ["   :members:", "   :exclude-members: __init__, __new__", ""]
    return "\n".join([*lines, "```", ""])


def run_table() -> str:
    """The run table's columns: what a run is asked, and what came of it."""
    from toolkit.records import RunRecord
    from toolkit.runs import RunConfig

    lines = [
        "# The run table",
        "",
        "One row a run, in a sweep's `runs.csv`. The first table is what a run was asked (the keys "
        "of a `sweep.yaml`, the parameters of `train.ipynb`), the second what came of it. For the "
        "laws a table from elsewhere needs few of them ([tables from elsewhere](../tables.md)).",
        "",
        "A field's **part** says what becomes of two runs that differ in it: *question*, it is "
        "what a recipe answers; *setting*, the better of the two counts; *must agree*, they "
        "cannot be compared; *must agree at a size*, they are no seeds of one another; "
        "*seed*, they are averaged; *no matter*, it changes no loss.",
        "",
    ]
    for heading, kind in (("Asked", RunConfig), ("Came of it", RunRecord)):
        told = attributes(kind.__doc__ or "")
        lines += [f"## {heading}", "", "| field | default | part | meaning |", "|---|---|---|---|"]
        for each in dataclasses.fields(kind):
            if each.name in ("config", "curve"):
                continue
            default = "" if each.default is dataclasses.MISSING else f"`{each.default}`"
            part = each.metadata.get("part", "")
            meaning = told.get(each.name, "").replace("|", "\\|").replace("*", "\\*")
            lines.append(f"| `{each.name}` | {default} | {part} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


def attributes(docstring: str) -> dict[str, str]:
    """By name, what the Attributes section of a docstring says of a field."""
    section = inspect.cleandoc(docstring).partition("Attributes:\n")[2]
    section = re.split(r"\n(?=\S)", section)[0]
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?= {4}\S)", section):
        for names, meaning in re.findall(
            r"(?:^|(?<=\. ))\s*([a-z_0-9, ]+): (.*?)(?=\. [a-z_0-9, ]+: |$)",
            " ".join(entry.split()),
        ):
            for name in names.split(", "):
                found[name.strip()] = meaning.rstrip(".") + "."
    return found


def explorer_page() -> str:
    """The explorer without a kernel, within a page."""
    return (
        "# The explorer\n\n"
        "The reference study, asked for any budget. In a notebook (`make lab`, `explore.ipynb`) it "
        "has more to move; this page needs no kernel, and "
        "`python -m toolkit explorer runs/mine` writes one of your own runs.\n\n"
        "```{raw} html\n"
        f'<iframe class="explorer-frame" src="../../{EXPLORER}" title="The explorer"></iframe>\n'
        f'<p><a href="../../{EXPLORER}">The same by itself</a></p>\n'
        "```\n"
    )


def write_pages() -> None:
    """All pages that follow from the code, for Sphinx to read."""
    folder = ROOT / "docs" / MADE
    folder.mkdir(exist_ok=True)
    pages = {
        "gallery": gallery(),
        "commands": commands(),
        "api": api(),
        "run-table": run_table(),
        "explorer": explorer_page(),
    }
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.is_file() or path.read_text() != text:  # else Sphinx would read it again
            path.write_text(text)


# What the build adds


def setup(app: Any) -> dict[str, Any]:
    """Sphinx calls this: pages are made before it reads, pictures and the explorer after."""
    write_pages()
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    app.connect("html-page-context", _foot)
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _mathml(translator: Any, node: Any, display: str) -> None:
    from docutils.nodes import SkipNode
    from latex2mathml.converter import convert

    translator.body.append(convert(node.astext(), display=display))
    raise SkipNode


def _inline(translator: Any, node: Any) -> None:
    _mathml(translator, node, "inline")


def _display(translator: Any, node: Any) -> None:
    _mathml(translator, node, "block")


def _foot(app: Any, name: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Below a walkthrough: how long it took, and the notebook itself."""
    from myst_nb.sphinx_ import NbMetadataCollector

    if not name.startswith("notebooks/") or "body" not in context:
        return
    data = NbMetadataCollector.get_exec_data(app.env, name) or {}
    took = f"It ran in {data['runtime']:.0f} s here. " if data.get("runtime") else ""
    stem = name.rpartition("/")[2]
    context["body"] += (
        f'<p class="walkthrough-foot">{took}'
        f'<a href="../_sources/{name}.ipynb" download="{stem}.ipynb">Download this notebook</a></p>'
    )


def _finish(app: Any, error: Exception | None) -> None:
    from sphinx.util.logging import getLogger

    if error is not None or app.builder.name != "html":
        return
    site = Path(app.outdir)
    (site / "index.html").write_text(
        '<!doctype html><meta charset="utf-8"><title>Decoders to Encoders</title>'
        '<meta http-equiv="refresh" content="0; url=docs/index.html">'
        '<a href="docs/index.html">Decoders to Encoders</a>\n'
    )
    _explorer(site / EXPLORER)
    if app.config.nb_execution_mode == "off":
        return
    draw_pictures()
    refresh_readme()
    for sentence in (*failures(app.env), *changed_outputs()):
        getLogger(__name__).warning(sentence)


def _explorer(target: Path) -> None:
    kept = execution_cache() / EXPLORER
    if not kept.is_file():
        from toolkit.explorer.page import write_page
        from toolkit.recipe.study import Study
        from toolkit.tables import read_table

        kept.parent.mkdir(parents=True, exist_ok=True)
        study = Study.of(read_table("reference"))
        write_page(study, kept, "The compute-optimal recipe: the reference study")
    target.write_bytes(kept.read_bytes())


def main() -> int:
    """Build the site; what failed is one sentence with the notebook and its cell."""
    from sphinx.cmd.build import main as build

    return build(["-q", "-W", "--keep-going", "-c", str(ROOT / "docs"), str(ROOT), sys.argv[1]])


if __name__ == "__main__":
    sys.exit(main())
