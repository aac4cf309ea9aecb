"""`python -m toolkit downstream`: does the loss of a sweep's runs predict their scores?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.text import scientific, table

if TYPE_CHECKING:
    from toolkit.recipe.downstream import Downstream

HELP = "put the losses of a sweep's runs beside their scores on a task (after `evaluate`)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", type=Path, help="its folder, with runs.csv and scores.csv")
    parser.add_argument("--task", default="see-also", help="scored (default %(default)s)")
    parser.add_argument("--measure", help="of the task (default its main one)")
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="draw score against loss: a PNG"
    )
    parser.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help="write the run table with 1 - score for its loss: `recipe` and `fit` read it",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from toolkit.recipe.downstream import by_score, downstream
    from toolkit.scores import FILE, read_scores
    from toolkit.tables import read_table
    from toolkit.writing import check_file, write_atomically

    for path in filter(None, (args.figure, args.table)):
        check_file(path)
    scores = read_scores(args.sweep / FILE)
    found = downstream(read_table(args.sweep), scores, args.task, args.measure)
    if args.figure:
        from toolkit.figures import write
        from toolkit.figures.downstream import score_by_loss

        write(lambda: score_by_loss(found), args.figure)
    if args.table:
        write_atomically(args.table, by_score(found.runs).to_csv(index=False))
    print(json.dumps(_plain(found), indent=1) if args.json else as_text(found))
    return 0


def _plain(found: Downstream) -> dict[str, Any]:
    from toolkit.laws import as_json

    columns = ["run", "method", "decoder", "params", "budget_flop", "loss", "score"]
    return {
        "task": found.task,
        "measure": found.measure,
        "correlation": as_json(found.correlation),
        "untold": found.untold,
        "content_note": found.content_note,
        "preferences": as_json(found.preferences),
        "untuned": found.zero,
        "other": found.other,
        "law_note": found.law_note,
        "runs": json.loads(found.runs[columns].to_json(orient="records")),
    }


def as_text(found: Downstream) -> str:
    """The answer for a terminal: the correlation, run zero, and where the best sizes differ."""
    best = found.runs.sort_values("score").iloc[-1]
    lines = [
        f"{found.task}, {found.measure}: loss and score of {len(found.runs)} runs",
        _correlation(found),
        f"best tuned {best['score']:.3f}: {best['run']}",
    ]
    for name, value in [*found.zero.items(), *found.other.items()]:
        kind = "untuned" if name in found.zero else "from elsewhere"
        lines.append(f"{kind} {value:.3f}: {name}")
    rows = [
        [
            each.source,
            each.method or "the best",
            scientific(each.budget_flop),
            each.by_loss,
            each.by_score,
            "same" if each.by_loss == each.by_score else "differ",
        ]
        for each in found.preferences
    ]
    if rows:
        lines += ["", table(["", "method", "budget", "by loss", "by score", ""], rows)]
    if found.content_note:
        lines += ["", found.content_note]
    if found.law_note:
        lines += ["", f"no laws of both: {found.law_note}"]
    return "\n".join(lines)


def _correlation(found: Downstream) -> str:
    if found.untold:
        return f"Spearman's correlation cannot be told: {found.untold}"
    rho = found.correlation
    return f"Spearman {rho.value:.3f} ({rho.low:.3f} to {rho.high:.3f}); -1: the loss tells all"
