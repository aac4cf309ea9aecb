"""What a batch found at a smaller budget costs at a larger one: as it was, or carried along.

Of a finished study, at each place (method, decoder, budget) where several batches were tried: the
best batch of the nearest place whose budget is smaller by a factor, where several were tried if
there is one, is taken over as it is, and as the same multiple of the toolkit's default, which is
what a recipe does. Told is the regret in per cent of the loss, the nearest batch that was tried
counting, beside that of the default itself, which was chosen on runs/reference: no rival there.

    python benchmarks/carried.py [runs/reference runs/real-decoder …]
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import pandas as pd
from studies import with_tests

from toolkit.decoders import catalogued
from toolkit.recipe.comparable import best_settings
from toolkit.training.defaults import batch_pairs

RUNS = Path(__file__).resolve().parents[1] / "runs"
STUDIES = [RUNS / name for name in ("reference", "real-decoder", "enough-pairs")]
FACTORS = (3, 10, 30)
PLACE = ["method", "decoder", "params", "budget_flop"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("studies", nargs="*", type=Path, default=STUDIES)
    args = parser.parse_args()
    found = pd.concat([regrets(study) for study in args.studies])
    if found.empty:
        print("no study here has places where several batches were tried")
        return
    told = found.groupby(["study", "smaller by"])
    print(told[["as it was", "carried", "default"]].mean().join(told.size().rename("places")))


def regrets(study: Path) -> pd.DataFrame:
    """One row a place and factor, of a study and the tests within it."""
    places = _places(with_tests(study))
    rows = []
    for here in places:
        for factor in FACTORS if len(here["losses"]) > 1 else ():
            source = _nearest(here, [p for p in places if _below(p, here, factor)])
            if source is not None:
                rows.append({"study": study.name, "smaller by": factor, **_regret(here, source)})
    return pd.DataFrame(rows)


def _places(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Each with its batches' losses: the best of other settings, seeds' mean; runs of all pairs."""
    runs = runs[(runs["status"] == "finished") & runs["max_pairs"].isna()]
    tried = [*PLACE, "batch_pairs"]
    least = best_settings(runs, tried).groupby(tried)["loss"].mean().reset_index()
    return [
        {
            **dict(zip(PLACE, key, strict=True)),
            "losses": x.set_index("batch_pairs")["loss"].to_dict(),
        }
        for key, x in least.groupby(PLACE)
    ]


def _below(place: dict[str, Any], here: dict[str, Any], factor: float) -> bool:
    below = place["budget_flop"] <= here["budget_flop"] / factor * 1.01
    return bool(below and place["method"] == here["method"])


def _nearest(here: dict[str, Any], places: list[dict[str, Any]]) -> dict[str, Any] | None:
    several = [place for place in places if len(place["losses"]) > 1] or places
    return min(
        several,
        key=lambda x: sum(abs(math.log(x[n] / here[n])) for n in ("budget_flop", "params")),
        default=None,
    )


def _regret(here: dict[str, Any], source: dict[str, Any]) -> dict[str, float]:
    """Per cent of the loss."""
    usual, before = (
        batch_pairs(catalogued(place["decoder"]), place["budget_flop"]) for place in (here, source)
    )
    found = min(source["losses"], key=source["losses"].get)
    least = min(here["losses"].values())

    def cost(batch: float) -> float:
        nearest = min(here["losses"], key=lambda tried: abs(math.log(tried / batch)))
        return 100 * (here["losses"][nearest] / least - 1)

    return {
        "as it was": cost(found), "carried": cost(found * usual / before), "default": cost(usual)
    }  # fmt: skip


if __name__ == "__main__":
    main()
