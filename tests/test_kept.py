"""What is kept about an object is worked out once, and goes with the object."""

import gc
from weakref import ref

from toolkit.kept import kept
from toolkit.recipe.cheapest import cheapest
from toolkit.recipe.frontier import best_choices
from toolkit.recipe.recommendation import recommend_from
from toolkit.recipe.study import Study
from toolkit.synthetic import run_table


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


def test_a_study_that_nobody_has_any_more_is_gone_whatever_it_was_asked():
    study = Study.of(run_table(decoders=("small-7k", "small-38k", "small-200k")), draws=20)
    loss = recommend_from(study, budget_flop=1e12).loss.value
    cheapest(study, loss)
    best_choices(study, 1e11, 1e13)
    there = [ref(study), ref(study.surface)]
    del study
    gc.collect()
    assert [each() for each in there] == [None, None]
