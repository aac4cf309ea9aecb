"""Two processes that share a batch get the loss and the gradients of one that has it all."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.tiny import method, neox, texts, tuned
from toolkit.contrast import distributed
from toolkit.contrast.step import ContrastiveStep
from toolkit.errors import ToolkitError
from toolkit.records import read_record
from toolkit.runs import RunConfig
from toolkit.sweep.folders import RunFolder
from toolkit.training.run import train

pytestmark = pytest.mark.process

PAIRS = 12
CASES = [
    (name, chunk, checkpointing, double)
    for name in ("full", "freeze", "lora", "bias")
    for chunk, checkpointing in ((None, False), (40, False), (40, True))
    for double in (False, True)
]


def step_of(kind, name, chunk, checkpointing, double):
    """A step of this kind on a small decoder, and its trained parameters by name."""
    model = tuned(neox(double=double), method(name))
    step = kind(model, temperature=0.025, chunk_tokens=chunk, checkpointing=checkpointing)
    return step, {key: p for key, p in model.named_parameters() if p.requires_grad}


def batch():
    """Pairs of which some share a text: the processes mask each other's as one masks its own."""
    queries, positives = texts(PAIRS, 3, 9, seed=1), texts(PAIRS, 5, 20, seed=2)
    places = torch.arange(PAIRS).numpy()
    return queries.take(places % (PAIRS - 1)), positives.take(places // 2 * 2)


def one_rank(results: Path) -> None:
    """What each of the two processes does: all cases, the results to a file."""
    found = {}
    with distributed.joined():
        positions = distributed.share(torch.arange(PAIRS).numpy())
        for case in CASES:
            step, trained = step_of(distributed.SharedStep, *case)
            queries, positives = batch()
            loss = step(queries.take(positions), positives.take(positions)).loss
            found[case] = (loss, {key: p.grad for key, p in trained.items()})
        torch.save(found, results / f"rank-{distributed.rank()}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """The results of two gloo processes on this CPU."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.test_distributed", str(folder)],
            env={**os.environ, **where, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=Path(__file__).parent.parent,
        )
        for rank in range(2)
    ]
    assert [process.wait(120) for process in processes] == [0, 0]
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_processes_give_the_loss_and_gradients_of_one(ranks, case):
    step, trained = step_of(ContrastiveStep, *case)
    result = step(*batch())
    loss = result.loss
    assert result.masked == 2 + PAIRS
    tolerance = 1e-13 if case[-1] else 1e-6
    for shared_loss, gradients in (rank[case] for rank in ranks):
        assert shared_loss == pytest.approx(loss, abs=tolerance)
        assert gradients.keys() == trained.keys()
        for key, parameter in trained.items():
            off = (gradients[key] - parameter.grad).abs().max()
            assert off <= tolerance * max(1.0, float(parameter.grad.abs().max())), (key, off)


def test_both_processes_have_the_same_gradients_to_the_bit(ranks):
    for case in CASES:
        (one, gradients), (two, others) = ranks[0][case], ranks[1][case]
        assert one == pytest.approx(two, rel=1e-6)
        assert all(torch.equal(gradients[key], others[key]) for key in gradients)


def test_torchrun_does_a_run_of_a_sweep_as_one_process_does(easy, tmp_path):
    config = RunConfig.from_dict({**easy, "method": "bias"})
    shared = RunFolder(tmp_path / "runs" / config.run_id, config)
    shared.prepare()
    command = "torch.distributed.run --standalone --nproc-per-node 2 -m toolkit train"
    done = subprocess.run(
        [sys.executable, "-m", *command.split(), str(shared.path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert done.returncode == 0, done.stderr
    two, one = read_record(shared.record, config), train(config)
    assert (two.steps, two.tokens, two.flop_model) == (one.steps, one.tokens, one.flop_model)
    assert two.loss == pytest.approx(one.loss, abs=1e-3)
    assert "2 processes" in two.hardware
    again = subprocess.run(
        [sys.executable, "-m", "toolkit", "train", str(shared.path)], capture_output=True, text=True
    )
    assert again.returncode == 2 and "this run is done" in again.stderr


def test_a_batch_that_does_not_divide_is_refused(monkeypatch):
    monkeypatch.setattr(distributed, "size", lambda: 5)
    with pytest.raises(ToolkitError, match="not a multiple of the 5 processes"):
        distributed.share(torch.arange(PAIRS).numpy())


if __name__ == "__main__":
    one_rank(Path(sys.argv[1]))
