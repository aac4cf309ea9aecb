"""How fast is it there? Steps, memory, the methods' times, encoding; each on random weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import product
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import torch

from on_gpu.keeping import Figure
from on_gpu.place import Place, adapts, need, random_decoder, random_pairs, random_texts
from on_gpu.process import Skip
from toolkit import hardware
from toolkit.contrast import attention, bodies
from toolkit.contrast.packing import plan_step
from toolkit.contrast.step import ContrastiveStep, embed
from toolkit.decoders import KNOWN, Shape
from toolkit.errors import ToolkitError
from toolkit.flops import step_flops
from toolkit.methods import METHODS, resolve
from toolkit.pairs.ragged import Ragged
from toolkit.runs import RunConfig
from toolkit.sweep.footprint import peak_bytes

LARGE = ("pythia-70m", "pythia-410m", "pythia-1.4b")
SMALL = ("small-15k",)


def figures(place: Place) -> Iterator[Figure]:
    decoders = SMALL if place.small else LARGE
    yield Figure("matrix product", matrix_product, (place,))
    for decoder in decoders:
        yield Figure(f"step, {decoder}", training_step, (place, decoder))
        yield Figure(f"encode, {decoder}", encode, (place, decoder))
    for decoder in decoders:
        yield Figure(f"step against the peer, {decoder}", against_peer, (place, decoder))
        yield Figure(f"packed against windows, {decoder}", against_windows, (place, decoder))
    for decoder, name in product(decoders, METHODS):
        if name != "full":
            yield Figure(
                f"time of {name} over full, {decoder}", method_time, (place, decoder, name)
            )


def batch_pairs(place: Place) -> int:
    return 16 if place.small else 1024


def matrix_product(place: Place) -> dict[str, Any]:
    """FLOP a second of a plain bfloat16 product: what a step is measured against."""
    size = 256 if place.small else 8192
    left, right = torch.randn(2, size, size, device=place.device).bfloat16()
    seconds = timed(place, lambda: torch.mm(left, right), 20)
    return {"flop a second": 2 * size**3 / min(seconds)}


def timed(place: Place, work: Callable[[], Any], repeats: int) -> list[float]:
    """Seconds of each repeat, after two that are not counted."""
    found = []
    for _ in range(repeats + 2):
        place.wait()
        begin = time.perf_counter()
        work()
        place.wait()
        found.append(time.perf_counter() - begin)
    return found[2:]


def trained_step(
    place: Place, decoder: str, name: str = "full"
) -> tuple[Callable[[], None], Shape, Any]:
    """A whole training step, AdamW included, as a run does it: without waiting for its loss."""
    if adapts(name):
        need("peft", name)
    shape = KNOWN[decoder].shape
    model = random_decoder(shape, place.device)
    method = resolve(RunConfig(decoder, 1, name), shape)
    method.apply(model, seed=0)
    model.to(place.device)
    step = ContrastiveStep(model, temperature=1 / 40)
    optimizer = torch.optim.AdamW(step.trained, lr=1e-6, fused=True)
    queries, positives = random_pairs(batch_pairs(place), shape.vocabulary)

    def train() -> None:
        step(queries, positives)
        optimizer.step()

    lengths = (queries.lengths, positives.lengths)
    flop = step_flops(shape, method, *lengths, plan_step(np.concatenate(lengths)))
    return train, shape, flop


def training_step(place: Place, decoder: str) -> dict[str, Any]:
    """Real tokens a second, and the share of the peak that goes into what the method needs."""
    train, shape, flop = trained_step(place, decoder)
    repeats = 2 if place.small else 8
    one_by_one = timed(place, train, repeats)
    begin = time.perf_counter()
    for _ in range(repeats):
        train()
    place.wait()
    seconds = (time.perf_counter() - begin) / repeats  # the next is laid out while one runs
    tokens = sum(int(x.lengths.sum()) for x in random_pairs(batch_pairs(place), 99))
    found: dict[str, Any] = {
        "pairs": batch_pairs(place),
        "seconds a step": seconds,
        "seconds one by one": one_by_one,
        "real tokens a second": tokens / seconds,
        "model flop a second": flop.model / seconds,
        "hardware flop a second": flop.hardware / seconds,
    }
    if place.device == "cuda":
        found["peak memory"] = torch.cuda.max_memory_allocated()
        config = RunConfig(decoder, 1, precision="bfloat16")
        total = torch.cuda.get_device_properties(0).total_memory
        found["peak predicted"] = peak_bytes(config, shape, tokens, total, on_gpu=True)
        try:
            peak = hardware.find(torch.cuda.get_device_name()).peak_flop_per_second
            found["share of the peak"] = flop.model / seconds / peak
        except ToolkitError:
            pass
    return found


def against_windows(place: Place, decoder: str) -> dict[str, Any]:
    """How much packed attention gains on padded windows, in turns."""
    if place.device == "cpu":
        raise Skip("attention is packed on GPUs alone")
    train, _, _ = trained_step(place, decoder)
    repeats = 4
    packed, windows = [], []
    for _ in range(repeats):
        packed += timed(place, train, 1)
        with (
            mock.patch.object(attention, "is_packed", lambda *_: False),
            mock.patch.object(bodies, "is_packed", lambda *_: False),
        ):
            windows += timed(place, train, 1)
    ratios = sorted(b / a for a, b in zip(packed, windows, strict=True))
    return {"windows over packed": median(ratios), "spread": [ratios[0], ratios[-1]]}


def against_peer(place: Place, decoder: str) -> dict[str, Any]:
    """Against sentence-transformers' cached loss under autocast, at the fastest mini-batch."""
    need("sentence_transformers", "the comparison")
    peer = peer_seconds(place, decoder)
    ours, _, _ = trained_step(place, decoder)
    seconds = median(timed(place, ours, 3))
    return {"ratio": min(peer.values()) / seconds, "ours": seconds, "peer by mini-batch": peer}


def peer_seconds(place: Place, decoder: str) -> dict[int, float]:
    """Seconds of the peer's training step by mini-batch size, where memory suffices."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    from sentence_transformers.sentence_transformer.losses import (
        CachedMultipleNegativesRankingLoss,
    )

    class Decoder(torch.nn.Module):
        """What its loss asks of a transformer module, and no more."""

        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, features: dict, **_: Any) -> dict:
            names = ("input_ids", "attention_mask")
            out = self.model(**{name: features[name] for name in names}, use_cache=False)
            return {**features, "token_embeddings": out.last_hidden_state}

    shape = KNOWN[decoder].shape
    model = random_decoder(shape, place.device)
    encoder = SentenceTransformer(
        modules=[Decoder(model), modules.Pooling(shape.hidden)], device=place.device
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    features = [padded(x, place.device) for x in random_pairs(batch_pairs(place), shape.vocabulary)]
    found: dict[int, float] = {}
    for size in (8,) if place.small else (64, 256, 1024):
        loss = CachedMultipleNegativesRankingLoss(encoder, scale=40, mini_batch_size=size)

        def train(loss: Any = loss) -> None:
            optimizer.zero_grad()
            with torch.autocast(place.device, torch.bfloat16):
                value = loss([dict(one) for one in features], None)
            value.backward()
            optimizer.step()

        try:
            found[size] = median(timed(place, train, 3))
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
    return found


def padded(texts: Ragged, device: str) -> dict[str, torch.Tensor]:
    """Texts as a padded rectangle with its mask."""
    ids = np.zeros((len(texts), texts.lengths.max()), np.int64)
    mask = np.arange(ids.shape[1]) < texts.lengths[:, None]
    ids[mask] = texts.ids
    return {
        "input_ids": torch.from_numpy(ids).to(device),
        "attention_mask": torch.from_numpy(mask.astype(np.int64)).to(device),
    }


def method_time(place: Place, decoder: str, name: str) -> dict[str, Any]:
    """A method's time over full's, beside the ratio of their FLOP."""
    method, _, flop = trained_step(place, decoder, name)
    seconds = median(timed(place, method, 3))
    del method
    full, _, whole = trained_step(place, decoder)
    usual = median(timed(place, full, 3))
    return {
        "time over full": seconds / usual,
        "flop over full": flop.model / whole.model,
        "time over flop": seconds / usual / (flop.model / whole.model),
    }


def encode(place: Place, decoder: str) -> dict[str, Any]:
    """Texts embedded a second, against padded batches through the decoder's own forward pass."""
    shape = KNOWN[decoder].shape
    model = random_decoder(shape, place.device).eval()
    texts = random_texts(32 if place.small else 8192, 40, shape.vocabulary, seed=5)

    @torch.inference_mode()
    def plain(size: int) -> None:
        order = np.argsort(texts.lengths)
        for start in range(0, len(order), size):
            features = padded(texts.take(order[start : start + size]), place.device)
            with torch.autocast(place.device, torch.bfloat16):
                out = model(**features, use_cache=False).last_hidden_state
            mask = features["attention_mask"][..., None]
            (out * mask).sum(1).div(mask.sum(1)).cpu()

    repeats = 1 if place.small else 3
    sizes = (16,) if place.small else (32, 256)
    ours = median(timed(place, lambda: embed(model, texts), repeats))
    found = {size: median(timed(place, lambda s=size: plain(s), repeats)) for size in sizes}
    return {
        "texts a second": len(texts) / ours,
        "tokens a second": int(texts.lengths.sum()) / ours,
        "ratio to padded batches": min(found.values()) / ours,
        "padded by batch": {size: len(texts) / s for size, s in found.items()},
    }
