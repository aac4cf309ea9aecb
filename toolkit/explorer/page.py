"""The explorer as one HTML file without a kernel: the budget slider moves through ready answers."""

from __future__ import annotations

import base64
import json
from html import escape
from pathlib import Path

import numpy as np

from toolkit import hardware
from toolkit.explorer.drawing import Drawing
from toolkit.explorer.words import LOOK, recipe_html, recipe_in_words, warnings_html
from toolkit.figures import style
from toolkit.figures.budget import budget_range
from toolkit.figures.recipe import RecipeScene
from toolkit.figures.scene import Answer
from toolkit.recipe.study import Study
from toolkit.text import scientific
from toolkit.webpage import document
from toolkit.writing import write_atomically

FRAMES = 101


def write_page(study: Study, path: str | Path, title: str, *, frames: int = FRAMES) -> None:
    """Write the recipe tab of a study as a page that needs nothing else.

    Args:
        study: The runs.
        path: The file.
        title: Of the page.
        frames: Budgets that the slider can stand at, besides those that were tried.
    """
    with style():
        scene = RecipeScene(study)
    drawing = Drawing(scene)
    budgets = np.union1d(np.geomspace(*budget_range(study), frames), study.budgets)
    still = drawing.still()
    answers = []
    for budget in map(float, budgets):
        answer = Answer(study, budget)
        scene.move(answer)
        answers.append(
            {
                "flop": budget,
                "said": scientific(budget, 3),
                "alt": recipe_in_words(answer),
                "png": _base64(drawing.moving(small=True)),
                "html": recipe_html(answer.recipe) + warnings_html(answer.recipe),
            }
        )
    start = int(np.abs(np.log(budgets / study.budgets[-1])).argmin())
    peaks = {d.name: d.peak_flop_per_second for d in hardware.DEVICES.values()}
    width, height = drawing.size
    # Inside a script element no text may look like a tag; JSON reads \u003c as the same sign.
    data = json.dumps({"answers": answers, "peaks": peaks}, allow_nan=False)
    data = data.replace("<", r"\u003c")
    body = BODY.format(
        title=escape(title),
        width=width,
        height=height,
        still=_base64(still),
        last=len(answers) - 1,
        start=start,
        share=round(100 * hardware.DEFAULT_UTILISATION),
        gpus="".join(f"<option>{escape(name)}</option>" for name in peaks),
        data=data,
        script=SCRIPT,
    )
    write_atomically(Path(path), document(title, body, LOOK + STYLE))


def _base64(png: bytes) -> str:
    return base64.b64encode(png).decode()


STYLE = """
main { font-size: 15px; line-height: 1.4; --jp-ui-font-color1: var(--ink);
  --jp-ui-font-color2: var(--quiet); --jp-border-color2: var(--line); }
h1 { font-size: 1.5em; margin: 0 0 0.6em; }
form { display: flex; flex-flow: row wrap; gap: 6px 14px; align-items: center; }
#budget { flex: 1 1 200px; }
#twin { width: 6em; }
#share { width: 3.5em; }
#time { display: inline-block; min-width: 4.6em; }
#picture { position: relative; margin: 12px 0; }
#picture img { display: block; width: 100%; height: auto; }
#moving { position: absolute; inset: 0; background: none; }
"""

SCRIPT = """
const { answers, peaks } = JSON.parse(document.getElementById("data").textContent);
const [slider, twin, moving, readout, gpu, share, time] =
  ["budget", "twin", "moving", "readout", "gpu", "share", "time"].map(
    (id) => document.getElementById(id));
const small = { "⁰": 0, "¹": 1, "²": 2, "³": 3, "⁴": 4, "⁵": 5, "⁶": 6, "⁷": 7, "⁸": 8, "⁹": 9 };
function read(text) {
  const plain = text.replace(/[⁰¹²³⁴⁵⁶⁷⁸⁹]/g, (c) => small[c]).replace(/[,\\s^]/g, "");
  const power = plain.match(/^(?:([\\d.]+)[×x*])?10(\\d+)$/);
  if (power && /[⁰¹²³⁴⁵⁶⁷⁸⁹^]/.test(text)) return (power[1] || 1) * 10 ** power[2];
  return Number(plain);
}
const units = [[86400 * 2, 86400, "days"], [3600, 3600, "hours"], [60, 60, "min"], [1, 1, "s"],
  [0, 1e-3, "ms"]];
function count() {
  const seconds = answers[slider.value].flop / (peaks[gpu.value] * share.value / 100);
  const [, size, unit] = units.find(([least]) => seconds >= least);
  time.textContent = Number((seconds / size).toPrecision(3)).toLocaleString("en") + " " + unit;
}
function show() {
  const answer = answers[slider.value];
  twin.value = answer.said;
  twin.setCustomValidity("");
  moving.src = "data:image/png;base64," + answer.png;
  moving.alt = answer.alt;
  slider.setAttribute("aria-valuetext", answer.said + " FLOP");
  readout.innerHTML = answer.html;
  count();
}
function type() {
  const wanted = read(twin.value);
  if (!(wanted > 0 && isFinite(wanted))) {
    twin.setCustomValidity("Write a positive number: 3e12 or 3×10¹²");
    twin.reportValidity();
    return;
  }
  const far = (answer) => Math.abs(Math.log(answer.flop / wanted));
  slider.value = answers.reduce((best, a, i) => (far(a) < far(answers[best]) ? i : best), 0);
  show();
}
// As high as the longest answer, so that nothing jumps.
function reserve() {
  readout.style.minHeight = "";
  let most = 0;
  for (const answer of answers) {
    readout.innerHTML = answer.html;
    most = Math.max(most, readout.offsetHeight);
  }
  readout.style.minHeight = most + "px";
  show();
}
slider.addEventListener("input", show);
addEventListener("resize", reserve);
twin.addEventListener("change", type);
twin.addEventListener("input", () => twin.setCustomValidity(""));
gpu.addEventListener("change", count);
share.addEventListener("input", count);
document.querySelector("form").addEventListener("submit", (e) => { e.preventDefault(); type(); });
reserve();
"""

BODY = """<h1>{title}</h1>
<form>
<label for="budget">budget</label>
<input type="range" id="budget" min="0" max="{last}" value="{start}">
<span><input type="text" id="twin" aria-label="budget in FLOP"> FLOP</span>
<span>= <output id="time"></output> on one
<select id="gpu" aria-label="GPU">{gpus}</select></span>
<label>at <input type="number" id="share" min="1" max="100" value="{share}"
 aria-label="utilisation in per cent"> % of its peak</label>
</form>
<div id="picture" style="max-width: {width}px">
<img src="data:image/png;base64,{still}" width="{width}" height="{height}" alt="">
<img id="moving" width="{width}" height="{height}" alt="">
</div>
<div id="readout" class="tk-words" aria-live="polite"></div>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>"""
