"""A sweep's scores: its kept encoders, its decoders untuned, and one from elsewhere, on tasks.

"Run zero" answers whether tuning was worth anything: what the decoder gives before a single step,
and what a small encoder gives that anybody can have, both on the measures of the tuned ones, the
held-out set of the sweep included. All is kept in `scores.csv` beside the run table, row by row, so
that a second call only makes what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.laws.estimate import Estimate
from toolkit.pairs.sources import Source
from toolkit.retrieval.encoders import MINILM, Encodes, minilm
from toolkit.retrieval.measures import mean_of
from toolkit.retrieval.tasks import Task
from toolkit.runs import RunConfig
from toolkit.scores import FILE, NoScore, Score, Scores, as_csv, read_scores, rows
from toolkit.sweep.plan import Plan, read_plan
from toolkit.writing import write_atomically

HELD_OUT = "held-out"
# What says how a text is read and pooled: an untuned decoder is read as the sweep's runs are.
READING = (
    *("decoder", "pooling", "attention", "max_tokens", "special_tokens"),
    *("query_prefix", "positive_prefix", "prefix_in_pooling"),
)


@dataclass(frozen=True)
class Contender:
    """An encoder to be judged: its name, its kind (`toolkit.scores.KINDS`), and how to get it."""

    name: str
    kind: str
    config: RunConfig
    load: Callable[[], Encodes]


def score_sweep(
    folder: Path,
    tasks: Sequence[Task],
    *,
    again: bool = False,
    said: Callable[[str], None] = lambda sentence: None,
) -> list[Score]:
    """Judge a sweep's encoders on tasks and on its held-out set, and keep the table.

    What was judged on another content of a task is judged anew.

    Args:
        again: Make what is there already anew. said: Told what is being done, and what cannot be.

    Raises:
        ToolkitError: The folder holds no sweep, or what is there of scores is damaged.
    """
    plan = read_plan(folder)
    path = plan.folder / FILE
    old = [] if again or not path.is_file() else read_scores(path)
    table = {_key(s): s for s in _still_true(old, tasks, said)}
    for one in contenders(plan):
        wanted = [task for task in tasks if not _has(table, one.name, task.name)]
        zero = one.kind != "run" and not _has(table, one.name, HELD_OUT)
        if not wanted and not zero:
            continue
        said(
            f"{one.name} on {', '.join([*([HELD_OUT] if zero else []), *(t.name for t in wanted)])}"
        )
        try:
            encoder = one.load()
        except SurroundingsError as error:
            said(f"left out: {error}")
            continue
        found = rows(one.name, one.kind, held_out_scores(encoder, one.config)) if zero else []
        for task in wanted:
            try:
                scores = task.scores(encoder)
            except NoScore as error:
                said(f"left out: {one.name}: {error}")
                continue
            note = _overlap(one) if task.name == "see-also" else ""
            scores = replace(scores, note="; ".join(filter(None, (scores.note, note))))
            found += rows(one.name, one.kind, scores, task.content)
        table |= {_key(row): row for row in found}
        write_atomically(path, as_csv(table.values()))
    return list(table.values())


def _still_true(
    scores: Sequence[Score], tasks: Sequence[Task], said: Callable[[str], None]
) -> list[Score]:
    """The scores without those on a task whose content is another by now, which is told."""
    kept = list(scores)
    for task in (task for task in tasks if task.content):
        on = {s.encoder: s for s in kept if s.task == task.name and s.content != task.content}
        unknown = {name for name, score in on.items() if not score.content}
        if stale := on.keys() - unknown:
            said(f"{task.name} has changed since {len(stale)} encoders were judged on it: again")
            kept = [s for s in kept if s.task != task.name or s.encoder not in stale]
        if unknown:
            said(
                f"{len(unknown)} encoders were judged on {task.name} before its content was noted: "
                "taken to be the same (--again makes all scores anew)"
            )
    return kept


def contenders(plan: Plan) -> Iterator[Contender]:
    """The encoders of a sweep that can be judged: untuned, from elsewhere, and those kept.

    Raises:
        ToolkitError: The sweep has no run.
    """
    from importlib.util import find_spec

    from toolkit.encoder.loading import load
    from toolkit.training.kept import is_kept

    seen: dict[str, RunConfig] = {}
    for config in plan.configs:
        seen.setdefault(config.decoder, config)
    for decoder, config in seen.items():
        settings = {name: getattr(config, name) for name in READING[1:]}
        yield Contender(decoder, "untuned", config, partial(load, decoder, **settings))
    if not seen:
        raise ToolkitError(f"{plan.folder} has no run")
    if find_spec("sentence_transformers") is not None:
        yield Contender(MINILM, "other", plan.configs[0], minilm)
    for state in plan.states():
        path = plan.run_folder(state.config).path
        if state.name == "finished" and is_kept(path):
            yield Contender(state.config.run_id, "run", state.config, partial(load, path))


def held_out_scores(encoder: Encodes, config: RunConfig) -> Scores:
    """Loss, recall and MRR on a run's own held-out set: its texts as its decoder read them, each
    behind the encoder's own prefix.

    The loss is the one of the run's record, in nats; the others are better where they are higher.
    """
    import torch

    from toolkit import decoders
    from toolkit.pairs.tokens import tokenise
    from toolkit.training.evaluation import evaluation_of, held_out_set

    tokenizer = decoders.load_tokenizer(decoders.find(config.decoder))
    data = tokenise(
        config.source,
        tokenizer,
        max_tokens=config.max_tokens,
        special_tokens=config.special_tokens,
    )
    held_out = held_out_set(data.held_out, config.candidates, data.facts)
    sides = []
    for side, texts in (("query", held_out.queries), ("positive", held_out.positives)):
        bounds = texts.offsets
        ids = [texts.ids[a:b].tolist() for a, b in pairwise(bounds)]
        plain = tokenizer.batch_decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        sides.append(torch.from_numpy(encoder.encode(plain, side=side)))
    found = evaluation_of(sides[0], sides[1], held_out, temperature=config.temperature)
    similarity = sides[0] @ sides[1].T
    ranks = (similarity >= similarity.diagonal().unsqueeze(1)).sum(1).clamp(min=1).numpy()
    measures = {
        "mrr": replace(mean_of(1.0 / ranks), value=found.mrr),
        "recall_at_1": replace(mean_of((ranks <= 1).astype(float)), value=found.recall_at_1),
        "recall_at_10": replace(mean_of((ranks <= 10).astype(float)), value=found.recall_at_10),
        "loss": Estimate(found.loss),
    }
    return Scores(HELD_OUT, "mrr", measures, len(held_out), "queries")


def _key(score: Score) -> tuple[str, str, str]:
    return score.encoder, score.task, score.measure


def _has(table: dict[tuple[str, str, str], Score], encoder: str, task: str) -> bool:
    return any(key[:2] == (encoder, task) for key in table)


def _overlap(one: Contender) -> str:
    """What a run's training data hold of the documentation that the task see-also asks about."""
    if one.kind != "run" or one.config.without == "see-also":
        return ""
    shared, pairs = _shared(one.config.source)
    if not shared:
        return ""
    return (
        f"{shared:,} of the {pairs:,} pairs of its data are of the packages asked about; "
        "without: see-also leaves them out"
    )


@cache
def _shared(source: Source) -> tuple[int, int]:
    """Of a source's pairs those with a text that is asked about, and all of them."""
    from toolkit.pairs.apart import count_shared
    from toolkit.pairs.sources import read_pairs

    pairs = list(read_pairs(source))
    return count_shared(pairs), len(pairs)
