"""Of many requests in a burst only the last one is drawn."""

import asyncio

import pytest

from toolkit.explorer.latest import Latest


def test_a_burst_of_changes_is_drawn_once_with_the_last_value(explorer):
    async def drag():
        before = explorer.redraw.answers
        for step in range(50):
            explorer.budget.flop.slider.value = 1e11 * 1.05**step
            await asyncio.sleep(0)
        await asyncio.sleep(0.3)
        return explorer.redraw.answers - before

    answers = asyncio.run(drag())
    assert 1 <= answers <= 10
    assert explorer.view.answer.budget_flop == pytest.approx(1e11 * 1.05**49)
    assert explorer.view.scene.frontier.star.get_xdata()[0] == pytest.approx(1e11 * 1.05**49)


def test_flush_answers_at_once():
    async def ask():
        answered = []
        latest = Latest(lambda: answered.append(1), pause=60)
        latest.request()
        latest.request()
        assert not answered
        latest.flush()
        latest.flush()
        return answered

    assert asyncio.run(ask()) == [1]


def test_a_sweep_is_opened_with_one_picture(explorer):
    assert explorer.redraw.answers == 1
