"""Human judgements of similarity: does an encoder find alike what people find alike?

Three small sets from the test data of gensim's wheel, fetched by pip once and read as a zip file:
fifty news texts of which people judged every pair (Lee, Pincombe and Welsh 2005), and pairs of
words: SimLex-999 (Hill, Reichart and Korhonen 2015) and WordSim-353 (Finkelstein et al. 2002).
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import cache

import numpy as np

from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.laws.correlation import spearman, why_untold
from toolkit.scores import NoScore, Scores
from toolkit.wheels import Wheel, fetch

GENSIM = Wheel(
    "gensim",
    "4.4.0",
    "91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8",
    28,
    ("311", "cp", "cp311", "manylinux_2_28_x86_64"),
)
_FOLDER = "gensim/test/test_data"
MEASURE = "spearman"


@dataclass(frozen=True)
class Judged:
    """Texts, and how alike people find some pairs of them.

    Attributes:
        name: Of the set. texts: The texts.
        pairs: Their positions, int64, shape [pairs, 2]. human: The judgements, shape [pairs].
        every: Whether all pairs of the texts are judged, so that they are no independent pairs.
    """

    name: str
    texts: tuple[str, ...]
    pairs: np.ndarray
    human: np.ndarray
    every: bool = False


@cache
def lee() -> Judged:
    """All 1,225 pairs of fifty news texts of 50 to 130 words.

    Raises:
        ToolkitError: gensim's wheel cannot be fetched or read (in `simlex` and `wordsim`, too).
    """
    texts = tuple(_read("lee.cor").splitlines())
    rows = [line.split() for line in _read("similarities0-1.txt").splitlines() if line.strip()]
    matrix = np.array(rows, float)
    pairs = np.stack(np.triu_indices(len(texts), 1), 1)
    return Judged("lee", texts, pairs, matrix[pairs[:, 0], pairs[:, 1]], every=True)


@cache
def simlex() -> Judged:
    """999 pairs of words, judged for similarity: not alike are words that only go together."""
    return _words("simlex", "simlex999.txt")


@cache
def wordsim() -> Judged:
    """353 pairs of words, judged for how related they are."""
    return _words("wordsim", "wordsim353.tsv")


def _words(name: str, file: str) -> Judged:
    lines = [line.split("\t") for line in _read(file).splitlines() if not line.startswith("#")]
    rows = [line for line in lines if len(line) == 3]
    texts = tuple(sorted({word for first, second, _ in rows for word in (first, second)}))
    place = {text: position for position, text in enumerate(texts)}
    pairs = np.array([(place[first], place[second]) for first, second, _ in rows])
    return Judged(name, texts, pairs, np.array([float(human) for *_, human in rows]))


def _read(member: str) -> str:
    try:
        path = fetch(GENSIM)
    except ToolkitError as error:
        raise SurroundingsError(f"{error}; the task see-also needs no network") from error
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(f"{_FOLDER}/{member}").decode("latin-1")
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ToolkitError(f"{path} is not a readable wheel: {error}") from error


def correlate(judged: Judged, vectors: np.ndarray) -> Scores:
    """Spearman's correlation of cosines with the judgements.

    The interval is over pairs; where all pairs of the texts are judged, over texts, whose pairs go
    along with them.

    Args:
        vectors: Of unit length, of the set's texts; shape [texts, h].

    Raises:
        NoScore: All cosines, or all judgements, are equal.
    """
    first, second = judged.pairs.T
    cosines = np.einsum("ph,ph->p", vectors[first], vectors[second])
    if untold := why_untold({"cosines": cosines, "judgements": judged.human}):
        raise NoScore(f"Spearman's correlation on {judged.name} cannot be told: {untold}")
    estimate = spearman(cosines, judged.human, groups=judged.pairs if judged.every else None)
    size, unit = (len(judged.texts), "texts") if judged.every else (len(judged.pairs), "pairs")
    return Scores(judged.name, MEASURE, {MEASURE: estimate}, size, unit)
