"""`python -m toolkit search`: the texts of a corpus that are nearest to a question."""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path

from toolkit.arguments import whole

HELP = "find the texts of a corpus that are nearest to a question"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("encoder", help="a run's folder, an exported folder, a decoder's name, …")
    parser.add_argument("corpus", type=Path, help="a file of texts, or a folder in BEIR's layout")
    parser.add_argument("question", nargs="+", help="one or several, each in quotes")
    parser.add_argument("--vectors", type=Path, help="of the corpus, as `embed` wrote them: .npy")
    parser.add_argument("--column", help="where the texts are (default text, sentence, …)")
    parser.add_argument("-k", type=whole, default=5, help="how many (default %(default)s)")
    parser.add_argument("--exact", action="store_true", help="look at all, however many there are")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from toolkit.pairs.texts import TextFile
    from toolkit.retrieval.collection import corpus_file
    from toolkit.retrieval.encoders import find_encoder
    from toolkit.retrieval.searching import search

    path = corpus_file(args.corpus) if args.corpus.is_dir() else args.corpus
    texts = TextFile(path, args.column)
    next(iter(texts), None)  # A wrong name or column is said before weights are loaded.
    found = search(
        find_encoder(args.encoder),
        texts,
        args.question,
        k=args.k,
        vectors=args.vectors,
        exact=args.exact,
    )
    if args.json:
        answers = [
            {"question": q, "found": [vars(hit) for hit in hits]}
            for q, hits in zip(args.question, found, strict=True)
        ]
        print(json.dumps(answers, indent=1, ensure_ascii=False))
        return 0
    for question, hits in zip(args.question, found, strict=True):
        print(question)
        for hit in hits:
            text = textwrap.shorten(hit.text, 86, placeholder=" …")
            print(f"  {hit.similarity:6.3f}  {text}")
    return 0
