"""Runs: what one is told, by name, with the part that each setting plays in comparisons."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from toolkit.choices import check_choices
from toolkit.errors import ToolkitError, nearest
from toolkit.flops import CONVENTIONS
from toolkit.methods import METHODS, SETTINGS, owners
from toolkit.values import convert, field_types, one_of

if TYPE_CHECKING:
    from toolkit.pairs.sources import Source

POOLINGS = ("mean", "last")
ATTENTIONS = ("causal", "bidirectional")
SETS = ("see-also",)  # Of texts that data may be told to leave out.
SCHEDULES = ("cosine", "trunk")
PRECISIONS = ("auto", "float32", "bfloat16")
TRACKERS = ("none", "tensorboard", "mlflow", "wandb")
PARTS = ("question", "setting", "must agree", "must agree at a size", "no matter", "seed")


def part(name: str, default: Any = MISSING, *, late: bool = False) -> Any:
    """A field of RunConfig with the part that it plays when runs are compared.

    Args:
        name: "question": what a recipe answers or is asked for. "setting": two runs that differ
            in it are different attempts at the same question, of which the better counts. "must
            agree": their losses cannot be compared. "must agree at a size": they are no seeds of
            one another, though a law may go through sizes that differ in it. "no matter": it
            changes no loss. "seed": runs that differ in it alone are averaged.
        default: Of the field; none makes it one that must be given.
        late: Whether the field is younger than records that are still read: at its default it is
            left out of the run's name, which stays what it was.
    """
    return field(default=default, metadata={"part": name, "late": late})


@dataclass(frozen=True)
class RunConfig:
    """One run, fully described; validated when it is made.

    Every field declares its part (`part`); the lists of what may be compared follow from it.

    Attributes:
        decoder: Name for `toolkit.decoders.find`: small-38k, pythia-70m, a folder, a hub name.
        budget_flop: FLOP to spend, counted in `flop_convention`.
        method: One of `toolkit.methods.METHODS`.
        data: `docstrings`, `manuals`, a JSONL, CSV, TSV or Parquet file, maybe gzipped, or
            `hub:owner/name`.
        query_column, positive_column, negative_column: Of the file or data set; None finds them
            by the usual names (`toolkit.pairs.files`).
        skip_bad: Share of the file's rows that may be bad and are then passed over.
        without: `see-also` leaves out every pair with a text of the documentation that the task of
            that name asks about (`toolkit.pairs.apart`); None leaves out nothing.
        flop_convention: paper, model or hardware (see `toolkit.flops`).
        lr: Peak learning rate; None takes the default for method and decoder.
        batch_pairs: Pairs a step; None takes the default for decoder and budget.
        max_pairs: At most so many distinct training pairs; None for all there are.
        max_tokens: Texts are cut at so many tokens.
        temperature: Of the contrastive loss; similarities are divided by it.
        pooling: mean over real tokens, or last token.
        attention: causal, as the decoder was pre-trained, or bidirectional: tokens see the whole
            text.
        query_prefix, positive_prefix: An instruction before each query, and before each positive
            and negative; its tokens count in tokens, FLOP and `max_tokens`.
        prefix_in_pooling: Whether the prefix's tokens are part of the embedding's mean.
        negatives: Hard negatives, candidates of every query beside the positives: none; given,
            from the file's negative column; or mined by the untuned decoder before the first step,
            which the budget pays for (`toolkit.training.mining`).
        negatives_per_query: At most so many a step for each query; None for one.
        negative_margin: mined only: texts that are not less similar to the query than its positive
            by this much (cosine) are taken for right answers and not used; None for 0.
        matryoshka: The first so many features of an embedding are trained to be embeddings as
            well, beside the whole; as [128, 64]. None for the whole alone.
        false_negative_margin: In training, candidates that are more similar to a query than its
            positive by more than this (cosine) are not counted as wrong; None counts all.
        special_tokens: Whether texts get the special tokens that the decoder's tokenizer adds of
            itself (a beginning or an end of text), as in its pre-training; they count in tokens,
            FLOP and `max_tokens`. Tokenizers that add none, as Pythia's, are not changed by it.
        trained_blocks, lora_rank, lora_alpha, lora_targets: Settings of some methods, None for
            their defaults; what each means, and whose it is: `toolkit.methods.SETTINGS`.
        weight_decay: Of AdamW, not on biases and norms.
        warmup: Share of the steps with a linearly growing learning rate.
        schedule: Of the learning rate after the warm-up: cosine down to zero, or trunk: constant,
            then a cooldown to zero as one minus a square root. Runs of one trunk and different
            budgets are the same run up to where each cools down (`toolkit.training.trunk`).
        cooldown: trunk only: share of the steps that cool down.
        warmup_flop: trunk only: the warm-up as FLOP, the same for all budgets of a trunk; None
            for the share `warmup`. A sweep gives runs that share a trunk that of the smallest.
        candidates: Size of the fixed held-out set, and so candidates of its loss.
        checkpointing: Recompute blocks in the backward pass to save memory.
        chunk_tokens: Tokens of one chunk of the cached-gradient step; None chooses by memory.
        precision: Of matrix products; the rest is float32 anyway. float32, bfloat16, or auto:
            bfloat16 where the device multiplies in it and the decoder is wide enough to gain.
        seed: Of initialisation (LoRA) and data order.
        tracking: Where losses are sent on the way: none, tensorboard, mlflow or wandb.

    Example:
        >>> d2e.RunConfig(decoder="small-38k", budget_flop=3e11, method="lora", lora_rank=8).method
        'lora'
    """

    decoder: str = part("question")
    budget_flop: float = part("question")
    method: str = part("question", "full")
    data: str = part("must agree", "docstrings")
    query_column: str | None = part("must agree", None, late=True)
    positive_column: str | None = part("must agree", None, late=True)
    negative_column: str | None = part("setting", None, late=True)
    skip_bad: float = part("must agree", 0.0, late=True)
    without: str | None = part("must agree", None, late=True)
    flop_convention: str = part("must agree", "model")
    lr: float | None = part("setting", None)
    batch_pairs: int | None = part("setting", None)
    max_pairs: int | None = part("question", None)
    max_tokens: int = part("must agree", 75)
    temperature: float = part("must agree", 0.025)
    pooling: str = part("setting", "mean")
    attention: str = part("setting", "causal", late=True)
    query_prefix: str | None = part("setting", None, late=True)
    positive_prefix: str | None = part("setting", None, late=True)
    prefix_in_pooling: bool = part("setting", True, late=True)
    negatives: str = part("setting", "none", late=True)
    negatives_per_query: int | None = part("setting", None, late=True)
    negative_margin: float | None = part("setting", None, late=True)
    matryoshka: tuple[int, ...] | None = part("setting", None, late=True)
    false_negative_margin: float | None = part("setting", None, late=True)
    special_tokens: bool = part("setting", True, late=True)
    trained_blocks: int | float | None = part("setting", None)
    lora_rank: int | None = part("setting", None)
    lora_alpha: float | None = part("setting", None)
    lora_targets: tuple[str, ...] | None = part("setting", None)
    weight_decay: float = part("setting", 0.1)
    warmup: float = part("setting", 0.1)
    schedule: str = part("setting", "cosine", late=True)
    cooldown: float | None = part("setting", None, late=True)
    warmup_flop: float | None = part("setting", None, late=True)
    candidates: int = part("must agree", 1024)
    checkpointing: bool = part("no matter", False)
    chunk_tokens: int | None = part("no matter", None)
    precision: str = part("must agree at a size", "auto", late=True)
    seed: int = part("seed", 0)
    tracking: str = part("no matter", "none", late=True)

    def __post_init__(self) -> None:
        for name, hint in field_types(type(self)).items():  # type: ignore[arg-type]
            object.__setattr__(self, name, convert(name, getattr(self, name), hint))
        one_of("method", self.method, tuple(METHODS))
        one_of("flop_convention", self.flop_convention, CONVENTIONS)
        one_of("pooling", self.pooling, POOLINGS)
        one_of("attention", self.attention, ATTENTIONS)
        one_of("precision", self.precision, PRECISIONS)
        one_of("tracking", self.tracking, TRACKERS)
        if self.without is not None:
            one_of("without", self.without, SETS)
        one_of("schedule", self.schedule, SCHEDULES)
        positive = ("budget_flop", "temperature", "lr", "batch_pairs", "max_pairs", "max_tokens")
        for name in (*positive, "chunk_tokens", "warmup_flop"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ToolkitError(f"{name} must be a positive finite number, not {value}")
        if self.candidates < 2 or (self.batch_pairs is not None and self.batch_pairs < 2):
            raise ToolkitError(
                "batch_pairs and candidates must be at least 2: one pair alone "
                "has nothing to be told apart from"
            )
        if not 0 <= self.warmup < 1:
            raise ToolkitError(
                f"warmup is a share of the steps, from 0 to below 1, not {self.warmup}"
            )
        if self.cooldown is not None and not 0 < self.cooldown <= 1:
            raise ToolkitError(
                f"cooldown is a share of the steps, above 0 up to 1, not {self.cooldown}"
            )
        for name in ("cooldown", "warmup_flop"):
            if getattr(self, name) is not None and self.schedule != "trunk":
                raise ToolkitError(f"{name} belongs to schedule trunk, not {self.schedule}")
        if not 0 <= self.skip_bad < 1:
            raise ToolkitError(
                f"skip_bad is a share of the rows, from 0 to below 1, not {self.skip_bad}"
            )
        if not (self.weight_decay >= 0 and math.isfinite(self.weight_decay)):
            raise ToolkitError(f"weight_decay must be zero or more, not {self.weight_decay}")
        if self.seed < 0:
            raise ToolkitError(f"seed must be zero or more, not {self.seed}")
        check_choices(self)
        for name, setting in SETTINGS.items():
            value = getattr(self, name)
            if value is None:
                continue
            setting.check(name, value)
            if setting not in METHODS[self.method].settings:
                whose = " or ".join(owners(name))
                raise ToolkitError(
                    f"{name} belongs to method {whose}, but this run's method is "
                    f"{self.method}; give {whose} a grid of its own"
                )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunConfig:
        """A configuration from plain values, as YAML, JSON or a notebook's parameters give them.

        Raises:
            ToolkitError: A key is unknown (nearest are offered), missing, or has a bad value.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise ToolkitError(f"unknown run parameter {key!r}{meant(str(key), known)}")
        for key in ("decoder", "budget_flop"):
            if values.get(key) is None:
                raise ToolkitError(f"a run needs {key}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types only, so that `from_dict` gives back an equal configuration."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @property
    def source(self) -> Source:
        """The data, and how they are read."""
        from toolkit.pairs.files import Columns
        from toolkit.pairs.sources import Source

        columns = Columns(self.query_column, self.positive_column, self.negative_column)
        return Source(self.data, columns, self.skip_bad, self.without)

    @property
    def run_id(self) -> str:
        """A readable, stable name for the run's folder: what it is, then a digest of it all."""
        values = self.to_dict()
        for each in fields(self):
            if each.metadata["late"] and values[each.name] == each.default:
                del values[each.name]
        digest = hashlib.sha256(canonical(values).encode()).hexdigest()[:8]
        decoder = "".join(c if c.isalnum() or c in ".-" else "-" for c in self.decoder)[-40:]
        return f"{self.method}-{decoder.strip('.-')}-{self.budget_flop:.3g}-s{self.seed}-{digest}"


# What other tools call our parameters, where the letters do not tell.
SYNONYMS = {
    "lr": ("learning_rate", "peak_lr", "max_lr", "eta"),
    "batch_pairs": ("batch_size", "batch", "train_batch_size", "per_device_train_batch_size"),
    "lora_rank": ("rank", "r", "lora_r"),
    "lora_alpha": ("alpha",),
    "lora_targets": ("target_modules", "targets"),
    "budget_flop": ("budget", "flop", "flops", "compute", "c"),
    "decoder": ("model", "model_name", "model_name_or_path", "base_model", "backbone"),
    "data": ("dataset", "dataset_name", "train_file", "pairs", "corpus"),
    "query_column": ("query_key", "question_column", "anchor_column", "text_column"),
    "positive_column": ("positive_key", "answer_column", "passage_column"),
    "negative_column": ("negative_key", "negatives_column"),
    "without": ("exclude", "exclude_packages", "decontaminate"),
    "skip_bad": ("skip_errors", "on_bad_lines", "ignore_errors"),
    "max_tokens": ("max_length", "max_seq_length", "max_len", "context", "sequence_length"),
    "max_pairs": ("max_samples", "max_train_samples", "n_pairs", "num_pairs", "limit"),
    "temperature": ("tau", "temp", "scale"),
    "trained_blocks": ("layers", "unfrozen", "unfrozen_layers", "trainable_layers"),
    "warmup": ("warmup_ratio", "warmup_steps", "warmup_fraction"),
    "weight_decay": ("wd", "decay"),
    "schedule": ("lr_scheduler", "lr_scheduler_type", "scheduler"),
    "cooldown": ("cooldown_ratio", "decay_ratio"),
    "candidates": ("eval_size", "n_candidates", "held_out"),
    "checkpointing": ("gradient_checkpointing", "grad_checkpointing"),
    "chunk_tokens": ("mini_batch_size", "chunk_size", "micro_batch_size"),
    "method": ("mode", "tuning", "finetuning", "finetuning_type", "peft"),
    "pooling": ("pooling_mode", "pool"),
    "attention": ("attention_mask", "causal", "is_causal", "mask"),
    "query_prefix": ("query_prompt", "query_instruction", "instruction", "prompt"),
    "positive_prefix": ("document_prefix", "passage_prefix", "document_prompt", "passage_prompt"),
    "prefix_in_pooling": ("include_prompt",),
    "negatives": ("hard_negatives", "mine_negatives"),
    "negatives_per_query": ("num_negatives", "n_negatives", "num_hard_negatives"),
    "negative_margin": ("max_score_margin", "hard_negative_margin"),
    "matryoshka": ("matryoshka_dims", "dims", "dimensions"),
    "false_negative_margin": ("guide_margin", "gist_margin", "mask_margin"),
    "special_tokens": ("add_special_tokens", "add_bos_token", "add_eos_token"),
    "seed": ("random_seed", "random_state"),
    "tracking": ("report_to", "log_with", "logger", "tracker"),
    "folder": ("output", "output_dir", "out", "save_dir"),
    "export_to": ("export", "save_to"),
}


def meant(name: str, known: Sequence[str]) -> str:
    """`nearest`, for an unknown parameter that may be known elsewhere under this name."""
    plain = name.lower().replace("-", "_")
    same = [ours for ours, others in SYNONYMS.items() if ours in known and plain in others]
    return f"; did you mean {same[0]}?" if same else nearest(name, tuple(known))


def fields_that(name: str) -> tuple[str, ...]:
    """The fields of RunConfig that play a part (see `part`), in their order.

    Raises:
        ValueError: There is no such part.
    """
    if name not in PARTS:
        raise ValueError(f"no part {name!r}")
    return tuple(f.name for f in fields(RunConfig) if f.metadata["part"] == name)


def canonical(value: Any) -> str:
    """JSON of which equal values have the same, for digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
