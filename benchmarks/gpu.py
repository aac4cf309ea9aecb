"""A GPU's day in one command: is the code right there, how fast is it, and the study's own range.

    python benchmarks/gpu.py [--stage verify|bench|study] [--seconds 540]

*verify* holds everything on the GPU against the processor; *bench* measures the step, its memory,
the methods' times and encoding; *study* makes the runs of `runs/gpu`, the cheapest first. Needs the
core alone, no notebook, no network. Each figure is measured in a process of its own and written to
the result file at once, so that a crash, or the end of the time, costs that figure only; the same
command goes on where it was. Without a GPU, `--device cpu --small` runs the same in small.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # it runs without being installed

STAGES = ("verify", "bench", "study")


def main() -> int:
    from toolkit.errors import ToolkitError

    try:
        return work(arguments())
    except ToolkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stage", choices=STAGES, help="one of them; all in turn where none is")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so many")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="in small, as a test")
    parser.add_argument("--retry", action="store_true", help="try again what failed")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "gpu.json")
    parser.add_argument("--sweep", type=Path, default=HERE.parent / "runs" / "gpu")
    parser.add_argument("--cache", type=Path, help="with pairs and weights; else the project's own")
    return parser.parse_args()


def work(args: argparse.Namespace) -> int:
    end = time.monotonic() + args.seconds
    if args.cache is not None:
        os.environ["TOOLKIT_CACHE"] = str(args.cache.resolve())
    if args.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""

    from on_gpu import bench, study, verify
    from on_gpu.keeping import Results
    from on_gpu.place import Place, machine_facts
    from on_gpu.process import call

    facts = call(machine_facts, args.device, seconds=300)
    if facts.get("device") is None:
        print(
            f"no GPU: {facts.get('error', 'torch sees none')}; "
            "run it where there is one, or the same in small: --device cpu --small",
            file=sys.stderr,
        )
        return 2
    place = Place(args.device, args.small, args.out.resolve().parent / "gpu", args.sweep.resolve())
    results = Results(args.out, facts, retry=args.retry)
    print(f"{facts['device']}, torch {facts['torch']}; results go to {args.out}", flush=True)
    for stage in (args.stage,) if args.stage else STAGES:
        module = {"verify": verify, "bench": bench, "study": study}[stage]
        results.work(stage, module.figures(place), end)
    return results.told()


if __name__ == "__main__":
    sys.exit(main())
