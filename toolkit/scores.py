"""What encoders came to on tasks: a score, and the table of a sweep's scores.

`scores.csv` lies beside a sweep's run table: one row an encoder, task and measure. Its encoders are
runs, by name; the untuned decoders that they began as; and encoders from elsewhere to compare with.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.laws.estimate import Estimate

FILE = "scores.csv"
KINDS = ("run", "untuned", "other")


class NoScore(ToolkitError):
    """An encoder has no score on a task, for a reason of its own; others may have one."""


@dataclass(frozen=True)
class Scores:
    """What an encoder came to on one task.

    Attributes:
        task: Its name.
        main: The measure that the task is told by.
        measures: Each by its name, with a 95 % interval; the higher the better.
        count: Of what the interval is over. unit: What that is: queries, pairs, documents.
        note: What a reader of the numbers must know, if anything.
    """

    task: str
    main: str
    measures: dict[str, Estimate]
    count: int
    unit: str
    note: str = ""


@dataclass(frozen=True)
class Score:
    """One row of a table of scores.

    Attributes:
        encoder: A run's name, a decoder's, or another encoder's. kind: run, untuned or other.
        task, measure: Of what. value, low, high: With the 95 % interval.
        count, unit, note: As of `Scores`.
        content: A fingerprint of what the task held; empty where that was not noted.
    """

    encoder: str
    kind: str
    task: str
    measure: str
    value: float
    low: float
    high: float
    count: int
    unit: str
    note: str = ""
    content: str = ""

    @property
    def estimate(self) -> Estimate:
        """The value with its interval."""
        return Estimate(self.value, self.low, self.high)


_NEEDED = tuple(f.name for f in fields(Score) if f.name != "content")  # Older tables have none.


def rows(encoder: str, kind: str, scores: Scores, content: str = "") -> list[Score]:
    """The rows of one encoder's scores on one task of this content, the main measure first."""
    order = sorted(scores.measures, key=lambda name: name != scores.main)
    return [
        Score(
            encoder,
            kind,
            scores.task,
            name,
            scores.measures[name].value,
            scores.measures[name].low,
            scores.measures[name].high,
            scores.count,
            scores.unit,
            scores.note,
            content,
        )
        for name in order
    ]


def contents(scores: Iterable[Score], task: str) -> set[str]:
    """Fingerprints of what a task held when it was judged; an empty one where none was noted."""
    return {score.content for score in scores if score.task == task}


def as_csv(table: Iterable[Score]) -> str:
    """A table of scores as CSV text, every digit kept."""
    out = io.StringIO()
    names = [field.name for field in fields(Score)]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(score, name) for name in names] for score in table)
    return out.getvalue()


def read_scores(path: Path) -> list[Score]:
    """A table of scores; the last of an encoder's several values of one measure counts.

    Raises:
        ToolkitError: The file is missing, or a line of it is no score; file and line are named.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            found = {}
            lines = csv.DictReader(file)
            absent = [name for name in _NEEDED if name not in (lines.fieldnames or ())]
            if absent:
                raise ToolkitError(f"{path}, line 1, lacks the columns {', '.join(absent)}")
            for number, row in enumerate(lines, 2):
                score = _score(row, f"{path}, line {number},")
                found[score.encoder, score.task, score.measure] = score
    except FileNotFoundError as error:
        raise ToolkitError(
            f"there are no scores at {path}; make them: python -m toolkit evaluate {path.parent}"
        ) from error
    except (OSError, ValueError, csv.Error) as error:
        raise ToolkitError(f"{path} cannot be read: {error}") from error
    return list(found.values())


def _score(row: dict[str, str | None], where: str) -> Score:
    absent = [name for name in _NEEDED if row.get(name) is None]
    if absent or None in row:
        raise ToolkitError(f"{where} has not the columns of a score ({absent or 'too many cells'})")
    words = {name: value or "" for name, value in row.items()}
    try:
        value, low, high = (float(words[name] or "nan") for name in ("value", "low", "high"))
        count = int(words["count"])
    except ValueError as error:
        raise ToolkitError(f"{where} holds no score: {error}") from error
    if not math.isfinite(value):
        raise ToolkitError(f"{where} has the value {words['value'] or 'of nothing'!r}, no number")
    if words["kind"] not in KINDS:
        raise ToolkitError(f"{where} has the kind {words['kind']!r}; known: {', '.join(KINDS)}")
    return Score(
        encoder=words["encoder"],
        kind=words["kind"],
        task=words["task"],
        measure=words["measure"],
        value=value,
        low=low,
        high=high,
        count=count,
        unit=words["unit"],
        note=words["note"],
        content=words.get("content", ""),
    )
