"""A trained run as an encoder: loaded, used, exported."""

from toolkit.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "export": "export:export",
        "trained": "loading:trained",
    },
)
