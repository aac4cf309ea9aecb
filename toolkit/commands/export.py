"""`python -m toolkit export`: a run's encoder as what sentence-transformers loads."""

from __future__ import annotations

import argparse

from toolkit.text import size

HELP = "save the encoder of a run as a folder that sentence-transformers and its friends load"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "encoder", metavar="RUN", help="folder of a run that kept its encoder, or a decoder's name"
    )
    parser.add_argument("folder", help="where to save it; must hold nothing yet")
    parser.add_argument(
        "--precision",
        default="float32",
        metavar="KIND",
        help="of the weights: float32, or bfloat16 for half the size (default %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    from toolkit.encoder.export import export
    from toolkit.encoder.loading import load

    encoder = load(args.encoder)
    folder = export(encoder, args.folder, precision=args.precision)
    taken = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size(taken)}, vectors of {encoder.width} numbers; README.md says what it is")
    print(f'load it with: SentenceTransformer("{folder}"), or toolkit.load("{folder}")')
    return 0
