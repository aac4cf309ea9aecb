"""One run, from its configuration to its record, and the encoder that it leaves."""

from toolkit.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "evaluate": "evaluation:evaluate",
        "held_out_set": "evaluation:held_out_set",
        "prepare": "preparation:prepare",
        "train_encoder": "run:train_encoder",
    },
)
