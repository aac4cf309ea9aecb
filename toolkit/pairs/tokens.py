"""Tokenised texts: ragged, real tokens only, memory-mapped on disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from toolkit.cache import cache_folder
from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.pairs.near import mixed
from toolkit.pairs.negatives import Negatives
from toolkit.pairs.pair import Pair
from toolkit.pairs.sources import Source, read_pairs, source_fingerprint
from toolkit.pairs.split import HELD_OUT, LEFT_OUT, Facts, split

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_VERSION = 2
_CHARACTERS = 8  # For each token that is kept, so many of a text are looked at first.
_SIDES = ("train", "held_out")
_TEXTS = ("queries", "positives")


@dataclass(frozen=True)
class Ragged:
    """Texts as token ids, one after the other, without padding.

    Attributes:
        ids: Token ids of all texts, int32, shape [tokens].
        lengths: Tokens of each text, int32, shape [texts]; none is zero.
        skipped: First tokens of each text that pooling leaves out, int32, shape [texts]; None for
            none.
    """

    ids: np.ndarray
    lengths: np.ndarray
    skipped: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @classmethod
    def of(cls, texts: Sequence[Sequence[int]]) -> Ragged:
        """These texts' ids, one after the other."""
        lengths = np.array([len(ids) for ids in texts], np.int32)
        return cls(np.fromiter(chain.from_iterable(texts), np.int32, lengths.sum()), lengths)

    @classmethod
    def joined(cls, parts: Sequence[Ragged]) -> Ragged:
        """The texts of several, one after the other."""
        skipped = None
        if any(part.skipped is not None for part in parts):
            zeros = (np.zeros(len(part), np.int32) for part in parts)
            skipped = np.concatenate(
                [
                    zero if part.skipped is None else part.skipped
                    for part, zero in zip(parts, zeros, strict=True)
                ]
            )
        ids, lengths = (np.concatenate([getattr(p, n) for p in parts]) for n in ("ids", "lengths"))
        return cls(ids, lengths, skipped)

    @property
    def offsets(self) -> np.ndarray:
        """Where each text starts in `ids`, and the end of the last: int64, shape [texts + 1]."""
        return np.concatenate(([0], np.cumsum(self.lengths, dtype=np.int64)))

    def take(self, order: np.ndarray) -> Ragged:
        """The texts at the positions `order`, in that order."""
        found = _take(self.ids, self.offsets, order)
        return found if self.skipped is None else replace(found, skipped=self.skipped[order])

    def keys(self) -> np.ndarray:
        """A 64-bit key of each text's ids, uint64, shape [texts]: equal texts have equal keys, and
        two others the same one once in 10^19."""
        offsets = self.offsets
        places = np.arange(len(self.ids)) - np.repeat(offsets[:-1], self.lengths)
        words = mixed(mixed(self.ids.astype(np.uint64)) + places.astype(np.uint64))
        sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(words, dtype=np.uint64)))
        return sums[offsets[1:]] - sums[offsets[:-1]]


@dataclass(frozen=True)
class TokenColumn:
    """Texts, memory-mapped: ids [tokens], offsets [texts + 1], and how many first tokens of each
    pooling leaves out (`skip`)."""

    ids: np.ndarray
    offsets: np.ndarray
    skip: int = 0

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, order: np.ndarray) -> Ragged:
        """The texts at the positions `order`; only their pages are read from disk."""
        found = _take(self.ids, self.offsets, order)
        if not self.skip:
            return found
        return replace(found, skipped=np.full(len(order), self.skip, np.int32))

    def lengths(self, order: np.ndarray) -> np.ndarray:
        """Tokens of the texts at the positions `order`, int64, without reading the texts."""
        return self.offsets[order + 1] - self.offsets[order]


@dataclass(frozen=True)
class TokenisedPairs:
    """One side of the split, tokenised.

    Attributes:
        queries, positives: The texts.
        keys: The pairs' stable 64-bit keys, uint64.
        origins: For each pair the place of its origin in `names`, uint8; None where the data have
            but one.
        negatives: The pairs' hard negatives, where a run asks for any.
    """

    queries: TokenColumn
    positives: TokenColumn
    keys: np.ndarray
    origins: np.ndarray | None = None
    names: tuple[str, ...] = ()
    negatives: Negatives | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def first(self, count: int) -> np.ndarray:
        """Positions of the `count` pairs with the smallest keys: the same pairs everywhere."""
        return np.argsort(self.keys, kind="stable")[:count]


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
    if not _is_whole(folder):
        _build(folder, source, divided.sides, encode, prefixes, negatives)
    names = tuple(_stored(folder)["origins"])
    skips = [0 if prefixes.in_pooling else start for start in starts]
    train, held_out = (_open(folder, side, names, skips) for side in _SIDES)
    if negatives:
        train = replace(train, negatives=_open_negatives(folder, skips[1]))
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
        counts = dict.fromkeys(_SIDES, 0)
        origins: dict[str, int] = {}
        with ExitStack() as files:
            writers = {side: _Writer(building, side, files) for side in _SIDES}
            wrong = _NegativesWriter(building, files) if negatives else None
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
        if folder.is_dir() and not _is_whole(folder):
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


class _Writer:
    """Appends one side's pairs to its six files."""

    def __init__(self, folder: Path, side: str, files: ExitStack) -> None:
        def create(name: str) -> BinaryIO:
            return files.enter_context(open(folder / f"{side}.{name}", "wb"))

        self.ids = [create(f"{text}.ids") for text in _TEXTS]
        self.offsets = [create(f"{text}.offsets") for text in _TEXTS]
        self.keys, self.origins = create("keys"), create("origins")
        self.ends = [0, 0]
        for file in self.offsets:
            file.write(np.int64(0).tobytes())

    def write(self, key: int, tokens: list[list[int]], origin: int) -> None:
        for text, ids in enumerate(tokens):
            self.ends[text] += len(ids)
            self.ids[text].write(np.asarray(ids, np.int32).tobytes())
            self.offsets[text].write(np.int64(self.ends[text]).tobytes())
        self.keys.write(np.uint64(key).tobytes())
        self.origins.write(np.uint8(origin).tobytes())


class _NegativesWriter:
    """Appends the hard negatives of the training side's pairs to its three files."""

    def __init__(self, folder: Path, files: ExitStack) -> None:
        def create(name: str) -> BinaryIO:
            return files.enter_context(open(folder / f"train.negatives.{name}", "wb"))

        self.ids, self.offsets, self.pairs = map(create, ("ids", "offsets", "pairs"))
        self.end = self.texts = 0
        for file in (self.offsets, self.pairs):
            file.write(np.int64(0).tobytes())

    def write(self, texts: list[list[int]]) -> None:
        for ids in texts:
            self.end += len(ids)
            self.ids.write(np.asarray(ids, np.int32).tobytes())
            self.offsets.write(np.int64(self.end).tobytes())
        self.texts += len(texts)
        self.pairs.write(np.int64(self.texts).tobytes())


def _stored(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "counts.json").read_text(encoding="utf-8"))


def _is_whole(folder: Path) -> bool:
    """Whether every file of the store is there, and as long as it must be."""
    try:
        counts = _stored(folder)
        for side in _SIDES:
            pairs = counts[side]
            sizes = {"keys": 8 * pairs, "origins": pairs}
            for text in _TEXTS:
                sizes[f"{text}.offsets"] = 8 * (pairs + 1)
                offsets = _map(folder / f"{side}.{text}.offsets", np.int64)
                sizes[f"{text}.ids"] = 4 * int(offsets[-1])
            for name, size in sizes.items():
                if (folder / f"{side}.{name}").stat().st_size != size:
                    return False
        return not counts.get("negatives") or _negatives_are_whole(folder, counts["train"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return False


def _negatives_are_whole(folder: Path, pairs: int) -> bool:
    column, ends = _map_negatives(folder, 0)
    return (
        len(ends) == pairs + 1
        and len(column) == int(ends[-1])
        and len(column.ids) == int(column.offsets[-1])
    )


def _map_negatives(folder: Path, skip: int) -> tuple[TokenColumn, np.ndarray]:
    ids = _map(folder / "train.negatives.ids", np.int32)
    offsets, pairs = (
        _map(folder / f"train.negatives.{name}", np.int64) for name in ("offsets", "pairs")
    )
    return TokenColumn(ids, offsets, skip), pairs


def _open_negatives(folder: Path, skip: int) -> Negatives:
    column, ends = _map_negatives(folder, skip)
    return Negatives(column, np.arange(len(column)), np.asarray(ends))


def _open(folder: Path, side: str, names: tuple[str, ...], skips: list[int]) -> TokenisedPairs:
    queries, positives = (
        TokenColumn(
            _map(folder / f"{side}.{text}.ids", np.int32),
            _map(folder / f"{side}.{text}.offsets", np.int64),
            skip,
        )
        for text, skip in zip(_TEXTS, skips, strict=True)
    )
    keys = _map(folder / f"{side}.keys", np.uint64)
    if len(names) < 2:
        return TokenisedPairs(queries, positives, keys)
    origins = _map(folder / f"{side}.origins", np.uint8)
    return TokenisedPairs(queries, positives, keys, origins, names)


def _map(path: Path, dtype: type[np.generic]) -> np.ndarray:
    if path.stat().st_size == 0:  # the system maps no empty file
        return np.zeros(0, dtype)
    return np.memmap(path, dtype, mode="r")


def _take(ids: np.ndarray, offsets: np.ndarray, order: np.ndarray) -> Ragged:
    starts = offsets[order]
    lengths = offsets[order + 1] - starts
    ends = np.cumsum(lengths)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    return Ragged(np.asarray(ids[np.repeat(starts, lengths) + within]), lengths.astype(np.int32))
