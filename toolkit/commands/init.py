"""`python -m toolkit init`: from a person's own pairs and decoders to a study ready to run."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from toolkit.commands.pairs import add_columns, columns_of
from toolkit.errors import ToolkitError
from toolkit.text import read_number, scientific, table
from toolkit.writing import check_folder

if TYPE_CHECKING:
    from toolkit.pairs.look import Look
    from toolkit.sweep.proposal import Proposal

HELP = "look at your own pairs and set up a study of them, with its cost, in a folder"
_LENGTHS = (32, 48, 75, 128, 192, 256, 384, 512)
_DECODERS = "small-7k,small-15k,small-38k"
_UNCUT = 0.95  # Of the positives are to fit.


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="of the study; must hold nothing yet")
    parser.add_argument("--pairs", required=True, metavar="FILE", help="JSONL, CSV, Parquet, …")
    parser.add_argument("--flop", required=True, help="that the encoder may cost in the end")
    parser.add_argument(
        "--decoders", default=_DECODERS, metavar="A,B,…", help="names or folders (%(default)s)"
    )
    parser.add_argument(
        "--share", default="0.3", help="of --flop that the study may spend (default %(default)s)"
    )
    add_columns(parser)


def run(args: argparse.Namespace) -> int:
    from toolkit import decoders
    from toolkit.commands.plan import told
    from toolkit.pairs.look import look
    from toolkit.runs import RunConfig
    from toolkit.sweep.plan import FILE, read_plan
    from toolkit.sweep.proposal import propose, sizes

    flop, share = read_number(args.flop), _share(args.share)
    if args.folder.exists() and (not args.folder.is_dir() or any(args.folder.iterdir())):
        raise ToolkitError(f"{args.folder} is not empty; name another folder for the study")
    check_folder(args.folder)
    names = sizes([name.strip() for name in args.decoders.split(",") if name.strip()])
    for name in names:
        decoders.check_files(decoders.find(name))
    data = {"data": args.pairs, **columns_of(args)}
    source = RunConfig.from_dict({**data, "decoder": names[0], "budget_flop": 1}).source
    source.check()
    data["data"] = str(Path(args.pairs).resolve()) if source.is_file else args.pairs
    seen = look(source, decoders.load_tokenizer(decoders.find(names[0])))
    base = {key: value for key, value in data.items() if value not in (None, "0")}
    base |= settings(seen)
    proposed = propose(names, base, flop=flop, share=share)
    page = "\n".join(_page(args.pairs, names[0], seen, base["max_tokens"]))
    made = not args.folder.exists()
    args.folder.mkdir(parents=True, exist_ok=True)
    try:
        plan = {
            "title": f"Which decoder, which method, for {Path(args.pairs).name}",
            "about": f"Proposed for {flop:.3g} FLOP; it spends {proposed.flop / flop:.0%} of that.",
            "keep": "best",
            "base": base,
            "grid": list(proposed.grid),
        }
        text = yaml.safe_dump(plan, sort_keys=False, allow_unicode=True, default_flow_style=None)
        (args.folder / FILE).write_text(text, encoding="utf-8")
        cost = told(read_plan(args.folder))
        _draw(seen, base["max_tokens"], args.folder)
        (args.folder / "data.md").write_text(page + _PICTURES, encoding="utf-8")
        readme = _readme(args.folder, flop, proposed, cost)
        (args.folder / "README.md").write_text(readme, encoding="utf-8")
    except BaseException:
        if made:
            shutil.rmtree(args.folder, ignore_errors=True)
        else:
            for path in args.folder.iterdir():
                path.unlink()
        raise
    print(f"{page}\n\nThe study that is proposed\n\n{cost}\n\n{_next(args.folder, flop)}")
    return 0


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ToolkitError(f"--share is a share of --flop, above 0 and at most 1, not {text!r}")
    return share


def settings(seen: Look) -> dict[str, Any]:
    """What the data ask for: where texts are cut, candidates of the loss, pairs a step."""
    import numpy as np

    wanted = np.quantile(seen.lengths[:, 1], _UNCUT)
    longest = next((length for length in _LENGTHS if length >= wanted), _LENGTHS[-1])
    held_out, train = seen.facts.held_out, seen.facts.train
    if held_out < 2 or train < 2:
        raise ToolkitError(
            f"the data give {train:,} pairs to train on and {held_out:,} to measure on (one "
            "cluster in twenty), and at least 2 of each are needed; give more pairs"
        )
    batch = min(32, max(2, train // 4))
    return {"max_tokens": longest, "candidates": min(1024, held_out), "batch_pairs": batch}


def _page(name: str, decoder: str, seen: Look, max_tokens: int) -> list[str]:
    import numpy as np

    facts, lengths = seen.facts, seen.lengths
    n = seen.looked_at
    of = "" if n == facts.pairs else f" (of {n:,} that were looked at)"
    rows = [
        [text, *(f"{np.quantile(column, q):,.0f}" for q in (0.5, 0.95, 1))]
        for text, column in zip(("queries", "positives"), lengths.T, strict=True)
    ]
    cut = float((lengths > max_tokens).any(1).mean())
    languages = ", ".join(f"{name} {share:.0%}" for name, share in seen.languages.items())
    lines = [
        f"# {Path(name).name}",
        "",
        f"{facts.pairs:,} pairs, fingerprint {facts.fingerprint}: {facts.train:,} to train on, "
        f"{facts.held_out:,} held out, {facts.left_out:,} on neither side.",
        f"- duplicates: {facts.repeated:,} pairs occur again and are left out",
        f"- near-duplicates: {facts.near_duplicates:,} pairs have a positive that is nearly "
        "another's (three-word shingles, Jaccard index at least 0.7); they lie on one side",
        f"- shared texts: {facts.shared_queries:,} queries with several positives, "
        f"{facts.shared_positives:,} positives of several queries; they are not each other's "
        "wrong answers",
        f"- leaks: {seen.leaks:,} held-out pairs have a text that, or nearly that, is in a "
        "training pair too" + _shown(seen.leaked),
        f"- nothing in common: {seen.apart_share:.1%} of the pairs{of} share no content word "
        "(three letters and more, the first five count)"
        + _shown([f"{pair.query} → {pair.positive}" for pair in seen.apart]),
        f"- languages, by letters and small words: {languages}",
        f"- negatives: {facts.negatives:,}",
    ]
    if facts.bad_rows:
        lines.append(f"- {facts.bad_rows:,} of {facts.rows:,} rows are bad and passed over")
    lines += [
        "",
        f"Tokens of {decoder}; cut at {max_tokens}, which shortens {cut:.1%} of the pairs:",
        "",
        table(["", "median", "95 %", "longest"], rows),
    ]
    return lines


def _shown(texts: Any) -> str:
    import textwrap

    short = [textwrap.shorten(text, 90, placeholder=" …") for text in texts]
    return "".join(f"\n  - {text}" for text in short)


_PICTURES = "\n\n![How long the texts are](lengths.png)\n\n![How much is repeated](overlap.png)\n"


def _draw(seen: Look, max_tokens: int, folder: Path) -> None:
    from matplotlib.figure import Figure

    from toolkit.figures import alone, write
    from toolkit.figures.pairs import pair_lengths, pair_overlap

    def lengths() -> Figure:
        return alone(pair_lengths, seen, legend=False, max_tokens=max_tokens)

    write(lengths, folder / "lengths.png")
    write(lambda: alone(pair_overlap, seen, legend=False), folder / "overlap.png")


def _readme(folder: Path, flop: float, proposed: Proposal, cost: str) -> str:
    return (
        f"# {folder.name}\n\nA study for a budget of {scientific(flop, 3)} model FLOP, proposed by "
        f"`python -m toolkit init`. It spends "
        f"{proposed.flop / flop:.0%} of that; its largest runs have "
        f"{scientific(proposed.largest, 3)} FLOP, so that the recipe reaches "
        f"{flop / proposed.largest:.3g} times beyond them. "
        "What was seen in the pairs: [data.md](data.md). The plan is `sweep.yaml`: "
        f"change it as you like.\n\n```\n{cost}\n```\n\n{_next(folder, flop)}\n"
    )


def _next(folder: Path, flop: float) -> str:
    return (
        f"Then:\n\n    python -m toolkit sweep {folder}\n"
        f"    python -m toolkit recipe {folder} --flop {flop:g}\n"
        f"    python -m toolkit export {folder}/runs/RUN my-encoder"
    )
