"""`python -m toolkit pairs`: what is in a data source, before anything is trained on it."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import Any

from toolkit.text import table

HELP = "tell what is in a data source or a file of pairs: counts, split, lengths, samples"
_SAMPLES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", help="docstrings, manuals, hub:owner/name, or a file (.jsonl, .csv, …, .gz)"
    )
    add_columns(parser)
    parser.add_argument(
        "--decoder", default="small-7k", help="whose tokens are counted (default %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_columns(parser: argparse.ArgumentParser) -> None:
    """The options that say where a file's texts are."""
    parser.add_argument("--query", metavar="COLUMN", help="where the queries are")
    parser.add_argument("--positive", metavar="COLUMN", help="where their answers are")
    parser.add_argument("--negative", metavar="COLUMN", help="where texts are that do not answer")
    parser.add_argument(
        "--skip-bad", default="0", metavar="SHARE", help="of the rows may be bad and passed over"
    )


def run(args: argparse.Namespace) -> int:
    from toolkit.decoders import find, load_tokenizer
    from toolkit.pairs.summary import summarise
    from toolkit.runs import RunConfig

    config = RunConfig.from_dict(
        {
            "decoder": args.decoder,
            "budget_flop": 1,
            "data": args.source,
            **columns_of(args),
        }
    )
    tokenizer = load_tokenizer(find(args.decoder))
    answer = summarise(config.source, tokenizer, samples=_SAMPLES)
    if args.json:
        print(json.dumps({"source": args.source, **answer}, indent=1, ensure_ascii=False))
    else:
        print("\n".join(_lines(args.source, args.decoder, answer)))
    return 0


def columns_of(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of RunConfig that those options stand for."""
    return {
        "query_column": args.query,
        "positive_column": args.positive,
        "negative_column": args.negative,
        "skip_bad": args.skip_bad,
    }


def _lines(source: str, decoder: str, answer: dict[str, Any]) -> list[str]:
    tokens, alone = answer["tokens"], answer["pairs"] - answer["near_duplicates"]
    lines = [
        f"{source}: {answer['pairs']:,} pairs, fingerprint {answer['fingerprint']}",
        f"  {answer['train']:,} to train on, {answer['held_out']:,} held out, "
        f"{answer['left_out']:,} on neither side",
        f"  {answer['clusters']:,} clusters of pairs that share a text or are near-duplicates; "
        f"each lies on one side",
        f"  {alone:,} positives without a near-duplicate, {answer['near_duplicates']:,} with",
        f"  {answer['shared_queries']:,} queries with several positives, "
        f"{answer['shared_positives']:,} positives of several queries, "
        f"{answer['repeated']:,} pairs that occur again and are left out",
    ]
    if answer["bad_rows"]:
        lines.append(f"  {answer['bad_rows']:,} of {answer['rows']:,} rows are bad, passed over")
    if answer["negatives"]:
        lines.append(
            f"  {answer['negatives']:,} negatives, which are used with `negatives: given`; "
            "else the other positives of a batch are"
        )
    lines += ["", f"tokens of {decoder}, uncut"]
    rows = [
        [side, f"{t['mean']:.1f}", *(f"{t[q]:,}" for q in ("median", "p95", "longest"))]
        for side, t in tokens.items()
    ]
    lines.append(table(["", "mean", "median", "95 %", "longest"], rows))
    if answer["origins"]:
        total = answer["pairs"]
        rows = [
            [name, f"{o['pairs']:,}", f"{o['pairs'] / total:.1%}", f"{o['held_out']:,}",
             f"{o['query_tokens']:.1f}", f"{o['positive_tokens']:.1f}"]
            for name, o in answer["origins"].items()
        ]  # fmt: skip
        head = ["origin", "pairs", "share", "held out", "query tokens", "positive tokens"]
        lines += ["", table(head, rows)]
    lines.append("")
    for sample in answer["samples"]:
        origin = f"[{sample['origin']}] " if sample["origin"] else ""
        lines.append(textwrap.shorten(f"{origin}{sample['query']}", 98, placeholder=" …"))
        lines.append("  → " + textwrap.shorten(sample["positive"], 94, placeholder=" …"))
    return lines
