"""Tokenised texts: what training, evaluation and the exported encoder all see."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.cache import cache_folder
from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.pairs import store
from toolkit.pairs.pair import Pair
from toolkit.pairs.sources import Source, read_pairs, source_fingerprint
from toolkit.pairs.split import HELD_OUT, LEFT_OUT, Facts, split
from toolkit.pairs.store import TokenisedPairs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_VERSION = 2
_CHARACTERS = 8  # For each token that is kept, so many of a text are looked at first.


@dataclass(frozen=True)
class TokenisedData:
    """A data source, split and tokenised once; `facts` tell what is in it, `identity` of what
    source, tokenizer and settings it is."""

    train: TokenisedPairs
    held_out: TokenisedPairs
    facts: Facts
    identity: str = ""


@dataclass(frozen=True)
class Prefixes:
    """Instructions that go before the texts of a run.

    Attributes:
        query, positive: Before each query, and before each positive and negative.
        in_pooling: Whether their tokens are part of the embedding's mean; they are always seen.
    """

    query: str | None = None
    positive: str | None = None
    in_pooling: bool = True

    @property
    def texts(self) -> tuple[str | None, str | None]:
        return self.query, self.positive

    def tokens(
        self,
        side: str,
        encode: Callable[..., list[list[int]]],
        tokenizer: PreTrainedTokenizerBase,
    ) -> int:
        """How many tokens the prefix of a side takes, special ones behind it left out: so many of
        each text sentence-transformers leaves out of the pooling too.

        Args:
            side: query or positive. encode: `token_ids` of the run. tokenizer: The decoder's.

        Raises:
            ToolkitError: It leaves no room for a text; or it is to be left out of the pooling, and
                its end is no end of a token.
        """
        name = f"{side}_prefix"
        prefix = getattr(self, side)
        if prefix is None:
            return 0
        if tokenizer.truncation_side != "right":
            raise ToolkitError(
                f"{name}: the decoder's tokenizer cuts long texts at their beginning, where the "
                "prefix is; leave it out"
            )
        ids, longer = encode([prefix, f"{prefix}a\na\na"])
        if len(longer) <= len(ids):
            raise ToolkitError(
                f"{name} takes all of max_tokens ({len(ids)}): no room is left for a text; "
                "shorten it or raise max_tokens"
            )
        count = len(ids) - (ids[-1] in tokenizer.all_special_ids)
        if not self.in_pooling and longer[:count] != ids[:count]:
            raise ToolkitError(
                f"{name} {prefix!r} does not end where a token does, so it cannot be left out of "
                "the pooling; end it in a colon or a new line, not in a space"
            )
        return count


def tokenise(
    source: str | Source,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_tokens: int = 75,
    special_tokens: bool = True,
    prefixes: Prefixes = Prefixes(),
    negatives: bool = False,
) -> TokenisedData:
    """The pairs of `source` as `token_ids` gives them; read from the cache if there.

    Pairs stream from the source to the store; the split keeps half a kilobyte of each in memory.

    Args:
        source: Or its name. tokenizer: The decoder's.
        max_tokens, special_tokens: See `token_ids`.
        prefixes: What goes before each text.
        negatives: Whether to keep the texts that the source names as wrong answers.

    Raises:
        ToolkitError: The source cannot be read, or holds no pair, or no negative where they are
            asked for; or a prefix leaves no room for a text.
    """
    source = Source.of(source)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ToolkitError("the decoder has no fast tokenizer (tokenizer.json); it needs one")
    model = json.loads(backend.to_str())
    model.update(truncation=None, padding=None)  # passing state of the last call, not identity
    cut = f"{max_tokens} with special" if added_tokens(tokenizer, special_tokens) else max_tokens
    identity = f"{_VERSION} {source_fingerprint(source)} {cut} {json.dumps(model, sort_keys=True)}"
    if prefixes.texts != (None, None):
        identity += f" {json.dumps(prefixes.texts)}"
    if negatives:
        identity += " negatives"
    folder = cache_folder() / f"tokens-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    encode = partial(
        token_ids, tokenizer=tokenizer, max_tokens=max_tokens, special_tokens=special_tokens
    )
    starts = [prefixes.tokens(side, encode, tokenizer) for side in ("query", "positive")]
    divided = split(source)
    if negatives and not divided.facts.negatives:
        raise ToolkitError(f"data {source.name!r} names no negatives; use negatives: mined or none")
    if not store.is_whole(folder):
        _build(folder, source, divided.sides, encode, prefixes, negatives)
    names = tuple(store.stored(folder)["origins"])
    skips = [0 if prefixes.in_pooling else start for start in starts]
    train, held_out = (store.open_side(folder, side, names, skips) for side in store.SIDES)
    if negatives:
        train = replace(train, negatives=store.open_negatives(folder, skips[1]))
    return TokenisedData(train, held_out, divided.facts, folder.name)


def prefixes_of(config: Any) -> Prefixes:
    """The prefixes of a run's configuration."""
    return Prefixes(config.query_prefix, config.positive_prefix, config.prefix_in_pooling)


def added_tokens(tokenizer: PreTrainedTokenizerBase, special_tokens: bool = True) -> int:
    """How many special tokens each text gets: those that the tokenizer adds of itself."""
    return tokenizer.num_special_tokens_to_add() if special_tokens else 0


def token_ids(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_tokens: int = 75,
    special_tokens: bool = True,
    prefix: str | None = None,
) -> list[list[int]]:
    """Each text as the ids that training, evaluation and the exported encoder all see.

    Args:
        texts: One that holds nothing, as an empty one, gives the special tokens alone, if any.
        tokenizer: The decoder's. max_tokens: Longer texts are cut here, special tokens included.
        special_tokens: Add those that the tokenizer adds of itself.
        prefix: Goes before each text, and is tokenised with it.

    Raises:
        ToolkitError: `max_tokens` leaves no room for a token of the text.
    """
    added = added_tokens(tokenizer, special_tokens)
    if max_tokens <= added:
        raise ToolkitError(
            f"max_tokens {max_tokens} leaves no room for a text beside the special tokens that "
            f"the tokenizer adds ({added}); give a larger one, or special_tokens: false"
        )

    def encode(some: Sequence[str]) -> list[list[int]]:
        encoded = tokenizer(
            list(some),
            add_special_tokens=special_tokens,
            truncation=True,
            max_length=max_tokens,
            return_attention_mask=False,
        )["input_ids"]
        return [list(ids) for ids in encoded]

    texts = [f"{prefix or ''}{text}" for text in texts]
    if not _reads_word_by_word(tokenizer):
        return encode(texts)
    fronts = [_front(text, _CHARACTERS * max_tokens) for text in texts]
    found = encode(fronts)
    # A front that does not fill all tokens says nothing of what is behind it.
    short = [i for i, ids in enumerate(found) if len(ids) < max_tokens and fronts[i] != texts[i]]
    for place, ids in zip(short, encode([texts[i] for i in short]) if short else [], strict=True):
        found[place] = ids
    return found


def _reads_word_by_word(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokens of a text's front, cut before a blank, are the first of the whole text's:
    byte-level BPE splits into words from the left before all else (Radford et al. 2019)."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    right = tokenizer.truncation_side == "right"
    return backend is not None and right and "ByteLevel" in str(backend.pre_tokenizer)


def _front(text: str, characters: int) -> str:
    """The front of a long text, cut before a blank behind a word."""
    place = characters if len(text) > characters else 0
    while place > 0:
        place = text.rfind(" ", 0, place)
        if place > 0 and not text[place - 1].isspace():
            return text[:place]
    return text


def stand_in(tokenizer: PreTrainedTokenizerBase) -> tuple[int, str]:
    """The token, id and text, for what is empty: the end of text, or the next best there is."""
    named = (tokenizer.eos_token, tokenizer.bos_token, tokenizer.pad_token, tokenizer.unk_token)
    vocabulary = tokenizer.get_vocab()
    token = next((token for token in named if token in vocabulary), None)
    token = token or max(vocabulary, key=lambda token: (len(token), token))
    return vocabulary[token], token


def _build(
    folder: Path,
    source: Source,
    sides: np.ndarray,
    encode: Callable[..., list[list[int]]],
    prefixes: Prefixes,
    negatives: bool,
) -> None:
    """Write the store beside `folder`, then move it there in one step.

    A pair with a text that holds nothing but special tokens and a prefix is passed over.
    """
    (nothing,), (wrong_nothing,) = (encode([""], prefix=prefix) for prefix in prefixes.texts)
    least = len(nothing), len(wrong_nothing)
    building = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        counts = dict.fromkeys(store.SIDES, 0)
        origins: dict[str, int] = {}
        with ExitStack() as files:
            writers = {side: store.Writer(building, side, files) for side in store.SIDES}
            wrong = store.NegativesWriter(building, files) if negatives else None
            for chunk in _used(read_pairs(source), sides, source):
                texts = [
                    encode([getattr(pair, name) for _, pair in chunk], prefix=prefix)
                    for name, prefix in zip(("query", "positive"), prefixes.texts, strict=True)
                ]
                for (side, pair), *tokens in zip(chunk, *texts, strict=True):
                    if all(len(ids) > few for ids, few in zip(tokens, least, strict=True)):
                        origin = origins.setdefault(pair.origin, len(origins))
                        writers[side].write(pair.key, tokens, origin)
                        counts[side] += 1
                        if wrong is not None and side == "train":
                            given = pair.negatives
                            found = encode(given, prefix=prefixes.positive) if given else []
                            wrong.write([ids for ids in found if len(ids) > least[1]])
        if not sum(counts.values()):
            raise ToolkitError(f"data {source.name!r} holds no pair")
        stored = {**counts, "origins": list(origins), "negatives": negatives}
        (building / "counts.json").write_text(json.dumps(stored), encoding="utf-8")
        if folder.is_dir() and not store.is_whole(folder):
            shutil.rmtree(folder)  # damaged since it was written
        if not folder.is_dir():  # another process may have been faster; its store is as good
            building.rename(folder)
    except OSError as error:
        raise SurroundingsError(
            f"cannot store the tokens of {source.name!r}: {error}; free the disk or set "
            "TOOLKIT_CACHE to a folder that can be written"
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _used(
    pairs: Iterator[Pair], sides: np.ndarray, source: Source
) -> Iterator[list[tuple[str, Pair]]]:
    """The pairs of both sides with their side, some thousands at a time.

    Raises:
        ToolkitError: There are not as many pairs as were split.
    """
    changed = ToolkitError(f"data {source.name!r} changed while they were read; try again")
    seen = 0
    while chunk := list(islice(pairs, 4096)):
        if seen + len(chunk) > len(sides):
            raise changed
        part = sides[seen : seen + len(chunk)]
        seen += len(chunk)
        yield [
            ("held_out" if side == HELD_OUT else "train", pair)
            for side, pair in zip(part, chunk, strict=True)
            if side != LEFT_OUT
        ]
    if seen != len(sides):
        raise changed
