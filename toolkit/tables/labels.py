"""Words in the cells of a table: methods, states and other labels, however they are spelled."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from toolkit.methods import METHODS

if TYPE_CHECKING:
    import pandas as pd

FINISHED = (
    "finished", "finish", "complete", "completed", "done", "success", "successful", "succeeded",
    "successfully", "ok", "okay",
)  # fmt: skip
_TUNING = re.compile(r"(finetuning|finetuned|finetune|tuning|tuned|ft)$")


def spelling(text: str) -> str:
    """A label without its case, blanks, underscores and hyphens: what spellings have in common."""
    return re.sub(r"[\s_\-–]+", "", text.casefold())


def method(text: str) -> str | None:
    """Our name of a method, from a usual one such as `Full fine-tuning`, `LoRA` or `BitFit`."""
    plain = spelling(text)
    short = _TUNING.sub("", plain) or "full"  # "Fine-tuning" alone is that of everything.
    for name, ours in METHODS.items():
        if {plain, short}.intersection(ours.spellings.split()):
            return name
    return None


def one_spelling(column: pd.Series) -> tuple[pd.Series, dict[str, tuple[str, ...]]]:
    """Labels that differ in spelling only as one, the most frequent; what became of which."""
    return _merged(column, {})


def methods(column: pd.Series) -> tuple[pd.Series, tuple[str, ...]]:
    """Methods by our names or, where we have none, by their most frequent spelling; with notes."""
    ours = {str(text): name for text in column.dropna().unique() if (name := method(str(text)))}
    merged, became = _merged(column, ours)
    return merged, sentences("method", became)


def sentences(name: str, became: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """What labels of a column became, by the new one."""
    return tuple(
        f"{name} {' and '.join(map(repr, old))} in the table {'is' if len(old) == 1 else 'are'} "
        f"read as {new!r}"
        for new, old in became.items()
    )


def states(column: pd.Series) -> pd.Series:
    """A status column in which every word for a finished run is `finished`."""
    ended = {text: "finished" for text in column.dropna().unique() if is_finished(text)}
    return column.map(lambda cell: ended.get(cell, cell))


def is_finished(status: object) -> bool:
    """Whether a word says that a run came to its end: Finished, COMPLETED, done, success."""
    return re.sub(r"[\W_]+", "", str(status).casefold()) in FINISHED


def _merged(
    column: pd.Series, ours: Mapping[str, str]
) -> tuple[pd.Series, dict[str, tuple[str, ...]]]:
    texts = Counter(cell for cell in column.dropna() if isinstance(cell, str))
    new: dict[str, str] = {}
    first: dict[str, str] = {}
    for text, _ in texts.most_common():
        name = ours.get(text) or first.setdefault(spelling(text) or text, text.strip())
        new[text] = name
    became: dict[str, tuple[str, ...]] = {}
    for old, name in new.items():
        if old != name:
            became[name] = (*became.get(name, ()), old)
    if not became:
        return column, {}
    return column.map(lambda cell: new.get(cell, cell) if isinstance(cell, str) else cell), became
