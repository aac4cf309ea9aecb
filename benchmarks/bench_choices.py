"""What the step does, against what it could have done: each choice undone, by itself.

One process takes steps in turns, ours and each alternative's, on the same weights and texts: a
small decoder at the small suite's batch, and the shape of pythia-14m.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from bench_step import TEMPERATURE, Case, batch, build
from entry import entry

from toolkit.decoders import KNOWN
from toolkit.methods.full import Full

STEPS = 5  # Of which the fastest counts: a step of a small decoder takes milliseconds.
CASES = (Case("small-38k", 16), Case("pythia-14m", 128))


def measure(repeats: int = 3) -> list[dict[str, object]]:
    """The entries for `latest.json`: steps a second of ours over those of each alternative."""
    return [one for case in CASES for one in choices(case, repeats)]


def choices(case: Case, repeats: int) -> list[dict[str, object]]:
    from toolkit.contrast import attention, packing
    from toolkit.contrast.bodies import HubBody
    from toolkit.contrast.step import ContrastiveStep

    model = Full().apply(build(KNOWN[case.decoder].shape), seed=0)
    texts = batch(case)

    def plain(**options: Any) -> Callable[[], object]:
        step = ContrastiveStep(model, temperature=TEMPERATURE, **options)
        return lambda: step(*texts)

    def own_code() -> Callable[[], object]:
        step = ContrastiveStep(model, temperature=TEMPERATURE)
        step.body = HubBody(model)
        return lambda: step(*texts)

    half = sum(len(text.ids) for text in texts) // 2
    ours = plain()
    ways = {
        "attention in windows of one length each": (plain(), patched(packing, WINDOW=1)),
        "attention in one window a chunk": (plain(), patched(packing, WINDOW=128)),
        "torch's fused attention": (plain(), patched(attention, LONGEST_EXPLICIT=0)),
        "two chunks, one of which runs forward twice": (plain(chunk_tokens=half), nothing),
        "the model's own code on the same packed stream": (own_code(), nothing),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, (step, changed) in ways.items():
            with changed():
                theirs = rate(step)
            if repeat:  # The first is for warming up.
                rates[name].append((rate(ours), theirs))
    return [
        entry(
            f"steps/s, {case.decoder}, {case.pairs} pairs, against {name}",
            [a for a, _ in pairs],
            [b for _, b in pairs],
            "at least 1",
        )
        for name, pairs in rates.items()
    ]


def rate(step: Callable[[], object]) -> float:
    """Steps a second, of the fastest step."""
    seconds = []
    for _ in range(STEPS):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    return 1 / min(seconds)


def patched(module: Any, **values: object) -> Callable[[], Any]:
    return lambda: mock.patch.multiple(module, **values)


@contextmanager
def nothing() -> Iterator[None]:
    yield


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3), indent=1))
