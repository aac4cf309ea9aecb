"""Nearest neighbours by hand: two encoders, or more, side by side on a person's own sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import ipywidgets as widgets
import numpy as np

from toolkit.errors import ToolkitError
from toolkit.explorer.words import rows_html
from toolkit.retrieval.encoders import Encodes

MOST = 8  # Neighbours shown.


def ranked(vectors: np.ndarray, asked: np.ndarray, most: int = MOST) -> list[tuple[int, float]]:
    """Positions and cosines of the vectors nearest to one, the nearest first.

    Args:
        vectors: Of unit length, shape [sentences, h]. asked: Shape [h].
    """
    cosines = vectors @ asked
    order = np.argsort(-cosines, kind="stable")[:most]
    return [(int(place), float(cosines[place])) for place in order]


def table(encoders: Mapping[str, Encodes], sentences: Sequence[str], question: str) -> str:
    """A column an encoder, the sentences nearest to the question from the top, as HTML."""
    columns = []
    for name, encoder in encoders.items():
        vectors = encoder.encode(sentences, side="positive")
        (asked,) = encoder.encode([question], side="query")
        rows = [(f"{cosine:.2f}", sentences[place]) for place, cosine in ranked(vectors, asked)]
        columns.append(
            f"<td style='vertical-align:top'><b>{escape(name)}</b>{rows_html(rows)}</td>"
        )
    return f"<table><tr>{''.join(columns)}</tr></table>"


def neighbours(
    encoders: Mapping[str, Encodes], sentences: Sequence[str], question: str = ""
) -> Any:
    """A widget: sentences, one a line, and a question; what each encoder finds near it.

    Args:
        encoders: By the name over their column. sentences: To begin with. question: Likewise; the
            first sentence where it is empty.
    """
    lines = widgets.Textarea("\n".join(sentences), description="sentences", rows=8)
    asked = widgets.Text(question or next(iter(sentences), ""), description="nearest to")
    lines.layout.width = asked.layout.width = "95%"
    found = widgets.HTML()

    def show(_: object = None) -> None:
        kept = [line.strip() for line in lines.value.splitlines() if line.strip()]
        if not kept or not asked.value.strip():
            found.value = "Write some sentences, one a line, and a question."
            return
        try:
            found.value = table(encoders, kept, asked.value)
        except ToolkitError as error:
            found.value = escape(str(error))

    for control in (lines, asked):
        control.continuous_update = False
        control.observe(show, "value")
    show()
    return widgets.VBox([lines, asked, found])
