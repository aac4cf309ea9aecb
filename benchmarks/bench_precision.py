"""A step with bfloat16 products against one in float32, by the decoder's width, in turns.

Where the ratio passes 1 for good is where `precision: auto` begins to take bfloat16
(`toolkit.contrast.precision.LEAST_WIDTH`). On a processor that does not multiply in bfloat16 the
ratios are below 1, and auto takes float32 throughout.
"""

from __future__ import annotations

from bench_step import Case, Side, our_worker
from entry import entry

from toolkit import machine
from toolkit.contrast.precision import LEAST_WIDTH
from toolkit.decoders import KNOWN

CASES = (
    *(Case(f"small-{size}", 32) for size in ("85k", "200k", "559k", "1.2m", "2.7m")),
    *(Case("pythia-14m", 256), Case("pythia-31m", 64), Case("pythia-160m", 32)),
)


def measure(repeats: int = 3, cases: tuple[Case, ...] = CASES) -> list[dict[str, object]]:
    """The entries for `latest.json`."""
    return [compare(case, repeats) for case in cases]


def compare(case: Case, repeats: int) -> dict[str, object]:
    """Steps a second of both, a step of one after a step of the other."""
    precisions = ("bfloat16", "float32")
    with (
        Side(our_worker, case, None, precisions[0]) as rounded,
        Side(our_worker, case, None, precisions[1]) as exact,
    ):
        for side in (rounded, exact):
            side.ask("step")
        seconds = [(rounded.ask("step"), exact.ask("step")) for _ in range(repeats)]
    width = KNOWN[case.decoder].shape.hidden
    taken = width >= LEAST_WIDTH and machine.multiplies_bfloat16()
    return entry(
        f"steps/s in bfloat16 against float32, {case.decoder} (width {width}), {case.pairs} pairs; "
        f"auto takes {precisions[0] if taken else precisions[1]}",
        [1 / a for a, _ in seconds],
        [1 / b for _, b in seconds],
        "at least 1.2" if taken else "for information: auto takes float32",
    )
