"""The contrastive step against sentence-transformers' cached loss, and against the hardware.

Both sides run the same decoder (random weights, Pythia's shapes, its vocabulary), the same texts
(queries of 14 and positives of 64 tokens on average, cut at 75) and the same batch on the CPU, each
in a process of its own, in turns. First their gradients are compared, both in float32. The peer is
`CachedMultipleNegativesRankingLoss` in its symmetric form, with the fastest of its mini-batch sizes
and token budgets on this machine, and then the fastest of float32, the trainer's bf16 flag
(autocast around the loss, not around its backward pass) and weights in bfloat16. Ours is in what
`precision: auto` takes here. Our chunk has as many tokens as the peer's mini-batch has slots at
most, and one chunk's graph is kept, so that memory is alike.

    python benchmarks/bench_step.py [--quick] [--repeats 3] [--full]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import resource
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from entry import entry

from toolkit.contrast.packing import plan_step
from toolkit.decoders import KNOWN, Shape
from toolkit.flops import step_flops
from toolkit.methods import STUDIED, Method, resolve
from toolkit.methods.full import Full
from toolkit.pairs.ragged import Ragged
from toolkit.runs import RunConfig

TEMPERATURE = 1 / 40
LONGEST = 75
# Mini-batches in texts, and budgets in tokens, tried for the peer.
PEER_TEXTS = (8, 16, 32, 64, 128)
PEER_TOKENS = (512, 1024, 2048, 4096)
CHUNK_TOKENS = 2048
FLOAT32, AUTOCAST, BFLOAT16 = "float32", "its trainer's bf16 flag", "weights in bfloat16"


@dataclass(frozen=True)
class Case:
    """One comparison: a decoder's shape and a batch."""

    decoder: str
    pairs: int


@dataclass(frozen=True)
class Setting:
    """How the peer runs: mini-batches of so many texts, or tokens, and its arithmetic."""

    texts: int | None = None
    tokens: int | None = None
    arithmetic: str = FLOAT32

    def __str__(self) -> str:
        size = f"{self.texts} texts" if self.texts else f"{self.tokens} tokens"
        return f"mini-batches of {size}, {self.arithmetic}"


# What the peer does where nothing is asked of it.
DEFAULTS = Setting(texts=32)

QUICK = (Case("pythia-14m", 128),)
USUAL = (Case("pythia-14m", 1024), Case("pythia-160m", 64))
# A step of 1,024 pairs at the shape of pythia-160m takes minutes on a few cores.
FULL = (Case("pythia-14m", 1024), Case("pythia-160m", 1024))


def measure(
    repeats: int = 3, cases: tuple[Case, ...] = USUAL, ratio_pairs: int = 48
) -> list[dict[str, object]]:
    """The entries for `latest.json`."""
    entries = []
    for case in cases:
        entries += against_peer(case, repeats)
    decoder = cases[-1].decoder
    entries += utilisation(decoder, ratio_pairs, repeats)
    entries += method_ratios(decoder, ratio_pairs, repeats)
    return entries


def against_peer(case: Case, repeats: int) -> list[dict[str, object]]:
    """Time and peak memory of a step of both sides, after their gradients were compared."""
    what = f"{case.decoder}, {case.pairs} pairs"
    ours = our_precision(case.decoder)
    setting = best_peer_setting(case)
    exact = replace(setting, arithmetic=FLOAT32)
    with Side(our_worker, case, CHUNK_TOKENS, FLOAT32) as a, Side(peer_worker, case, exact) as b:
        print(f"{what}: gradients agree within {compare_gradients(a, b):.1e} of the largest")
    with (
        Side(our_worker, case, CHUNK_TOKENS) as chunked,
        Side(our_worker, case, None) as free,
        Side(peer_worker, case, setting) as peer,
    ):
        sides = (chunked, free, peer)
        for side in sides:
            side.ask("step")
        seconds = [[side.ask("step") for side in sides] for _ in range(repeats)]
        peaks = [side.ask("peak") for side in sides]
    with Side(peer_worker, case, DEFAULTS) as usual:
        usual.ask("step")
        slow = [usual.ask("step") for _ in range(repeats)]
    queries, positives = batch(case)
    tokens = len(queries.ids) + len(positives.ids)
    against = f"in {ours}, against CachedMultipleNegativesRankingLoss ({setting})"
    speeds = [[tokens / side for side in one] for one in seconds]
    kept_peak = peaks.pop(1)
    return [
        entry(
            f"useful tokens/s, {what}, one chunk of {CHUNK_TOKENS} tokens kept, {against}",
            [chunked for chunked, _, _ in speeds],
            [peer for _, _, peer in speeds],
            "for information: at equal memory",
        ),
        entry(
            f"useful tokens/s, {what}, graphs kept by free memory, {against}",
            [free for _, free, _ in speeds],
            [peer for _, _, peer in speeds],
            "at least 1.7",
        ),
        entry(
            f"useful tokens/s, {what}, graphs kept by free memory, in {ours}, "
            f"against its defaults ({DEFAULTS})",
            [free for _, free, _ in speeds],
            [tokens / one for one in slow],
            "at least 3" if ours == "bfloat16" else "at least 1.7",
        ),
        entry(
            f"peak memory, GB, {what}, one chunk of {CHUNK_TOKENS} tokens kept, {against}",
            [peaks[0]],
            [peaks[1]],
            "at most 1",
        ),
        entry(
            f"peak memory, GB, {what}, graphs kept by free memory, {against}",
            [kept_peak],
            [peaks[1]],
            "for information: what the speed above costs",
        ),
    ]


def best_peer_setting(case: Case) -> Setting:
    """The peer's fastest mini-batch and arithmetic here, on up to 256 pairs of the same texts."""
    tried = Case(case.decoder, min(case.pairs, 256 if case.decoder == "pythia-14m" else 32))
    sizes = [Setting(texts=size) for size in PEER_TEXTS if size <= tried.pairs]
    best = fastest(tried, [*sizes, *(Setting(tokens=size) for size in PEER_TOKENS)])
    return fastest(tried, [replace(best, arithmetic=x) for x in (FLOAT32, AUTOCAST, BFLOAT16)])


def fastest(case: Case, settings: list[Setting]) -> Setting:
    seconds = {}
    for setting in settings:
        with Side(peer_worker, case, setting) as side:
            side.ask("step")
            seconds[setting] = min(side.ask("step") for _ in range(2))
        print(f"  peer, {case.decoder}, {case.pairs} pairs, {setting}: {seconds[setting]:.2f} s")
    return min(seconds, key=seconds.__getitem__)


def our_precision(decoder: str) -> str:
    """What `precision: auto` takes for this decoder on this machine."""
    import torch

    from toolkit.contrast.precision import resolve

    return resolve("auto", KNOWN[decoder].shape.hidden, torch.device("cpu"))


def utilisation(decoder: str, pairs: int, repeats: int) -> list[dict[str, object]]:
    """Model FLOPs a second over those of a plain matrix product of the same kind, in turns."""
    case = Case(decoder, pairs)
    flops = model_flops(case, Full())
    entries = []
    for precision in dict.fromkeys((FLOAT32, our_precision(decoder))):
        with Side(our_worker, case, None, precision) as side:
            side.ask("step")
            pairs_of = [
                (flops / side.ask("step"), side.ask("matmul", precision)) for _ in range(repeats)
            ]
        entries.append(
            entry(
                f"model FLOP/s, {decoder}, full, {pairs} pairs, against a 2048² {precision} matmul",
                [a for a, _ in pairs_of],
                [b for _, b in pairs_of],
                "at least 0.6",
            )
        )
    return entries


def method_ratios(decoder: str, pairs: int, repeats: int) -> list[dict[str, object]]:
    """For each method, time of a step over that of full, beside the same ratio of model FLOPs.

    A step here is a whole training step, AdamW included.
    """
    case = Case(decoder, pairs)
    shape = KNOWN[decoder].shape
    methods = {name: resolve(RunConfig(decoder, 1, method=name), shape) for name in STUDIED}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for name, method in methods.items():
        with Side(our_worker, case, None, "auto", method) as side:
            side.ask("train")
            seconds[name] = [side.ask("train") for _ in range(repeats)]
    full = model_flops(case, methods["full"])
    return [
        entry(
            f"time of {name} over full against its model FLOPs over full, {decoder}, {pairs} pairs",
            [a / b for a, b in zip(seconds[name], seconds["full"], strict=True)],
            [model_flops(case, method) / full] * repeats,
            "0.85 to 1.15",
        )
        for name, method in methods.items()
        if name != "full"
    ]


def batch(case: Case) -> tuple[Ragged, Ragged]:
    """Texts with the study's mix of lengths: 14 and 64 tokens on average, cut at 75."""
    random = np.random.default_rng(0)

    def texts(middle: float, shortest: int) -> Ragged:
        drawn = np.round(random.lognormal(np.log(middle), 0.45, case.pairs))
        lengths = np.clip(drawn, shortest, LONGEST).astype(np.int32)
        vocabulary = KNOWN[case.decoder].shape.vocabulary
        return Ragged(random.integers(0, vocabulary, lengths.sum()).astype(np.int32), lengths)

    return texts(13, 3), texts(80, 8)


def model_flops(case: Case, method: Method) -> int:
    queries, positives = (texts.lengths for texts in batch(case))
    execution = plan_step(np.concatenate((queries, positives)))
    shape = KNOWN[case.decoder].shape
    return step_flops(shape, method, queries, positives, execution).model


class Side:
    """One side of a comparison, in a process of its own so that its memory can be told."""

    def __init__(self, worker: Any, *arguments: Any) -> None:
        context = mp.get_context("spawn")
        self.here, there = context.Pipe()
        self.process = context.Process(target=worker, args=(there, *arguments), daemon=True)
        self.process.start()

    def ask(self, question: str, *details: Any) -> Any:
        self.here.send((question, *details))
        return self.here.recv()

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self.here.send(("stop",))
        self.process.join(30)


def compare_gradients(ours: Side, peer: Side) -> float:
    """The largest difference of any gradient, relative to the largest of its tensor."""
    from safetensors.numpy import load_file

    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("ours", "peer")]
        for side, path in zip((ours, peer), paths, strict=True):
            side.ask("step")
            side.ask("save", path)
        a, b = (load_file(path) for path in paths)
    assert a.keys() == b.keys()
    worst = max(float(np.abs(a[key] - b[key]).max() / np.abs(b[key]).max()) for key in a)
    assert worst < 1e-2, f"gradients differ by {worst:.1e}"
    return worst


def build(shape: Shape) -> Any:
    """The decoder with random weights, the same in every process."""
    import torch
    from transformers import AutoModel, GPTNeoXConfig, logging

    logging.disable_progress_bar()

    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.hidden,
    )
    return AutoModel.from_config(config, attn_implementation="sdpa", dtype=torch.float32)


def our_worker(
    pipe: Connection,
    case: Case,
    chunk_tokens: int | None,
    precision: str = "auto",
    method: Method | None = None,
) -> None:
    from toolkit.contrast.step import ContrastiveStep

    model = (method or Full()).apply(build(KNOWN[case.decoder].shape), seed=0)
    queries, positives = batch(case)
    step = ContrastiveStep(
        model, temperature=TEMPERATURE, chunk_tokens=chunk_tokens, precision=precision
    )
    serve(pipe, model, lambda: step(queries, positives))


def peer_worker(pipe: Connection, case: Case, setting: Setting) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules as models
    from sentence_transformers.sentence_transformer.losses import (
        CachedMultipleNegativesRankingLoss,
    )
    from transformers import AutoTokenizer

    from toolkit.decoders import SUITE_FOLDER

    with tempfile.TemporaryDirectory() as folder:
        build(KNOWN[case.decoder].shape).save_pretrained(folder)
        AutoTokenizer.from_pretrained(SUITE_FOLDER / "tokenizer").save_pretrained(folder)
        transformer = models.Transformer(folder)
    model = SentenceTransformer(
        modules=[transformer, models.Pooling(transformer.get_embedding_dimension())],
        device="cpu",
    )
    if setting.arithmetic == BFLOAT16:
        model.to(torch.bfloat16)
    loss = CachedMultipleNegativesRankingLoss(
        model,
        scale=1 / TEMPERATURE,
        mini_batch_size=setting.texts or 128,
        mini_batch_num_tokens=setting.tokens,
        directions=("query_to_doc", "doc_to_query"),
        partition_mode="per_direction",
    )
    features = []
    for texts in batch(case):
        ids = np.zeros((len(texts), texts.lengths.max()), np.int64)
        mask = np.arange(ids.shape[1]) < texts.lengths[:, None]
        ids[mask] = texts.ids
        features.append(
            {
                "input_ids": torch.from_numpy(ids),
                "attention_mask": torch.from_numpy(mask.astype(np.int64)),
            }
        )

    def step() -> None:
        model.zero_grad()
        autocast = torch.autocast("cpu", torch.bfloat16)
        with autocast if setting.arithmetic == AUTOCAST else nullcontext():
            value = loss([dict(one) for one in features], None)
        value.backward()

    serve(pipe, transformer.auto_model, step)


def serve(pipe: Connection, model: Any, step: Any) -> None:
    """Answer the benchmark's questions until told to stop."""
    import torch

    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.0, weight_decay=0.0)
    while True:
        question, *details = pipe.recv()
        if question == "stop":
            return
        if question in ("step", "train"):
            begin = time.perf_counter()
            step()
            if question == "train":
                optimizer.step()
            pipe.send(time.perf_counter() - begin)
        elif question == "peak":
            pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9)
        elif question == "save":
            from safetensors.torch import save_file

            save_file({name: p.grad for name, p in model.named_parameters()}, details[0])
            pipe.send(None)
        elif question == "matmul":
            pipe.send(matmul_rate(details[0]))


def matmul_rate(precision: str, size: int = 2048) -> float:
    """FLOP/s of a plain matrix product, the best of five."""
    import torch

    a, b = torch.randn(2, size, size).to(getattr(torch, precision))
    seconds = []
    for _ in range(6):
        begin = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - begin)
    return 2 * size**3 / min(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="pythia-14m, 128 pairs only")
    parser.add_argument("--full", action="store_true", help="1,024 pairs at pythia-160m too")
    args = parser.parse_args()
    cases = QUICK if args.quick else FULL if args.full else USUAL
    print(json.dumps(measure(args.repeats, cases), indent=1))


if __name__ == "__main__":
    main()
