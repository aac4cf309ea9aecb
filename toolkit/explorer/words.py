"""A recipe in the explorer: four cards for the four questions, warnings, and buttons to copy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from toolkit.figures.scene import Answer
from toolkit.laws.examination import Examination
from toolkit.methods import SETTINGS
from toolkit.recipe.limits import Limits
from toolkit.recipe.recommendation import Recipe
from toolkit.recipe.runnable import papermill_command, runnable, sweep_yaml
from toolkit.text import count, pretty, scientific
from toolkit.words import (
    amount,
    data_lines,
    form_in_words,
    hyperparameter_parts,
    loss,
    method_name,
    method_notes,
    method_rows,
    said,
    say,
    signed,
    size_lines,
)

LOOK = """
.tk-cards { display: grid; gap: 8px; line-height: 1.35;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, max(236px, 31%)), 1fr));
  color: var(--jp-ui-font-color1, #222); }
.tk-card { border: 1px solid var(--jp-border-color2, #ccc); border-radius: 6px; padding: 6px 12px; }
.tk-card h4 { margin: 0; font-weight: 500; color: var(--jp-ui-font-color2, #666); }
.tk-card b { display: block; font-size: 1.4em; margin: 0 0 3px; }
.tk-card p { margin: 0 0 2px; }
.tk-card table { border-collapse: collapse; font-size: inherit;
  color: inherit; margin-bottom: 3px; }
.tk-card td { padding: 0 10px 0 0 !important; text-align: right !important; white-space: nowrap;
  line-height: 1.35; }
.tk-wide { grid-column: 1 / -1; }
.tk-beside { display: flex; flex-flow: row wrap; gap: 6px 28px; align-items: flex-start; }
.tk-beside > div { flex: 1 1 240px; min-width: 0; overflow-x: auto; }
.tk-beside > .tk-table { flex: 0 1 auto; }
.tk-card td:first-child { text-align: left !important; }
.tk-card tr:first-child { color: var(--jp-ui-font-color2, #666); }
.tk-words p { margin: 0 0 4px; line-height: 1.4; }
.tk-list { margin: 4px 0 0; padding-left: 18px; color: var(--jp-ui-font-color1, #222);
  line-height: 1.35; }
.tk-form { margin: 8px 0 0; color: var(--jp-ui-font-color2, #666); line-height: 1.35; }
.tk-trust { display: inline-block; margin-top: 10px; }
.tk-copy { cursor: pointer; padding: 4px 12px; margin-right: 8px; border-radius: 4px;
  border: 1px solid var(--jp-border-color1, #999); background: var(--jp-layout-color2, #eee);
  color: var(--jp-ui-font-color1, #222); font: inherit; }
"""

# Where the page is not served from this machine or over https there is no clipboard to write to.
COPY = (
    "const b=this,done=()=>{const t=b.textContent;b.textContent='Copied';"
    "setTimeout(()=>{b.textContent=t},1200)};"
    "if(navigator.clipboard){navigator.clipboard.writeText(b.dataset.text).then(done)}"
    "else{const a=document.createElement('textarea');a.value=b.dataset.text;"
    "document.body.appendChild(a);a.select();document.execCommand('copy');a.remove();done()}"
)


def asked_in_words(budget: str, limits: Limits) -> str:
    """A budget, which is in words already, and its limits."""
    said = [
        ("{} distinct pairs at most", limits.max_pairs),
        ("{} parameters at most", limits.max_params),
        ("{} texts to embed", limits.queries),
    ]
    told = [words.format(count(value)) for words, value in said if value is not None]
    return ", ".join([budget, *told])


def paragraphs(*sentences: str) -> str:
    """Text as paragraphs of HTML, its white space as single spaces."""
    return "".join(f"<p>{escape(' '.join(sentence.split()))}</p>" for sentence in sentences)


def recipe_html(recipe: Recipe) -> str:
    """The four answers as cards."""
    values = {s.name: s.value for s in recipe.settings}
    own = next((name for name in values if name in SETTINGS), None)
    detail = "" if own is None else f" · {SETTINGS[own].short} {values[own]:g}"
    settings = ["{} {}: {}".format(*parts) for parts in hyperparameter_parts(recipe)]
    method = f"{method_name(recipe.method)}, predicted loss {loss(recipe.loss.value)}"
    cards = [
        _card("How large a model?", recipe.decoder.name, paragraphs(*size_lines(recipe))),
        _card("How much data?", " ".join(amount(recipe.data)), paragraphs(*data_lines(recipe))),
        _card(
            "Which hyperparameters?",
            f"learning rate {values['lr']:.3g}{detail}",
            paragraphs(*settings),
        ),
        _card("Which method?", method, _methods(recipe), "tk-card tk-wide"),
    ]
    return f'<div class="tk-cards">{"".join(cards)}</div>'


def warnings_html(recipe: Recipe) -> str:
    """What must be known before trusting the recipe, and which law it stands on."""
    items = "".join(f"<li>{escape(pretty(say(each)))}</li>" for each in recipe.warnings)
    trust = (
        f'<b class="tk-trust">Before you trust this</b><ul class="tk-list">{items}</ul>'
        if items
        else "<p>No warnings: budget, decoder and data lie within those tried.</p>"
    )
    form = form_in_words(recipe)
    return f'{trust}<p class="tk-form">{escape(form[0].upper() + form[1:])}.</p>'


def recipe_in_words(answer: Answer) -> str:
    """One sentence, for those who do not see the picture."""
    recipe = answer.recipe
    rivals = [
        f"{method_name(choice.method)} would cost {signed(choice.regret.value)}"
        for choice in recipe.methods[1:]
    ]
    return (
        f"For {answer.said}: {method_name(recipe.method)} of {recipe.decoder.name} on "
        f"{' '.join(amount(recipe.data))}, predicted loss {said(recipe.loss, loss)}; "
        f"{', '.join(rivals) or 'no other method was tried'}."
    )


def copy_html(recipe: Recipe, data: str) -> str:
    """Buttons that copy the recipe as a sweep file or as a command."""
    if not runnable(recipe):
        return f"<i>{escape(recipe.method)} is not a method that this toolkit runs.</i>"
    texts = {
        "Copy sweep.yaml": sweep_yaml(recipe, data=data),
        "Copy papermill command": papermill_command(recipe, data=data),
    }
    return "".join(
        f'<button class="tk-copy" title="{escape(text)}" data-text="{escape(text)}" '
        f'onclick="{escape(COPY)}">{escape(label)}</button>'
        for label, text in texts.items()
    )


def _card(question: str, answer: str, body: str, kind: str = "tk-card") -> str:
    return f'<div class="{kind}"><h4>{escape(question)}</h4><b>{escape(answer)}</b>{body}</div>'


def _methods(recipe: Recipe) -> str:
    """The best choices as a table, and beside it what must be known to read it."""
    return (
        f'<div class="tk-beside"><div class="tk-table">{rows_html(method_rows(recipe))}</div>'
        f"<div>{paragraphs(*method_notes(recipe))}</div></div>"
    )


def rows_html(rows: Iterable[Sequence[str]]) -> str:
    """Rows of text as a table."""
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def examination_in_words(result: Examination) -> str:
    """What the picture of a law under examination shows."""
    seen = result.prediction
    start = f"{result.n_points} runs kept, budgets up to {scientific(seen.cut)} FLOP fitted. "
    if seen.reason:
        return f"{start}No {seen.form} law: {seen.reason}."
    values = ", ".join(f"{name} = {value:.3g}" for name, value in result.parameters.items())
    known = result.residuals[np.isfinite(result.residuals)]
    off = float(np.sqrt(np.mean(known**2))) if known.size else math.nan
    each = zip(seen.budgets, seen.predicted, seen.seen, seen.errors, strict=True)
    said = [
        f"{scientific(budget)}: {predicted:.3f} predicted, {came:.3f} seen ({error:+.1%})"
        for budget, predicted, came, error in each
    ]
    return (
        f"{start}{seen.form}: {values}. Residuals of the runs {off:.2%}; held-out error "
        f"{result.held_out_error:.2%} ({'; '.join(said)})."
    )
