"""`benchmarks/gpu.py`: what a GPU is to be asked, in small on this CPU; kept, resumed, refused."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.process
SCRIPT = ROOT / "benchmarks" / "gpu.py"


def gpu(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=600)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_a_sentence(tmp_path):
    done = gpu("--out", tmp_path / "gpu.json")
    assert done.returncode == 2
    assert done.stderr.startswith("no GPU: ") and "--device cpu --small" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not list(tmp_path.iterdir())


def test_the_study_is_made_run_by_run_and_goes_on_where_it_was(tmp_path):
    out = tmp_path / "gpu.json"
    how = ("--device", "cpu", "--small", "--stage", "study", "--out", out)
    assert gpu(*how, "--seconds", 4).returncode == 0, "too little time for a figure is no failure"
    assert not out.exists()
    done = gpu(*how, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first = json.loads(out.read_text())
    runs = list(first["figures"].values())
    assert [run["status"] for run in runs] == ["finished", "finished"]
    assert len(list((tmp_path / "gpu" / "study").glob("*/record.json"))) == 2
    begin = time.monotonic()
    again = gpu(*how)
    assert again.returncode == 0 and "2 figures known, 0 of them wrong, 0 left" in again.stdout
    assert json.loads(out.read_text()) == first
    assert time.monotonic() - begin < 300


def test_figures_that_fail_are_kept_told_and_tried_again_when_asked(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from on_gpu.keeping import Figure, Results
    from on_gpu.process import Skip, call

    mark = tmp_path / "mark"

    def breaks():
        if mark.exists():
            return {"passed": True}
        mark.touch()
        raise RuntimeError("an illegal memory access\nand more")

    def skipped():
        raise Skip("one GPU here, and it takes two")

    machine = {"device": "made up", "torch": "2"}
    figures = [Figure("a", breaks), Figure("b", skipped)]

    def work(**options):
        results = Results(tmp_path / "r.json", machine, **options)
        results.work("verify", figures, time.monotonic() + 60)
        return results.told(), results.known["figures"]

    status, found = work()
    assert status == 1
    assert found["verify: a"]["error"] == "RuntimeError: an illegal memory access"
    assert found["verify: b"]["skipped"] == "one GPU here, and it takes two"
    assert work()[0] == 1
    assert work(retry=True)[0] == 0
    assert call(time.sleep, 60, seconds=0.2) == {"late": True}


def test_a_result_file_of_another_machine_is_left_alone(tmp_path):
    out = tmp_path / "gpu.json"
    out.write_text('{"machine": {"device": "H9", "torch": "3"}, "figures": {}}')
    done = gpu("--device", "cpu", "--small", "--stage", "study", "--out", out)
    assert done.returncode == 2 and "is of H9 with torch 3" in done.stderr
    out.write_text("not json")
    done = gpu("--device", "cpu", "--small", "--stage", "study", "--out", out)
    assert done.returncode == 2 and "is no result of this script" in done.stderr


def test_all_stages_in_small(tmp_path):
    """The packed attention and bench figures on a CPU; what needs a GPU is skipped and said."""
    out = tmp_path / "gpu.json"
    done = gpu("--device", "cpu", "--small", "--stage", "bench", "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())["figures"]
    assert found["bench: step, small-15k"]["model flop a second"] > 0
    assert found["bench: packed against windows, small-15k"]["skipped"]
    assert found["bench: encode, small-15k"]["ratio to padded batches"] > 0
    assert not any("error" in figure for figure in found.values())


@pytest.mark.parametrize("figure", ["packed_attention", "gradients", "half_precision", "resume"])
def test_verification_holds_on_a_processor_and_can_fail(tmp_path, monkeypatch, figure):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from on_gpu import verify
    from on_gpu.place import Place
    from on_gpu.process import call

    place = Place("cpu", True, tmp_path, tmp_path)
    more = {"gradients": ("neox", "bias"), "half_precision": ("llama", "full")}
    arguments = (place, *more.get(figure, ("neox",) if figure == "packed_attention" else ()))
    found = call(getattr(verify, figure), *arguments, seconds=300)
    assert found["passed"], found
    if figure == "gradients":
        monkeypatch.setattr(verify, "CLOSE", 0.0)
        assert not call(verify.gradients, *arguments, seconds=300)["passed"]
