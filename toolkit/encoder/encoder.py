"""Texts to vectors, as a run trained its decoder to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from toolkit.errors import ToolkitError
from toolkit.values import is_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from toolkit.records import RunRecord
    from toolkit.runs import RunConfig

SIDES = ("query", "positive")
_AT_ONCE = 8192  # Texts that are tokenised and sorted by length together.


@dataclass(frozen=True, eq=False)
class Encoder:
    """A decoder with all that turns a text into its vector.

    Attributes:
        name: What it was loaded from.
        model: The decoder's body; adapters are merged into it.
        tokenizer: Its tokenizer.
        config: The run's, which says how texts are read and pooled.
        record: What came of the run; None for a decoder that was not tuned.

    Example:
        >>> d2e.load("small-3k").width
        16
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    config: RunConfig
    record: RunRecord | None = None

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return int(self.model.config.hidden_size)

    def encode(
        self,
        texts: str | Iterable[str],
        *,
        side: str | None = None,
        chunk_tokens: int | None = None,
        precision: str = "float32",
        progress: bool = False,
    ) -> np.ndarray:
        """Unit vectors of texts, float32, shape [texts, width]; of one text, shape [width].

        Texts run sorted by length and without padding. One without a token, such as the empty one
        where the tokenizer adds no special token, is embedded as the decoder's end-of-text token
        alone (`toolkit.pairs.tokens.stand_in`).

        Args:
            texts: In any order; the vectors come in the same.
            side: query or positive, where the run put a prefix before its queries or positives:
                the same goes before these texts. None for none.
            chunk_tokens: Tokens of one forward pass; None for what suits the device.
            precision: Of products: float32, bfloat16, or auto (`toolkit.contrast.precision`).
            progress: Show a bar.

        Raises:
            ToolkitError: Something among them is no text; says which.
        """
        from tqdm.auto import tqdm

        if isinstance(texts, str):
            return self.encode([texts], side=side, chunk_tokens=chunk_tokens, precision=precision)[
                0
            ]
        if side not in (None, *SIDES):
            raise ToolkitError(f"side is {' or '.join(SIDES)}, not {side!r}")
        texts = as_list(texts)
        check_texts(texts)
        vectors = np.empty((len(texts), self.width), np.float32)
        with tqdm(total=len(texts), unit="text", disable=not progress) as bar:
            for start in range(0, len(texts), _AT_ONCE):
                part = texts[start : start + _AT_ONCE]
                vectors[start : start + len(part)] = self._vectors(
                    part, side, chunk_tokens, precision
                )
                bar.update(len(part))
        return vectors

    def _vectors(
        self, texts: Sequence[str], side: str | None, chunk_tokens: int | None, precision: str
    ) -> np.ndarray:
        import torch

        from toolkit.contrast.step import embed
        from toolkit.pairs.ragged import Ragged
        from toolkit.pairs.tokens import prefixes_of, stand_in

        empty, _ = stand_in(self.tokenizer)
        found = token_ids_of(texts, self.tokenizer, self.config, side)
        ids = Ragged.of([each or [empty] for each in found])
        if side is not None and not self.config.prefix_in_pooling:
            encode = partial(token_ids_of, tokenizer=self.tokenizer, config=self.config)
            count = prefixes_of(self.config).tokens(side, encode, self.tokenizer)
            skipped = np.minimum(count, ids.lengths).astype(np.int32)
            ids = replace(ids, skipped=skipped)
        vectors = embed(
            self.model,
            ids,
            pooling=self.config.pooling,
            chunk_tokens=chunk_tokens,
            precision=precision,
        )
        return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()


def token_ids_of(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    config: RunConfig,
    side: str | None = None,
) -> list[list[int]]:
    """Texts as the ids that this run trains and evaluates on, as queries or positives if said."""
    from toolkit.pairs.tokens import token_ids

    return token_ids(
        texts,
        tokenizer,
        max_tokens=config.max_tokens,
        special_tokens=config.special_tokens,
        prefix=None if side is None else getattr(config, f"{side}_prefix"),
    )


def as_list(texts: Iterable[str]) -> list[str]:
    """Texts in their order.

    Raises:
        ToolkitError: They have none, or are a table, whose entries are its columns.
    """
    if (
        not isinstance(texts, Iterable)
        or isinstance(texts, (Mapping, Set))
        or getattr(texts, "ndim", 1) != 1
    ):
        raise ToolkitError(
            f"texts are a list, an array or a column of texts, not a {type(texts).__name__}"
        )
    return list(texts)


def check_texts(texts: Sequence[str]) -> None:
    """Make sure that a tokenizer can read all of them; empty ones it can.

    Raises:
        ToolkitError: It cannot; the first such is named, counted from 1.
    """
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise ToolkitError(f"text {number} of {len(texts):,} is no text: {text!r:.60}")
        if text and not is_text(text):
            raise ToolkitError(
                f"text {number} of {len(texts):,} has half a character (a lone surrogate, as "
                "\\ud800), which no tokenizer can read"
            )
