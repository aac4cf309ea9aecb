"""How the small suite was made: one tokenizer, then causal language modelling on mined text.

As with Pythia, every decoder sees the same text in the same order. Only pairs of the training
side are read, so no held-out pair is ever in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit.decoders import SMALL_VOCABULARY, SUITE_FOLDER, Decoder, load_tokenizer
from toolkit.errors import ToolkitError
from toolkit.pairs.pair import Pair
from toolkit.pairs.sources import read_pairs
from toolkit.training.schedule import warmup_cosine
from toolkit.writing import check_folder

if TYPE_CHECKING:
    import torch

TOKENIZER = SUITE_FOLDER / "tokenizer"
END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class PretrainingRecord:
    """What a small decoder has seen, and how well it predicts text that it has not.

    Attributes:
        params: Non-embedding parameters.
        tokens: Tokens seen; `unique_tokens` of them distinct text.
        loss: Mean training loss of the last tenth (nats a token).
        held_out_loss: Loss on held-out text (nats a token); ln(vocabulary) is chance.
        seconds: Wall time. `threads`, `torch`: on what.
    """

    decoder: str
    params: int
    tokens: int
    unique_tokens: int
    loss: float
    held_out_loss: float
    learning_rate: float
    seconds: float
    threads: int
    torch: str


def document(pair: Pair) -> str:
    """A pair as running text: what a decoder is pre-trained on."""
    return f"{pair.query}\n{pair.positive}"


def documents(*, held_out: bool = False) -> Iterator[str]:
    """The mined documents of one side of the split, in the order of their stable keys."""
    pairs = [pair for pair in read_pairs("docstrings") if pair.held_out == held_out]
    yield from (document(pair) for pair in sorted(pairs, key=lambda pair: pair.key))


def make_tokenizer(folder: Path = TOKENIZER) -> None:
    """Train the suite's byte-level BPE tokenizer on the training side and save it to `folder`."""
    from tokenizers import ByteLevelBPETokenizer, Tokenizer
    from transformers import PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        documents(),
        vocab_size=SMALL_VOCABULARY,
        special_tokens=[END_OF_TEXT],
        show_progress=False,
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(bpe.to_str()),
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        model_max_length=512,
    )
    tokenizer.save_pretrained(folder)


def pretrain(
    decoder: Decoder,
    *,
    tokens: int = 3_000_000,
    context: int = 128,
    batch: int = 32,
    folder: Path | None = None,
    progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> PretrainingRecord:
    """Pre-train a small decoder from scratch and save it (float16 safetensors) with its record.

    AdamW (0.9, 0.95), weight decay 0.1, gradients clipped at 1, 5 % warm-up, cosine to a tenth:
    Pythia's settings but for the batch, which is small because the budget is. Where the suite's
    tokenizer is not there, it is made first.

    Args:
        tokens: Tokens to see. `context`: tokens a sequence. `batch`: sequences a step.
        folder: Where to save; None for the decoder's place under `runs/suite/`.
        progress: Called after each step with (step, steps, loss).

    Raises:
        ToolkitError: The folder holds another decoder, or the same after other tokens.
    """
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    if tokens < context * batch:
        raise ToolkitError(f"tokens must be at least those of a step, {context * batch:,}")
    folder = folder or Path(decoder.source)
    _check_own(folder, decoder, tokens // (context * batch) * context * batch)
    if not (TOKENIZER / "tokenizer.json").is_file():
        make_tokenizer()
    torch.manual_seed(0)
    started = time.perf_counter()
    text = _token_stream(decoder, held_out=False)
    steps = tokens // (context * batch)
    shape = decoder.shape
    config = GPTNeoXConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.hidden,
        max_position_embeddings=512,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "partial_rotary_factor": 0.25,
        },
        tie_word_embeddings=True,  # the encoder needs no head of its own, nor does the repository
        use_cache=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPTNeoXForCausalLM(config)
    peak = decoder.pretraining_lr or 1e-3
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
        lr=peak,
        betas=(0.9, 0.95),
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_cosine(step, steps, warmup=0.05, floor=0.1)
    )
    losses = []
    for step in range(steps):
        ids = _sequences(text, step * batch, batch, context)
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        progress(step + 1, steps, losses[-1])
    record = PretrainingRecord(
        decoder=decoder.name,
        params=decoder.params,
        tokens=steps * context * batch,
        unique_tokens=min(steps * context * batch, len(text)),
        loss=float(np.mean(losses[-max(1, steps // 10) :])),
        held_out_loss=_held_out_loss(model, decoder, context),
        learning_rate=peak,
        seconds=time.perf_counter() - started,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )
    model.half().save_pretrained(folder)
    (folder / "record.json").write_text(json.dumps(asdict(record), indent=1) + "\n")
    return record


def _check_own(folder: Path, decoder: Decoder, tokens: int) -> None:
    """Make sure that nothing else is overwritten; the same made again is the same."""
    check_folder(folder)
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        held = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        name, seen = held["decoder"], held["tokens"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ToolkitError(
            f"{folder} is not empty and holds no decoder of the suite; name another folder"
        ) from None
    if (name, seen) != (decoder.name, tokens):
        raise ToolkitError(
            f"{folder} holds {name} after {seen:,} tokens, not {decoder.name} after {tokens:,}; "
            "name another folder, or move that one away"
        )


def _token_stream(decoder: Decoder, *, held_out: bool) -> np.ndarray:
    """All documents of one side, tokenised, with an end-of-text token after each: [tokens]."""
    tokenizer = load_tokenizer(decoder)
    encoded = tokenizer(list(documents(held_out=held_out)), return_attention_mask=False)
    end = [tokenizer.eos_token_id]
    return np.concatenate([np.asarray(ids + end, np.int64) for ids in encoded["input_ids"]])


def _sequences(text: np.ndarray, first: int, count: int, context: int) -> torch.Tensor:
    """Sequences `first` … `first + count` of the text, which repeats: [count, context]."""
    import torch

    whole = len(text) // context
    rows = np.arange(first, first + count) % whole
    return torch.from_numpy(text[: whole * context].reshape(whole, context)[rows])


def _held_out_loss(model: torch.nn.Module, decoder: Decoder, context: int) -> float:
    """Mean loss over 512 held-out sequences."""
    import torch

    text = _token_stream(decoder, held_out=True)
    model.eval()
    with torch.no_grad():
        losses = [
            model(input_ids=ids, labels=ids).loss.item()
            for ids in (_sequences(text, first, 64, context) for first in range(0, 512, 64))
        ]
    return float(np.mean(losses))
