"""Is all of it right on the GPU? Held against the processor, in float64 where that is possible."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F

from on_gpu.keeping import Figure
from on_gpu.place import TINY, Place, adapts, easy_pairs, need, random_pairs, random_texts, tiny
from on_gpu.process import Skip
from toolkit.contrast import attention, bodies
from toolkit.contrast.distributed import SharedStep, joined, share
from toolkit.contrast.step import ContrastiveStep, embed
from toolkit.methods import METHODS, Method, resolve
from toolkit.runs import RunConfig

# Of float32 against float64, relative; and the cosine of bfloat16's gradients with float32's.
CLOSE, ALIKE = 1e-3, 0.99
PAIRS = 48
ROOT = Path(__file__).resolve().parents[2]
TESTS = ("transfer", "contrast", "bodies", "packing", "precision", "masking")


def figures(place: Place) -> Iterator[Figure]:
    """The cheapest and most telling first."""
    for kind in TINY:
        yield Figure(f"packed attention, {kind}", packed_attention, (place, kind))
    for kind, name in product(TINY, METHODS):
        if (kind, name) != ("llama", "bias"):
            yield Figure(f"gradients, {kind}, {name}", gradients, (place, kind, name))
            yield Figure(f"bfloat16, {kind}, {name}", half_precision, (place, kind, name))
    for kind in TINY:
        yield Figure(f"no waiting, {kind}", no_waiting, (place, kind))
    for name in METHODS:
        yield Figure(f"a run, {name}", whole_run, (place, name))
    yield Figure("resume", resume, (place,))
    yield Figure("two processes", two_processes, (place,))
    yield Figure("tests", tests, (place,))


def tuned(kind: str, name: str, device: str, dtype: torch.dtype = torch.float32) -> Any:
    """A tiny decoder under a method; adapters already do something."""
    if adapts(name):
        need("peft", name)
    model = tiny(kind, "cpu")
    resolved(kind, name).apply(model, seed=0)
    torch.manual_seed(1)
    for key, parameter in model.named_parameters():
        if ".lora_" in key:
            parameter.data += 0.05 * torch.randn_like(parameter)
    return model.to(device, dtype)


def resolved(kind: str, name: str) -> Method:
    settings = {"lora_rank": 8} if adapts(name) else {}
    return resolve(RunConfig("tiny", 1, name, **settings), TINY[kind])


def step_gradients(model: Any, precision: str = "float32", **options: Any) -> dict[str, Any]:
    """Loss and gradients of a step on the same pairs, on the processor in float64."""
    step = ContrastiveStep(model, temperature=0.05, precision=precision, **options)
    loss = step(*random_pairs(PAIRS, 4096)).loss
    named = model.named_parameters()
    return {"loss": loss} | {k: p.grad.double().cpu() for k, p in named if p.grad is not None}


def farthest(found: dict[str, Any], exact: dict[str, Any]) -> float:
    """The larger of two relative differences: of the losses, and of all gradients as one vector."""
    assert found.keys() == exact.keys()
    loss = abs(found["loss"] - exact["loss"]) / max(1.0, abs(exact["loss"]))
    gradients = [key for key in exact if key != "loss"]
    off = torch.cat([(found[key] - exact[key]).ravel() for key in gradients]).norm()
    return max(loss, float(off / torch.cat([exact[key].ravel() for key in gradients]).norm()))


def gradients(place: Place, kind: str, name: str) -> dict[str, Any]:
    """Both poolings; in one chunk, in several, and with blocks recomputed."""
    worst = 0.0
    ways: tuple[dict, ...] = ({}, {"chunk_tokens": 500}, {"checkpointing": True})
    for pooling in ("mean", "last"):
        exact = step_gradients(tuned(kind, name, "cpu", torch.float64), pooling=pooling)
        model = tuned(kind, name, place.device)
        for way in ways:
            found = step_gradients(model, pooling=pooling, **way)
            worst = max(worst, farthest(found, exact))
    return {"farthest": worst, "passed": worst < CLOSE}


def half_precision(place: Place, kind: str, name: str) -> dict[str, Any]:
    """Gradients with bfloat16 products point as float32's do."""
    plain = step_gradients(tuned(kind, name, place.device))
    rounded = step_gradients(tuned(kind, name, place.device), "bfloat16")
    loss, off = plain.pop("loss"), rounded.pop("loss")
    together = [torch.cat([g.ravel() for g in x.values()]) for x in (plain, rounded)]
    cosine = float(F.cosine_similarity(*together, dim=0))
    return {"cosine": cosine, "loss apart": abs(off - loss), "passed": cosine > ALIKE}


def packed_attention(place: Place, kind: str) -> dict[str, Any]:
    """Embeddings of packed attention against those of windows, and of float32."""
    model = tiny(kind, place.device)
    batch = random_texts(300, 30, 4096, seed=3)
    exact = embed(model, batch, precision="float32")
    body = bodies.body_of(model, "bfloat16")
    size = TINY[kind].hidden // TINY[kind].heads
    here = attention.is_packed(body.like.device, torch.bfloat16, size)
    rounded = embed(model, batch, precision="bfloat16")
    with (
        mock.patch.object(attention, "is_packed", lambda *_: False),
        mock.patch.object(bodies, "is_packed", lambda *_: False),
    ):
        windows = embed(model, batch, precision="bfloat16")
    found = {
        "packed": here,
        "stream": body.packed,
        "against windows": float(F.cosine_similarity(rounded, windows).min()),
        "against float32": float(F.cosine_similarity(rounded, exact).min()),
    }
    near = min(found["against windows"], found["against float32"]) > 0.999
    return found | {"passed": near and (here or place.device == "cpu")}


def no_waiting(place: Place, kind: str) -> dict[str, Any]:
    """A step and its update make the processor wait for nothing, as torch and its profiler see."""
    if place.device == "cpu":
        raise Skip("a processor does not wait for itself")
    model = tuned(kind, "full", place.device)
    step = ContrastiveStep(model, temperature=0.05, precision="bfloat16")
    optimizer = torch.optim.AdamW(step.trained, lr=1e-3, fused=True)
    batch = random_pairs(PAIRS, 4096)

    def train() -> None:
        step(*batch)
        optimizer.step()

    for _ in range(3):
        train()
    place.wait()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        train()
        torch.cuda.set_sync_debug_mode("default")
    places = [f"{Path(w.filename).name}:{w.lineno}" for w in seen if "synchroniz" in str(w.message)]
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    ) as profile:
        train()
        torch.cuda.current_stream().query()  # asks, and does not wait
    calls = {e.key: e.count for e in profile.key_averages() if "Synchronize" in e.key}
    return {"waits": places, "profiler": calls, "passed": not places}


def run_config(place: Place, name: str, **settings: Any) -> RunConfig:
    values = {"batch_pairs": 32, "candidates": 128, "lr": 3e-3, "precision": "float32"}
    values |= {"lora_rank": 8} if adapts(name) else {}
    return RunConfig("small-7k", 2e9 if place.small else 1e10, name, **{**values, **settings})


def trained(config: RunConfig, folder: Path | None = None, **options: Any) -> tuple[Any, Any]:
    """Record and weights of a run on easy pairs, which no source has to be read for."""
    from toolkit.training import preparation, run

    with mock.patch.object(preparation, "tokenise", lambda *_, **__: easy_pairs()):
        record, model = run.train_encoder(config, folder, **options)
    return record, {k: p.detach().cpu() for k, p in model.named_parameters()}


def whole_run(place: Place, name: str) -> dict[str, Any]:
    """The run on the GPU, in both precisions, comes to what it does on the processor."""
    if adapts(name):
        need("peft", name)
    with mock.patch.object(torch.cuda, "is_available", lambda: False):
        usual, _ = trained(run_config(place, name))
    record, _ = trained(run_config(place, name))
    half, _ = trained(run_config(place, name, precision="bfloat16"))
    found = {"processor": usual.loss, "here": record.loss, "bfloat16": half.loss}
    apart = max(abs(x.loss - usual.loss) for x in (record, half))
    same = usual.flop_model == record.flop_model and usual.steps == record.steps
    return found | {"steps": record.steps, "passed": same and apart < 0.05 * usual.loss}


def resume(place: Place) -> dict[str, Any]:
    """A run that was stopped in its middle ends as one that was not, bit for bit."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True, warn_only=True)
    config = run_config(place, "full", precision="bfloat16")
    usual, weights = trained(config)
    folder = place.folder / "resume"
    shutil.rmtree(folder, ignore_errors=True)

    class Stop(Exception):
        pass

    def stop(point: Any) -> None:
        if point.step == usual.steps // 2:
            raise Stop

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Stop):
            trained(config, folder, progress=stop, checkpoint_seconds=0.0)
        held = [path.name for path in folder.glob("checkpoint-*")]
        again, others = trained(config, folder)
    same = all(torch.equal(weights[k], others[k]) for k in weights)
    loss = {"whole": usual.loss, "resumed": again.loss, "from": held}
    return loss | {"passed": same and bool(held) and usual.loss == again.loss}


def two_processes(place: Place) -> dict[str, Any]:
    """Loss and gradients of two processes that share a batch are those of one that has it all."""
    if place.device == "cuda" and torch.cuda.device_count() < 2:
        raise Skip("one GPU here, and it takes two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    results = [place.folder / f"rank-{rank}.pt" for rank in range(2)]
    place.folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", "from on_gpu.verify import one_process; one_process()"]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    where |= {"PYTHONPATH": os.pathsep.join((str(ROOT / "benchmarks"), str(ROOT)))}
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **where, "RANK": str(i), "LOCAL_RANK": str(i), "SHARED": str(path)},
        )
        for i, path in enumerate(results)
    ]
    codes = [process.wait(300) for process in processes]
    assert codes == [0, 0], f"the processes ended with {codes}"
    alone = step_gradients(tuned("neox", "full", place.device))
    worst = max(farthest(torch.load(path, weights_only=True), alone) for path in results)
    return {"farthest": worst, "passed": worst < CLOSE}


def one_process() -> None:
    """What each of the two does."""
    with joined():
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = tuned("neox", "full", device)
        step = SharedStep(model, temperature=0.05, precision="float32")
        order = share(torch.arange(PAIRS).numpy())
        queries, positives = (x.take(order) for x in random_pairs(PAIRS, 4096))
        loss = step(queries, positives).loss
        named = model.named_parameters()
        found = {k: p.grad.double().cpu() for k, p in named if p.grad is not None}
        torch.save({"loss": loss, **found}, os.environ["SHARED"])


def tests(place: Place) -> dict[str, Any]:
    """The project's own tests of the core, the GPU's among them."""
    need("pytest", "running the tests")
    files = [f"tests/test_{name}.py" for name in (TESTS[:1] if place.small else TESTS)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    lines = done.stdout.strip().splitlines() or [done.stderr[-300:]]
    failures = [line for line in lines if line.startswith("FAILED")]
    return {"summary": lines[-1], "failures": failures[:20], "passed": done.returncode == 0}
