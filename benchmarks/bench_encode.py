"""`embed` beside sentence-transformers' `encode`: the same decoder, machine, texts and vectors.

Run it alone on a quiet machine; the ratio is what counts (goal: at least 1.5).

    python benchmarks/bench_encode.py [--texts 100000] [--decoder small-38k] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from entry import entry

DECODERS = ("small-38k", "smollm2-135m@4")
TEXTS = 100_000


def measure(repeats: int = 3, texts: int = TEXTS) -> list[dict[str, object]]:
    """Texts a second of ours over theirs, a row a decoder, in float32 on both sides."""
    rows = []
    for decoder in DECODERS:
        told = compare(decoder, texts, repeats, "float32")
        ours, theirs = (
            [texts / each for each in told["seconds"][who]] for who in ("ours", "theirs")
        )
        rows.append(entry(f"texts/s, {texts:,} texts by {decoder}", ours, theirs, "at least 1.5"))
    return rows


def compare(decoder: str, count: int, repeats: int, precision: str) -> dict[str, Any]:
    """Seconds of both, alternating, and how far their vectors are apart."""
    from sentence_transformers import SentenceTransformer

    from toolkit.encoder.export import export
    from toolkit.encoder.loading import load
    from toolkit.pairs.sources import read_pairs
    from toolkit.training.run import hardware_name

    pairs = read_pairs("docstrings")
    texts = list(islice(chain.from_iterable((p.query, p.positive) for p in pairs), count))
    texts = [texts[i % len(texts)] for i in range(count)]
    encoder = load(decoder)
    with tempfile.TemporaryDirectory() as scratch:
        peer = SentenceTransformer(str(export(encoder, Path(scratch) / "encoder")))
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    vectors: dict[str, np.ndarray] = {}
    ways: dict[str, Callable[[list[str]], np.ndarray]] = {
        "ours": lambda some: encoder.encode(some, precision=precision),
        "theirs": lambda some: peer.encode(some, batch_size=32, show_progress_bar=False),
    }
    for run in ways.values():  # Threads, caches and memory come first.
        run(texts[:256])
    for _ in range(repeats):
        for name, run in ways.items():
            started = time.perf_counter()
            vectors[name] = run(texts)
            seconds[name].append(time.perf_counter() - started)
    ratios = [theirs / ours for ours, theirs in zip(*seconds.values(), strict=True)]
    return {
        "decoder": decoder,
        "texts": count,
        "precision": precision,
        "seconds": seconds,
        "ratio": median(ratios),
        "apart": float(np.abs(vectors["ours"] - vectors["theirs"]).max()),
        "hardware": hardware_name(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=TEXTS)
    parser.add_argument("--decoder", action="append", help=f"default {' and '.join(DECODERS)}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16", "auto"))
    args = parser.parse_args()
    for decoder in args.decoder or DECODERS:
        print(json.dumps(compare(decoder, args.texts, args.repeats, args.precision), indent=1))


if __name__ == "__main__":
    main()
