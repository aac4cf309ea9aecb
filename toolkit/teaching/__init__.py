"""What the walkthroughs teach with: exercises that check, pictures, short trainings, real texts."""

from toolkit.teaching.exercises import Wrong, check
from toolkit.teaching.lessons import (
    documented,
    fine_tune,
    median_place,
    places,
    real_or,
    some_runs,
    unseen,
)
from toolkit.teaching.pictures import (
    begin,
    canvas,
    compare,
    dress,
    grid,
    interval,
    limit,
    predicted,
)

__all__ = [
    "Wrong",
    "begin",
    "canvas",
    "check",
    "compare",
    "documented",
    "dress",
    "fine_tune",
    "grid",
    "interval",
    "limit",
    "median_place",
    "places",
    "predicted",
    "real_or",
    "some_runs",
    "unseen",
]
