"""Decoders to Encoders: compute-optimal contrastive fine-tuning of decoder language models.

Two halves meet at one contract, the run table (`toolkit.runs`): the left half trains and makes
rows, the right half (`toolkit.laws`, `toolkit.recipe`) fits rows from anywhere and needs no torch.
"""

__version__ = "0.1.0"


def load(source, **settings):
    """The encoder of a run, an exported folder or a decoder: `toolkit.encoder.loading.load`."""
    from toolkit.encoder import loading

    return loading.load(source, **settings)
