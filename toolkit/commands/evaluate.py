"""`python -m toolkit evaluate`: an encoder, or all of a sweep's, on what people judged."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.text import table

if TYPE_CHECKING:
    from toolkit.scores import Score

HELP = "judge an encoder, or a sweep's, on a collection of your own, real sets, or MTEB's tasks"
_TASKS = ("see-also",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "encoder",
        help="a run's folder, an exported folder, a decoder's name (untuned), all-MiniLM-L6-v2, "
        "or a sweep's folder: all that it kept, its decoders untuned, and all-MiniLM-L6-v2",
    )
    parser.add_argument(
        "tasks",
        nargs="*",
        metavar="task",
        help="a folder in BEIR's layout, see-also, lee, simlex, wordsim, or mteb:NAME "
        f"(default {' '.join(_TASKS)})",
    )
    parser.add_argument("--split", help="of your judgements: test, dev, train, …")
    parser.add_argument(
        "--own",
        action="store_true",
        help="in your collection, a query and a document of one id are one text",
    )
    parser.add_argument("--again", action="store_true", help="of a sweep: make all scores anew")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from toolkit.errors import ToolkitError
    from toolkit.retrieval.encoders import find_encoder
    from toolkit.retrieval.sweep_scores import score_sweep
    from toolkit.retrieval.tasks import find
    from toolkit.scores import NoScore, rows
    from toolkit.sweep.plan import FILE
    from toolkit.values import repeated

    # Whatever is wrong with a task is said before an encoder is loaded.
    names = dict.fromkeys(args.tasks or _TASKS)
    tasks = [find(name, split=args.split, own=args.own) for name in names]
    if name := repeated(task.name for task in tasks):
        raise ToolkitError(f"two collections are called {name!r}; give their folders other names")
    if (Path(args.encoder) / FILE).is_file():
        scores = score_sweep(Path(args.encoder), tasks, again=args.again, said=_say)
    else:
        encoder = find_encoder(args.encoder)
        scores = []
        for task in tasks:
            try:
                scores += rows(args.encoder, "other", task.scores(encoder), task.content)
            except NoScore as error:
                _say(str(error))
        if not scores:
            return 2
    if args.json:
        print(json.dumps([_plain(score) for score in scores], indent=1, ensure_ascii=False))
    else:
        print(as_text(scores))
    return 0


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _plain(score: Score) -> dict[str, object]:
    from toolkit.laws import as_json

    return as_json(score)


def as_text(scores: list[Score]) -> str:
    """A table a task, an encoder a line, its measures with their intervals."""
    parts = []
    for task in dict.fromkeys(score.task for score in scores):
        these = [score for score in scores if score.task == task]
        measures = list(dict.fromkeys(score.measure for score in these))
        lines = []
        for encoder in dict.fromkeys(score.encoder for score in these):
            own = {score.measure: score for score in these if score.encoder == encoder}
            kind = next(iter(own.values())).kind
            cells = [_cell(own.get(measure)) for measure in measures]
            lines.append([encoder, "" if kind == "other" else kind, *cells])
        parts.append(f"{task}: {these[0].count:,} {these[0].unit}")
        parts.append(table(["", "", *measures], lines))
        parts += [f"  {note}" for note in dict.fromkeys(score.note for score in these) if note]
        parts.append("")
    return "\n".join(parts).rstrip()


def _cell(score: Score | None) -> str:
    if score is None:
        return "–"
    if score.low != score.low:  # no interval
        return f"{score.value:.3f}"
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"
