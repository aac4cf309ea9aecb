"""`python -m toolkit flops`: what a training step costs, before anything is downloaded."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING, Any

from toolkit.arguments import positive, whole
from toolkit.flops import CONVENTIONS
from toolkit.methods import METHODS, SETTINGS, owners
from toolkit.runs import ATTENTIONS, RunConfig
from toolkit.values import field_types

if TYPE_CHECKING:
    from toolkit.decoders import Decoder

HELP = "FLOPs of a training step for a decoder and a method, in three conventions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("decoder", help="small-38k, smollm2-135m@8, a folder or a hub name")
    parser.add_argument("--method", default="full", help=", ".join(METHODS))
    for name, setting in SETTINGS.items():
        flag = f"--{name.removeprefix('lora_').replace('_', '-')}"
        text = f"{', '.join(owners(name))}: {setting.meaning}"
        parser.add_argument(flag, dest=name, metavar="…", help=text, **_reading(name))
    parser.add_argument("--pairs", type=whole, default=1024, help="pairs of a step (default 1024)")
    parser.add_argument("--query-tokens", type=positive, default=14, help="on average (default 14)")
    parser.add_argument(
        "--positive-tokens", type=positive, default=64, help="on average (default 64)"
    )
    parser.add_argument(
        "--query-prefix-tokens", type=whole, default=0, help="of an instruction before each query"
    )
    parser.add_argument(
        "--positive-prefix-tokens", type=whole, default=0, help="before each positive and negative"
    )
    parser.add_argument(
        "--negatives-per-query", type=whole, default=0, help="hard negatives, as long as positives"
    )
    parser.add_argument(
        "--matryoshka", type=whole, nargs="+", metavar="N", help="dimensions beside the whole width"
    )
    parser.add_argument(
        "--attention",
        choices=ATTENTIONS,
        default="causal",
        help="moves no count, which is of the full square either way; refused where not exact",
    )
    parser.add_argument(
        "--chunk-tokens", type=whole, help="cached gradients by chunks of this size"
    )
    parser.add_argument("--checkpointing", action="store_true", help="recompute trained blocks")
    parser.add_argument("--json", action="store_true", help="print JSON, with all methods")


def _reading(setting: str) -> dict[str, Any]:
    """How argparse reads a method's setting."""
    types = field_types(RunConfig)[setting]
    if int in types and float not in types:
        return {"type": whole}
    return {} if {int, float, str}.intersection(types) else {"nargs": "+"}


def run(args: argparse.Namespace) -> int:
    answer = compute(args)
    if args.json:
        print(json.dumps(answer, indent=1))
        return 0
    print(
        f"{answer['decoder']}, {answer['method']}: {answer['params']:,} parameters without "
        f"embeddings, {answer['trainable']:,} of them trained"
    )
    if answer["note"]:
        print(answer["note"])
    if not answer["packed"]:
        print("it takes no packed stream: its texts are padded, which is in the hardware count")
    print(f"{'FLOP':10} {'per step':>14} {'per pair':>14}")
    for convention in CONVENTIONS:
        step, pair = answer["per_step"][convention], answer["per_pair"][convention]
        print(f"{convention:10} {step:14.4e} {pair:14.4e}")
    return 0


def compute(args: argparse.Namespace) -> dict[str, Any]:
    """The command's answer as plain values; FLOPs per step are exact whole numbers.

    Beside the method that is asked for, under `methods`, stand all of them; null for one that the
    decoder does not have.

    Raises:
        ToolkitError: An unknown decoder, method or target, a rank over a layer's width, more
            trained blocks than there are, or a number that is not positive.
    """
    from toolkit.contrast.paths import packs
    from toolkit.decoders import check_attention, find
    from toolkit.errors import ToolkitError

    for name in ("query_tokens", "positive_tokens"):
        if not 1 <= getattr(args, name) < 1e9:
            raise ToolkitError(f"--{name.replace('_', '-')} must be at least 1")
    options = {name: getattr(args, name) for name in SETTINGS}
    decoder = find(args.decoder)
    longest = max(args.query_tokens + args.query_prefix_tokens,
                  args.positive_tokens + args.positive_prefix_tokens)  # fmt: skip
    check_attention(args.decoder, args.attention, math.ceil(longest))
    asked = _step(args, decoder, args.method, options)
    every: dict[str, Any] = {}
    for name in METHODS:
        own = {each.name: options[each.name] for each in METHODS[name].settings}
        try:
            every[name] = asked if name == args.method else _step(args, decoder, name, own)
        except ToolkitError:
            every[name] = None
    head = {
        "decoder": args.decoder,
        "note": decoder.note,
        "params": decoder.params,
        "packed": packs(decoder, args.attention),
        "attention": args.attention,
        "negatives_per_query": args.negatives_per_query,
        "matryoshka": args.matryoshka or [],
    }
    return {**head, **asked, "methods": every}


def _step(
    args: argparse.Namespace, decoder: Decoder, name: str, options: dict[str, Any]
) -> dict[str, Any]:
    """What a step costs with one method."""
    from dataclasses import asdict

    from toolkit.choices import nested_dimensions
    from toolkit.contrast.packing import spread
    from toolkit.contrast.paths import packs
    from toolkit.flops import planned_flops
    from toolkit.methods import resolve

    config = RunConfig.from_dict(
        {
            "decoder": args.decoder,
            "budget_flop": 1,
            "method": name,
            **options,
            "batch_pairs": args.pairs,
            "chunk_tokens": args.chunk_tokens,
            "checkpointing": args.checkpointing,
            "attention": args.attention,
            "matryoshka": args.matryoshka,
        }
    )
    shape = decoder.shape
    method = resolve(config, shape)
    positive = args.positive_tokens + args.positive_prefix_tokens
    queries = spread(args.query_tokens + args.query_prefix_tokens, args.pairs)
    positives = spread(positive, args.pairs)
    negatives = spread(positive, args.pairs * args.negatives_per_query)
    flops, _ = planned_flops(
        shape,
        method,
        queries,
        positives,
        negatives,
        packed=packs(decoder, config.attention),
        dimensions=nested_dimensions(config, shape.hidden),
        chunk_tokens=config.chunk_tokens,
        checkpointing=config.checkpointing,
    )
    per_step = asdict(flops)
    return {
        "method": name,
        **{key: getattr(method, key, None) for key in SETTINGS},
        "trainable": method.trainable_params(shape),
        "pairs": args.pairs,
        "tokens": int(queries.sum() + positives.sum() + negatives.sum()),
        "per_step": per_step,
        "per_pair": {name: flop / args.pairs for name, flop in per_step.items()},
    }
