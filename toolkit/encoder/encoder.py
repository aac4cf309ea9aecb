"""Texts to vectors, as a run trained its decoder to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolkit.errors import ToolkitError
from toolkit.values import is_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from toolkit.runs import RunConfig, RunRecord

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
        texts: str | Sequence[str],
        *,
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
            chunk_tokens: Tokens of one forward pass; None for what suits the device.
            precision: Of products: float32, bfloat16, or auto (`toolkit.contrast.precision`).
            progress: Show a bar.

        Raises:
            ToolkitError: Something among them is no text; says which.
        """
        from tqdm.auto import tqdm

        if isinstance(texts, str):
            return self.encode([texts], chunk_tokens=chunk_tokens, precision=precision)[0]
        check_texts(texts)
        vectors = np.empty((len(texts), self.width), np.float32)
        with tqdm(total=len(texts), unit="text", disable=not progress) as bar:
            for start in range(0, len(texts), _AT_ONCE):
                part = texts[start : start + _AT_ONCE]
                vectors[start : start + len(part)] = self._vectors(part, chunk_tokens, precision)
                bar.update(len(part))
        return vectors

    def _vectors(
        self, texts: Sequence[str], chunk_tokens: int | None, precision: str
    ) -> np.ndarray:
        import torch

        from toolkit.contrast.step import embed
        from toolkit.pairs.tokens import Ragged, stand_in

        empty, _ = stand_in(self.tokenizer)
        ids = Ragged.of(
            [ids or [empty] for ids in token_ids_of(texts, self.tokenizer, self.config)]
        )
        vectors = embed(
            self.model,
            ids,
            pooling=self.config.pooling,
            chunk_tokens=chunk_tokens,
            precision=precision,
        )
        return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()


def token_ids_of(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, config: RunConfig
) -> list[list[int]]:
    """Texts as the ids that this run trains and evaluates on."""
    from toolkit.pairs.tokens import token_ids

    return token_ids(
        texts, tokenizer, max_tokens=config.max_tokens, special_tokens=config.special_tokens
    )


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
