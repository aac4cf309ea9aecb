"""The process that times training steps (see `toolkit.sweep.probe`, which starts it).

It reads one line of JSON (trials, workers, seconds, and whose child it is) and writes one: what
each trial showed, as the fields of a `Seen`, or null where it could not be run. As a sweep's
kernels do, its workers fork from a process that has imported everything, and go through the trials
side by side.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from statistics import median

import numpy as np

from toolkit import decoders, flops, methods
from toolkit.choices import nested_dimensions
from toolkit.decoders.untrained import untrained
from toolkit.pairs.ragged import Ragged
from toolkit.runs import RunConfig
from toolkit.sweep.kernel_host import die_with
from toolkit.sweep.plan import mean_lengths
from toolkit.sweep.throughput import Seen

_BATCHES = 4  # Different ones, which take turns.


def timed(config: RunConfig, batch_pairs: int, seconds: float) -> Seen:
    """The rate of a run's steps, at so many pairs a step, for about so many seconds.

    The decoder's weights are random, and so are the texts; their lengths are like the pairs' own.

    Raises:
        ToolkitError: The run is impossible.
    """
    from toolkit.training.preparation import make_optimizer, make_step, step_cost

    end = time.perf_counter() + seconds
    decoder = decoders.find(config.decoder)
    method = methods.resolve(config, decoder.shape)
    model = untrained(decoder, bidirectional=config.attention == "bidirectional")
    method.apply(model, config.seed)
    optimizer = make_optimizer(model, lr=1e-5, weight_decay=config.weight_decay)
    dimensions = nested_dimensions(config, decoder.shape.hidden)
    step = make_step(model, config, dimensions=dimensions, precision=config.precision)
    batches = [batch(config, decoder, batch_pairs, seed) for seed in range(_BATCHES)]
    costs = [step_cost(config, decoder, method, *(side.lengths for side in x)) for x in batches]

    def go(number: int) -> flops.StepFlops:
        step(*batches[number % _BATCHES])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return costs[number % _BATCHES]

    go(0)  # It takes memory that later ones find there.
    return Seen(
        params=decoder.params,
        method=config.method,
        precision=step.body.precision,
        batch_pairs=batch_pairs,
        rate=_rate(go, end),
        padded=not step.body.packed,
    )


def _rate(go: Callable[[int], flops.StepFlops], end: float) -> float:
    """Model FLOP a second of steps until a time, of one at least."""
    number, spent, begun = 0, 0, time.perf_counter()
    while number == 0 or time.perf_counter() < end:
        spent += go(number).model
        number += 1
    return spent / (time.perf_counter() - begun)


def batch(
    config: RunConfig, decoder: decoders.Decoder, batch_pairs: int, seed: int
) -> list[Ragged]:
    """Random queries and positives, and hard negatives where the run has any."""
    random = np.random.default_rng(seed)
    query, positive, negatives = mean_lengths(config, decoder.shape.vocabulary)
    counts = [(query, batch_pairs), (positive, batch_pairs), (positive, batch_pairs * negatives)]

    def texts(mean: int, count: int) -> Ragged:
        lengths = text_lengths(mean, config.max_tokens, count, random)
        ids = random.integers(0, decoder.shape.vocabulary, lengths.sum())
        return Ragged(ids.astype(np.int32), lengths)

    return [texts(mean, count) for mean, count in counts if count]


def text_lengths(mean: float, most: int, count: int, random: np.random.Generator) -> np.ndarray:
    """Lengths of texts that are cut at `most` tokens: int32, shape [count].

    Any from one token on is as likely as another; so many are cut as make the mean.
    """
    uniform = (most + 1) / 2
    if mean <= uniform:
        return random.integers(1, max(1, round(2 * mean - 1)), count, np.int32, endpoint=True)
    cut = random.random(count) < (mean - uniform) / (most - uniform)
    return np.where(cut, most, random.integers(1, most, count, endpoint=True)).astype(np.int32)


def _each(trials: Sequence[tuple[dict, int]], seconds: float) -> list[Seen | None]:
    """What every trial shows, in so many seconds together: each has an equal share of those that
    the trials before it have left."""
    end = time.perf_counter() + seconds
    found: list[Seen | None] = []
    for number, (values, batch_pairs) in enumerate(trials):
        share = (end - time.perf_counter()) / (len(trials) - number)
        try:
            found.append(timed(RunConfig.from_dict(values), batch_pairs, share))
        except Exception:  # Each architecture fails in its own way; the run itself says so.
            found.append(None)
    return found


def _middle(found: Sequence[Seen | None]) -> Seen | None:
    """What the workers agree on of one trial."""
    seen = [x for x in found if x is not None]
    return replace(seen[0], rate=median(x.rate for x in seen)) if seen else None


def _import_what_workers_need() -> None:
    from transformers import AutoModel, GPTNeoXModel, LlamaModel  # noqa: F401

    import toolkit.training.preparation  # noqa: F401


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    trials, workers = asked["trials"], asked["workers"]
    die_with(asked["parent"])  # Importing torch takes long: he may be gone before it is there.
    _import_what_workers_need()
    with multiprocessing.get_context("fork").Pool(workers, die_with, (os.getpid(),)) as pool:
        of_workers = pool.map(partial(_each, seconds=asked["seconds"]), [trials] * workers, 1)
    seen = [_middle(found) for found in zip(*of_workers, strict=True)]
    print(json.dumps([x and asdict(x) for x in seen]))


if __name__ == "__main__":
    main()
