"""From a run table to a decision: how large, how much data, which method, which settings."""

from toolkit.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "crossings": "crossing:crossings",
        "put_to_test": "trial:put_to_test",
        "repeats_of": "repeats:repeats",
        "trial_in_words": "trial:as_text",
    },
)
