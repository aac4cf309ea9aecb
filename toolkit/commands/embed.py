"""`python -m toolkit embed`: the vectors of a file's texts."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.encoder.encoder import SIDES

HELP = "embed a file's texts, of any size; goes on where it was stopped"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("encoder", help="a run's folder, an exported folder, a decoder's name, …")
    parser.add_argument(
        "file",
        type=Path,
        help=".txt (a text a line), .jsonl, .csv, .tsv, .parquet; each also .gz",
    )
    parser.add_argument("--out", type=Path, required=True, help="vectors.npy, or .parquet")
    parser.add_argument(
        "--side",
        choices=SIDES,
        default="positive",
        help="whose prefix goes before each text, if the run had one: query, or positive "
        "(the default: texts to be found)",
    )
    parser.add_argument("--column", help="where the texts are (default text, sentence, …)")


def run(args: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from toolkit.pairs.texts import TextFile
    from toolkit.retrieval.encoders import find_encoder
    from toolkit.retrieval.vectors import check_target, embed_file

    texts = TextFile(args.file, args.column)
    check_target(args.out)
    next(iter(texts), None)  # A wrong name or column is said before weights are loaded.
    encoder = find_encoder(args.encoder)
    with tqdm(unit="text", smoothing=0.1) as bar:

        def show(done: int, count: int) -> None:
            bar.total, bar.initial = count, bar.initial or (done if not bar.n else 0)
            bar.update(done - bar.n)

        count = embed_file(encoder, texts, args.out, side=args.side, progress=show)
    print(f"{count:,} vectors in {args.out}")
    return 0
