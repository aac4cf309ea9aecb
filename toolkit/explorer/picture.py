"""A picture in a notebook that changes without flicker and knows where it was clicked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

CLIENT = """
function render({ model, el }) {
  const canvas = document.createElement("canvas");
  canvas.className = "toolkit-picture";
  canvas.setAttribute("role", "img");
  let latest = 0, still = null;
  const decode = (name) => createImageBitmap(new Blob([model.get(name)], { type: "image/png" }));
  async function paint() {
    if (!model.get("still")?.byteLength || !model.get("png")?.byteLength) return;
    const turn = ++latest;
    const layers = await Promise.all([still ??= decode("still"), decode("png")]);
    if (turn !== latest) return;  // a newer picture has overtaken this one
    const [{ width, height }] = layers;
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    for (const layer of layers) canvas.getContext("2d").drawImage(layer, 0, 0);
    canvas.dataset.turn = turn;
  }
  function size() {
    canvas.style.width = model.get("width") + "px";
    canvas.style.aspectRatio = model.get("width") + " / " + model.get("height");
  }
  const label = () => canvas.setAttribute("aria-label", model.get("alt"));
  const cursor = () => { canvas.style.cursor = model.get("clickable") ? "pointer" : "default"; };
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width;
    const y = (event.clientY - box.top) / box.height;
    if (model.get("clickable")) model.send({ kind: "click", x, y });
  });
  model.on("change:still", () => { still = null; paint(); });
  model.on("change:png", paint);
  model.on("change:alt", label);
  model.on("change:width change:height", size);
  model.on("change:clickable", cursor);
  size(); label(); cursor(); paint();
  el.appendChild(canvas);
}
export default { render };
"""

LOOK = """
.toolkit-picture { display: block; max-width: 100%; background: #fff; border-radius: 6px; }
"""


class Picture(anywidget.AnyWidget):
    """A picture of constant size on the screen: a layer that moves over one that stays.

    Attributes:
        still: A PNG, opaque.
        png: What moves, as large, on a transparent ground; a new one replaces it in one paint.
        alt: What it shows, in words, for those who cannot see it.
        width, height: In pixels of the screen; it shrinks with the page, keeping its proportions.
        clickable: Whether clicks are sent (`on_click`).
    """

    _esm = CLIENT
    _css = LOOK
    still = traitlets.Bytes(b"").tag(sync=True)
    png = traitlets.Bytes(b"").tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)
    width = traitlets.Int(960).tag(sync=True)
    height = traitlets.Int(400).tag(sync=True)
    clickable = traitlets.Bool(False).tag(sync=True)

    def on_click(self, action: Callable[[float, float], Any]) -> None:
        """Call `action(x, y)` with the shares of width and height, from the top left corner."""

        def receive(_: Any, content: dict[str, Any], buffers: Any) -> None:
            if content.get("kind") == "click":
                action(float(content["x"]), float(content["y"]))

        self.on_msg(receive)
