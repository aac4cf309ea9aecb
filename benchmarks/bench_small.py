"""What might make small decoders faster, each in turns with the step as it is: ratios only.

A step of small-15k at 32 pairs spends its time between products, not in them. Tried here:

- *compiled*: its blocks through torch.compile. The cost of compiling is left out, and told.
- *seeds together*: several seeds of one configuration as one batch, by an extra dimension of the
  weights: every product is a batched one. The texts are the same number of windows for each seed,
  so that one layout serves all; losses are held equal to those of the seeds alone.

    python benchmarks/bench_small.py [--decoder small-15k] [--pairs 32] [--repeats 7]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from entry import entry

from toolkit.contrast.attention import lay_out
from toolkit.contrast.step import ContrastiveStep
from toolkit.decoders import KNOWN
from toolkit.pairs.ragged import Ragged

LENGTH, TEMPERATURE = 48, 1 / 40


def measure(repeats: int = 7, decoder: str = "small-15k", pairs: int = 32) -> list[dict]:
    """The entries for `latest.json`."""
    entries = [compiled(decoder, pairs, repeats)]
    return entries + [together(decoder, pairs, seeds, repeats) for seeds in (3, 8)]


def build(decoder: str, seed: int) -> Any:
    from transformers import AutoModel, GPTNeoXConfig

    shape = KNOWN[decoder].shape
    torch.manual_seed(seed)
    config = GPTNeoXConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.hidden,
    )
    return AutoModel.from_config(config, attn_implementation="sdpa", dtype=torch.float32)


def texts(decoder: str, pairs: int, seed: int) -> tuple[Ragged, Ragged]:
    """Queries and positives of one length: what an extra dimension asks for."""
    random = np.random.default_rng(seed)
    vocabulary = KNOWN[decoder].shape.vocabulary
    lengths = np.full(pairs, LENGTH, np.int32)
    made = [random.integers(0, vocabulary, pairs * LENGTH).astype(np.int32) for _ in range(2)]
    return Ragged(made[0], lengths), Ragged(made[1], lengths)


def in_turns(ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int) -> list[tuple]:
    """Seconds of both, the one after the other, so that other work on the machine hits both."""
    for work in (ours, theirs, ours, theirs):
        work()
    found = []
    for _ in range(repeats):
        begin = time.perf_counter()
        ours()
        between = time.perf_counter()
        theirs()
        found.append((between - begin, time.perf_counter() - between))
    return found


def compiled(decoder: str, pairs: int, repeats: int) -> dict:
    """The step with its blocks compiled, against the step."""
    usual, other = (
        ContrastiveStep(build(decoder, 0), temperature=TEMPERATURE, precision="float32")
        for _ in range(2)
    )
    batch = texts(decoder, pairs, 0)
    other.body._block = torch.compile(other.body._block, dynamic=True)  # type: ignore[method-assign]
    begin = time.perf_counter()
    loss = other(*batch).loss
    seconds = time.perf_counter() - begin
    assert abs(loss - usual(*batch).loss) < 1e-4
    found = in_turns(lambda: other(*batch), lambda: usual(*batch), repeats)
    return entry(
        f"steps a second, {decoder}, {pairs} pairs, blocks compiled ({seconds:.0f} s once), "
        "against the step",
        [1 / a for a, _ in found],
        [1 / b for _, b in found],
        "more than 1.2, to be kept",
    )


def together(decoder: str, pairs: int, seeds: int, repeats: int) -> dict:
    """Several seeds as one batch, against the same seeds one after the other."""
    models = [build(decoder, seed) for seed in range(seeds)]
    batches = [texts(decoder, pairs, seed) for seed in range(seeds)]
    steps = [ContrastiveStep(m, temperature=TEMPERATURE, precision="float32") for m in models]
    stacked = Stacked(models)
    ids = torch.stack(
        [torch.from_numpy(np.concatenate([x.ids for x in batch])).long() for batch in batches]
    )
    alone = [step(*batch).loss for step, batch in zip(steps, batches, strict=True)]
    assert np.allclose(stacked.step(ids), alone, atol=1e-4), "other losses"
    found = in_turns(
        lambda: stacked.step(ids),
        lambda: [step(*batch) for step, batch in zip(steps, batches, strict=True)],
        repeats,
    )
    return entry(
        f"steps a second, {decoder}, {pairs} pairs, {seeds} seeds as one batch, against one after "
        "the other",
        [seeds / a for a, _ in found],
        [seeds / b for _, b in found],
        "more than 1.5, to be kept",
    )


class Stacked:
    """Decoders of one GPT-NeoX shape whose weights have an extra first dimension: the seed."""

    def __init__(self, models: list[Any]) -> None:
        self.model = models[0]
        names = [name for name, _ in self.model.named_parameters()]
        every = [dict(model.named_parameters()) for model in models]
        self.weights = {
            name: torch.stack([p[name].detach() for p in every]).requires_grad_() for name in names
        }
        self.seeds = len(models)
        config = self.model.config
        self.heads, self.size = (
            config.num_attention_heads,
            config.hidden_size // config.num_attention_heads,
        )
        lengths = np.full(1, LENGTH)
        like = next(self.model.parameters())
        places = lay_out(np.zeros(LENGTH), lengths, lengths, like).positions[None]
        with torch.no_grad():
            cos, sin = self.model.rotary_emb(like, position_ids=places)
        self.cos, self.sin = cos[0], sin[0]  # shape [length, rotary]

    def linear(self, name: str, states: torch.Tensor) -> torch.Tensor:
        """Shape [seeds, tokens, in] → [seeds, tokens, out]."""
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return torch.baddbmm(bias[:, None], states, weight.mT)

    def norm(self, name: str, states: torch.Tensor) -> torch.Tensor:
        plain = F.layer_norm(states, states.shape[-1:], eps=self.model.config.layer_norm_eps)
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return torch.addcmul(bias[:, None], plain, weight[:, None])

    def attend(self, mixed: torch.Tensor) -> torch.Tensor:
        x = mixed.view(-1, LENGTH, self.heads, 3, self.size).permute(3, 0, 2, 1, 4)
        query, key, value = x.unbind()
        query, key = self.turned(query), self.turned(key)
        out = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return out.transpose(1, 2).reshape(self.seeds, -1, self.heads * self.size)

    def turned(self, x: torch.Tensor) -> torch.Tensor:
        """Rotary angles on the first features of each head."""
        count = self.cos.shape[-1]
        first, second = x[..., : count // 2], x[..., count // 2 : count]
        cos, sin = self.cos[:, : count // 2], self.sin[:, : count // 2]
        parts = (first * cos - second * sin, second * cos + first * sin, x[..., count:])
        return torch.cat(parts, -1)

    def step(self, ids: torch.Tensor) -> list[float]:
        """Losses and gradients of all seeds: ids of shape [seeds, texts × length]."""
        for weight in self.weights.values():
            weight.grad = None
        seed = torch.arange(self.seeds)[:, None]
        states = self.weights["embed_in.weight"][seed, ids]
        for number in range(self.model.config.num_hidden_layers):
            name = f"layers.{number}."
            mixed = self.linear(
                name + "attention.query_key_value", self.norm(name + "input_layernorm", states)
            )
            out = self.linear(name + "attention.dense", self.attend(mixed))
            wide = self.norm(name + "post_attention_layernorm", states)
            wide = F.gelu(self.linear(name + "mlp.dense_h_to_4h", wide))
            states = states + out + self.linear(name + "mlp.dense_4h_to_h", wide)
        states = self.norm("final_layer_norm", states)
        pooled = F.normalize(states.unflatten(1, (-1, LENGTH)).mean(2), dim=-1)
        queries, positives = pooled.chunk(2, 1)
        scores = torch.bmm(queries, positives.mT) / TEMPERATURE
        own = torch.arange(scores.shape[1]).expand(self.seeds, -1)
        losses = [
            F.cross_entropy(x.flatten(0, 1), own.flatten(), reduction="none").view(own.shape)
            for x in (scores, scores.mT.contiguous())
        ]
        loss = (losses[0] + losses[1]).mean(1) / 2
        loss.sum().backward()
        return loss.detach().tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--decoder", default="small-15k")
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    print(json.dumps(measure(args.repeats, args.decoder, args.pairs), indent=1))


if __name__ == "__main__":
    main()
