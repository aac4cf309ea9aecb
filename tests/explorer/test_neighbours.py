"""Two encoders side by side on a person's own sentences."""

from tests.retrieval.conftest import WordEncoder
from toolkit.errors import ToolkitError
from toolkit.explorer.neighbours import neighbours, table

SENTENCES = ["a cat on a mat", "a dog in a park", "<b>stock</b> prices fell"]


class Backwards(WordEncoder):
    """Sees the same in every text."""

    def encode(self, texts, *, side=None):
        return super().encode(["same"] * len(texts))


def test_the_nearest_sentence_stands_first_in_every_column():
    html = table({"words": WordEncoder(), "blind": Backwards()}, SENTENCES, "the cat on the mat")
    first = html.split("blind")[0]
    assert first.index("a cat on a mat") < first.index("a dog in a park")
    assert "&lt;b&gt;stock" in html and "<b>stock" not in html


def test_the_widget_answers_to_another_question_and_to_none():
    widget = neighbours({"words": WordEncoder()}, SENTENCES)
    lines, asked, found = widget.children
    asked.value = "dog park"
    assert found.value.index("a dog in a park") < found.value.index("a cat on a mat")
    lines.value = "\n"
    assert found.value.startswith("Write some sentences")


def test_a_text_that_an_encoder_refuses_is_said_in_its_place():
    class Refuses(WordEncoder):
        def encode(self, texts, *, side=None):
            raise ToolkitError("text 1 has <half> a character")

    found = neighbours({"words": Refuses()}, SENTENCES).children[-1]
    assert found.value == "text 1 has &lt;half&gt; a character"
