"""The exact cached-gradient contrastive step, on real tokens only."""

from toolkit.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "ContrastiveStep": "step:ContrastiveStep",
        "embed": "step:embed",
        "graph_bytes": "memory:graph_bytes",
        "info_nce": "loss:info_nce",
        "plan_step": "packing:plan_step",
        "spread": "packing:spread",
    },
)
