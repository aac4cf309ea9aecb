"""How well rankings agree with judgements: trec_eval's measures, with intervals over queries.

The numbers are those of trec_eval itself, through `pytrec_eval`: nDCG with the grade as gain and
log2(1 + rank) as discount (Järvelin and Kekäläinen 2002), recall, the reciprocal rank of the first
relevant document, average precision. A document is relevant where its grade is above 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from toolkit.laws.correlation import RESAMPLES
from toolkit.laws.estimate import Estimate, interval
from toolkit.scores import Scores

# Our names, and trec_eval's.
MEASURES = {
    "ndcg_at_10": "ndcg_cut_10",
    "recall_at_1": "recall_1",
    "recall_at_10": "recall_10",
    "recall_at_100": "recall_100",
    "mrr": "recip_rank",
    "map": "map",
}
_ASKED = {"ndcg_cut.10", "recall.1,10,100", "recip_rank", "map"}

Ranking = Mapping[str, Mapping[str, float]]


def of_each_query(
    judgements: Mapping[str, Mapping[str, int]], rankings: Ranking
) -> dict[str, np.ndarray]:
    """Every measure of each judged query, in the order of `judgements`; float64, shape [queries].

    Args:
        judgements: By query, the grades of documents.
        rankings: By query, scores of documents, the higher the better; of two that are equal the
            one with the greater id comes first, as in trec_eval.
    """
    import pytrec_eval

    evaluator = pytrec_eval.RelevanceEvaluator(
        {query: dict(grades) for query, grades in judgements.items()}, _ASKED
    )
    found = evaluator.evaluate({query: dict(scores) for query, scores in rankings.items()})
    return {
        ours: np.array([found[query][theirs] for query in judgements])
        for ours, theirs in MEASURES.items()
    }


def mean_of(values: np.ndarray, seed: int = 0) -> Estimate:
    """The mean of independent values, shape [n], with its bootstrap interval."""
    weights = np.random.default_rng(seed).multinomial(
        len(values), np.full(len(values), 1 / len(values)), RESAMPLES
    )
    low, high = interval(weights @ values / len(values), len(values) - 1)
    return Estimate(float(values.mean()), low, high)


def judge(
    task: str, judgements: Mapping[str, Mapping[str, int]], rankings: Ranking, note: str = ""
) -> Scores:
    """The mean of every measure over the judged queries, with intervals over queries."""
    each = of_each_query(judgements, rankings)
    return Scores(
        task=task,
        main="ndcg_at_10",
        measures={name: mean_of(values) for name, values in each.items()},
        count=len(judgements),
        unit="queries",
        note=note,
    )
