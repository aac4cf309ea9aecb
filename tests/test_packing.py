"""Plans: every text runs once, within its chunk, and what is kept fits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.contrast.packing import plan_step, spread

LENGTHS = st.lists(st.integers(1, 90), min_size=1, max_size=120).map(np.array)


@given(LENGTHS, st.none() | st.integers(1, 400), st.booleans())
def test_every_text_runs_once_with_room_for_all_its_tokens(
    lengths: np.ndarray, chunk_tokens: int | None, packed: bool
) -> None:
    plan = plan_step(lengths, chunk_tokens=chunk_tokens, packed=packed)
    assert sorted(plan.order) == list(range(len(lengths)))
    assert (plan.tokens >= lengths[plan.order]).all()
    assert (plan.windows >= plan.tokens).all()
    assert plan.chunks[0] == 0 and plan.chunks[-1] == len(lengths)
    assert (np.diff(plan.chunks) > 0).all()


@given(LENGTHS)
def test_a_packed_stream_has_no_padding_and_attention_less_than_a_window(
    lengths: np.ndarray,
) -> None:
    plan = plan_step(lengths)
    assert (plan.tokens == np.sort(lengths)).all()
    assert (plan.windows % 16 == 0).all() and (plan.windows - plan.tokens < 16).all()


@given(LENGTHS, st.integers(1, 400), st.booleans())
def test_a_chunk_stays_within_its_tokens_or_holds_one_text(
    lengths: np.ndarray, chunk_tokens: int, packed: bool
) -> None:
    plan = plan_step(lengths, chunk_tokens=chunk_tokens, packed=packed)
    tokens = np.add.reduceat(plan.tokens, plan.chunks[:-1])
    assert ((tokens <= chunk_tokens) | (np.diff(plan.chunks) == 1)).all()


@given(LENGTHS, st.integers(1, 400), st.integers(1, 4000))
def test_kept_graphs_stay_within_their_tokens_or_are_the_last_chunks(
    lengths: np.ndarray, chunk_tokens: int, kept_tokens: int
) -> None:
    plan = plan_step(lengths, chunk_tokens=chunk_tokens, kept_tokens=kept_tokens)
    tokens = np.add.reduceat(plan.tokens, plan.chunks[:-1])
    kept = ~plan.recomputed
    assert kept[-1]
    assert tokens[kept].sum() <= kept_tokens or kept.sum() == 1


def test_without_a_chunk_size_everything_runs_once() -> None:
    plan = plan_step(np.array([5, 3, 9, 9]))
    assert len(plan.chunks) == 2 and not plan.recomputed.any()


def test_the_chunk_that_runs_last_is_never_run_twice() -> None:
    plan = plan_step(np.array([5, 3, 9, 9]), chunk_tokens=10)
    assert plan.recomputed.tolist() == [True] * (len(plan.chunks) - 2) + [False]


@pytest.mark.parametrize("mean", [1, 14, 14.37, 63.9])
def test_spread_lengths_have_the_mean_asked_for(mean: float) -> None:
    lengths = spread(mean, 1024)
    assert len(lengths) == 1024
    assert lengths.mean() == pytest.approx(mean, abs=1e-3)
    assert lengths.max() - lengths.min() <= 1
