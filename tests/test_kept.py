"""What is kept about an object is worked out once, and goes with the object."""

import gc
from weakref import ref

from toolkit.kept import kept


class Thing:
    pass


def test_an_answer_is_worked_out_once_for_each_object_and_question():
    asked = []

    @kept(2)
    def twice(thing, number):
        asked.append(number)
        return 2 * number

    one, two = Thing(), Thing()
    assert [twice(one, 3), twice(one, 3), twice(two, 3)] == [6, 6, 6]
    assert asked == [3, 3]


def test_the_oldest_answer_makes_room():
    asked = []

    @kept(2)
    def twice(thing, number):
        asked.append(number)
        return 2 * number

    thing = Thing()
    for number in (1, 2, 3, 3, 1):
        twice(thing, number)
    assert asked == [1, 2, 3, 1]


def test_what_is_kept_does_not_hold_the_object():
    answer = kept(2)(lambda thing, number: number)
    thing = Thing()
    there = ref(thing)
    answer(thing, 1)
    del thing
    gc.collect()
    assert there() is None
