"""Encoders that sentence-transformers runs, whoever made them, and what is wrong with a folder."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.encoder.loading import MODULES, OF_SENTENCE_TRANSFORMERS
from toolkit.errors import ToolkitError

_DENSE = "SentenceTransformer"
_PROBE = ("a", "a text of some more words")  # Of two lengths: the shorter one is padded.


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """An encoder that sentence-transformers runs: its name, and its model."""

    name: str
    model: Any

    @classmethod
    def of(cls, name: str, folder: Path) -> Elsewhere:
        """From a folder that sentence-transformers can load.

        Raises:
            ToolkitError: It cannot, or is not installed; or a weight is missing, or the model is
                no encoder of single texts, or gives no vectors.
        """
        if find_spec("sentence_transformers") is None:
            raise ToolkitError(f"{name} needs `pip install decoders-to-encoders[export]`")
        _check_files(folder)
        from sentence_transformers import SentenceTransformer

        with _reports() as told:
            try:
                model = SentenceTransformer(str(folder), local_files_only=True)
            except Exception as error:  # of many types, its own and those of what it stands on
                shapes = _weights(told, "MISMATCH")
                why = f"of another shape are {shapes}" if shapes else _in_short(error)
                raise ToolkitError(
                    f"{folder} cannot be loaded by sentence-transformers: {why}"
                ) from error
        # What pools tokens' vectors uses no pooler of the body, and many are saved without.
        if missing := _weights(told, "MISSING", without="pooler"):
            raise ToolkitError(f"{folder} lacks the weights {missing}; copy the model whole")
        found = cls(name, model)
        _try(found, folder)
        return found

    def encode(self, texts: Sequence[str], /, *, side: str | None = None) -> np.ndarray:
        """Unit vectors, float32, shape [texts, h]; the model's own prompts are its prefixes."""
        by_side = {"query": self.model.encode_query, "positive": self.model.encode_document}
        encode = by_side[side] if side else self.model.encode
        found = encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(found, np.float32)


def _check_files(folder: Path) -> None:
    """Make sure that the folder names modules, and that what it says is JSON.

    Raises:
        ToolkitError: It does not, or is another kind of model than one of vectors.
    """
    modules = _json(folder / MODULES)
    if not isinstance(modules, list) or not modules or not all(map(_is_module, modules)):
        raise ToolkitError(f"{folder / MODULES} is no list of modules, each with type and path")
    for module in modules:
        place = folder / module["path"]
        # Of what has no settings the folder is empty, and empty ones get lost on the way.
        if not place.is_dir() and not module["type"].endswith("Normalize"):
            raise ToolkitError(f"{folder / MODULES} names {module['path']}, which is not there")
        for path in place.glob("*config*.json"):
            _json(path)
    about = folder / OF_SENTENCE_TRANSFORMERS
    facts = _json(about) if about.is_file() else {}
    kind = facts.get("model_type", _DENSE) if isinstance(facts, dict) else "thing of no known kind"
    if kind != _DENSE:
        raise ToolkitError(
            f"{folder} is a {kind}, not an encoder of texts by one vector each ({_DENSE})"
        )


def _is_module(module: object) -> bool:
    return isinstance(module, dict) and all(
        isinstance(module.get(name), str) for name in ("type", "path")
    )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ToolkitError(f"{path} cannot be read: {_in_short(error)}") from error


@contextmanager
def _reports() -> Iterator[list[str]]:
    """What transformers says of weights while it loads, caught here instead of shown."""
    from transformers.utils import logging as theirs

    told: list[str] = []

    class Catch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    logger, catch = logging.getLogger("transformers"), Catch()
    shown = list(logger.handlers)
    theirs.disable_progress_bar()
    for handler in shown:
        logger.removeHandler(handler)
    logger.addHandler(catch)
    try:
        yield told
    finally:
        logger.removeHandler(catch)
        for handler in shown:
            logger.addHandler(handler)
        theirs.enable_progress_bar()


def _weights(told: list[str], status: str, without: str | None = None) -> str:
    """The weights that a report calls so, the first of many."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(told))
    names = re.findall(rf"^(\S+)\s*\|\s*{status}\b", text, re.MULTILINE)
    names = [name for name in names if without is None or without not in name]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _try(encoder: Elsewhere, folder: Path) -> None:
    """Embed two short texts, before anything long is begun.

    Raises:
        ToolkitError: That fails, or gives no vectors of numbers.
    """
    try:
        vectors = encoder.encode(_PROBE)
    except Exception as error:  # a tokenizer, a pad token or a width of some module
        raise ToolkitError(
            f"{folder} is loaded by sentence-transformers and embeds no text (is its tokenizer "
            f"whole, with a pad token?): {_in_short(error)}"
        ) from error
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ToolkitError(f"{folder} gives no vectors of finite numbers; are its weights damaged?")


def _in_short(error: Exception) -> str:
    """What an error says first, without what else one could do."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no word said'}"[:300]
