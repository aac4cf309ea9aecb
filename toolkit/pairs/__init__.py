"""Text pairs: where they come from, and how they are tokenised."""

from toolkit.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "Ragged": "ragged:Ragged",
        "Source": "sources:Source",
        "content": "look:content",
        "look_at": "look:look",
        "tokenise": "tokens:tokenise",
    },
)
