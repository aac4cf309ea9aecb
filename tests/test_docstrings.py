"""Mining: what becomes a pair, and what is too trivial to be one."""

import ast
import textwrap
from collections import Counter

import pytest

from toolkit.pairs.docstrings import _mine_file, mine, pair_of
from toolkit.pairs.pair import normalise

pytestmark = pytest.mark.process


def mined(source: str, tmp_path):
    path = tmp_path / "module.py"
    path.write_text(textwrap.dedent(source), encoding="utf-8")
    return _mine_file(str(path))


def test_a_function_gives_its_summary_and_the_rest_of_it(tmp_path):
    (pair,) = mined(
        '''
        def scale(values, factor):
            """Multiply every one of the values by a factor.

            The factor may be negative or zero, which gives zeros.
            """
            return [value * factor for value in values]
        ''',
        tmp_path,
    )
    assert pair.query == "Multiply every one of the values by a factor."
    assert pair.positive.split("\n") == [
        "def scale(values, factor):",
        "The factor may be negative or zero, which gives zeros.",
        "return [value * factor for value in values]",
    ]


def test_methods_are_pairs_and_do_not_stand_in_their_class_again(tmp_path):
    pairs = mined(
        '''
        class Stack(list):
            """A last-in first-out collection of arbitrary items.

            It grows without any bound until the memory ends, like lists do everywhere else.
            """

            def push(self, item):
                """Put one more item on top of this stack.

                The item may be anything at all, even another stack with items in it.
                """
                self.append(item)
        ''',
        tmp_path,
    )
    assert [pair.query.split()[0] for pair in pairs] == ["A", "Put"]
    assert "push" not in pairs[0].positive


@pytest.mark.parametrize(
    "body",
    [
        "pass",
        '"""Too short."""\n    return 1',
        '"""Return the sum of both numbers."""\n    return a',
    ],
    ids=["no docstring", "short summary", "nothing left to say"],
)
def test_trivial_definitions_are_left_out(body):
    source = f"def f(a):\n    {body}\n"
    assert pair_of(ast.parse(source).body[0], source.splitlines()) is None


def test_an_answer_that_repeats_the_query_is_left_out(tmp_path):
    repeated = '''
        def f(a, b):
            """Add two numbers and return it.

            In detail: add two numbers and return it. Then the caller has their sum at hand.
            """
            return a + b
        '''
    assert mined(repeated, tmp_path) == []


def test_source_that_python_cannot_read_gives_nothing(tmp_path):
    assert mined("def broken(:", tmp_path) == []


def test_mining_a_package_gives_unique_texts_in_the_same_order_every_time():
    pairs = mine(["networkx"], workers=2)
    assert pairs == mine(["networkx"], workers=1)
    assert len(pairs) > 500
    counts = Counter(normalise(text) for pair in pairs for text in (pair.query, pair.positive))
    assert max(counts.values()) == 1
