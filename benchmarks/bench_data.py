"""Reading batches: from our token store of ten million pairs, and from a memory-mapped Arrow table.

Both hold the same token ids on disk and give 1,024 random pairs at a time; the peer is Hugging
Face `datasets`, which most training scripts read from. Beside it the share of a small decoder's
training time that goes into taking batches: the step is synchronous, so that is what it waits.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from entry import entry

from toolkit.pairs.ragged import TokenColumn
from toolkit.pairs.store import TokenisedPairs
from toolkit.runs import RunConfig
from toolkit.training.preparation import load_encoder, make_optimizer, prepare

PAIRS = 10_000_000
BATCH, BATCHES = 1024, 100
STEPS = 100


def measure(repeats: int = 3, pairs: int = PAIRS) -> list[dict[str, object]]:
    """The entries for `latest.json`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_store(folder, pairs)
        ours = open_store(folder)
        theirs = open_arrow(folder)
        random = np.random.default_rng(0)
        rates: list[tuple[float, float]] = []
        for _ in range(repeats):
            orders = random.integers(0, pairs, (2, BATCHES, BATCH))
            rates.append((rate(lambda o: take(ours, o), orders[0]), rate(theirs, orders[1])))
        first, again = random.integers(0, pairs, (2, BATCHES, BATCH))
        before = private_bytes()
        for order in (*first, *again):
            take(ours, order)
        grown = (private_bytes() - before) / 1e6
        size = sum(path.stat().st_size for path in folder.iterdir() if path.suffix == ".bin") / 1e6
    shares = [waiting_share() for _ in range(repeats)]
    return [
        entry(
            f"pairs/s, random batches of {BATCH} from {pairs:,} pairs, against Arrow (datasets)",
            [a for a, _ in rates],
            [b for _, b in rates],
            "at least 1",
        ),
        entry(
            f"memory taken by {2 * BATCHES} such batches, MB, against the size of the store",
            [grown],
            [size],
            "at most 0.01",
        ),
        entry(
            "seconds waiting for batches, against all of training, small-38k, 16 pairs a step",
            [waited for waited, _ in shares],
            [spent for _, spent in shares],
            "at most 0.02",
        ),
    ]


def write_store(folder: Path, pairs: int) -> None:
    """Token ids of `pairs` pairs with the study's mean lengths, 14 and 64."""
    random = np.random.default_rng(0)
    for text, longest in (("queries", 28), ("positives", 76)):
        low = 1 if text == "queries" else 53
        lengths = random.integers(low, longest, pairs)
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        offsets.astype(np.int64).tofile(folder / f"{text}.offsets.bin")
        with open(folder / f"{text}.ids.bin", "wb") as file:
            for start in range(0, int(offsets[-1]), 1 << 24):
                count = min(1 << 24, int(offsets[-1]) - start)
                file.write(random.integers(0, 50_304, count, dtype=np.int32).tobytes())


def open_store(folder: Path) -> TokenisedPairs:
    queries, positives = (
        TokenColumn(
            np.memmap(folder / f"{text}.ids.bin", np.int32, "r"),
            np.memmap(folder / f"{text}.offsets.bin", np.int64, "r"),
        )
        for text in ("queries", "positives")
    )
    return TokenisedPairs(queries, positives, np.zeros(0, np.uint64))


def open_arrow(folder: Path):
    """A function that takes a batch from the same ids as a memory-mapped Arrow file."""
    import datasets
    import pyarrow as pa

    path = folder / "pairs.arrow"
    columns = {}
    for text in ("queries", "positives"):
        ids = np.memmap(folder / f"{text}.ids.bin", np.int32, "r")
        offsets = np.memmap(folder / f"{text}.offsets.bin", np.int64, "r")
        columns[text] = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(ids))
    table = pa.table(columns)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=100_000)
    data = datasets.Dataset.from_file(str(path)).with_format("numpy")
    return lambda order: data[order]


def take(store: TokenisedPairs, order: np.ndarray) -> None:
    store.queries.take(order)
    store.positives.take(order)


def rate(read, orders: np.ndarray) -> float:
    """Pairs a second over some batches."""
    begin = time.perf_counter()
    for order in orders:
        read(order)
    return orders.size / (time.perf_counter() - begin)


def private_bytes() -> int:
    """Memory of this process alone: pages of mapped files belong to the system."""
    return psutil.Process().memory_full_info().uss


def waiting_share() -> tuple[float, float]:
    """Seconds taking batches, and seconds of all, over some steps of a small decoder."""
    from toolkit.contrast.step import ContrastiveStep

    run = prepare(RunConfig("small-38k", 2e10))
    model = load_encoder(run)
    optimizer = make_optimizer(model, lr=run.lr, weight_decay=0.1)
    step = ContrastiveStep(model, temperature=0.025)
    waited, begin = 0.0, time.perf_counter()
    for number in range(min(STEPS, run.schedule.steps)):
        start = time.perf_counter()
        order = run.schedule.batch(number)
        queries, positives = run.train.queries.take(order), run.train.positives.take(order)
        waited += time.perf_counter() - start
        step(queries, positives)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return waited, time.perf_counter() - begin


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3), indent=1))
