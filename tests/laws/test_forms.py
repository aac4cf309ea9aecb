"""Every registered form: its value, its gradient, and its two sets of parameters."""

import math

import numpy as np
import pytest

from toolkit.errors import ToolkitError
from toolkit.laws.forms import FORMS, form, tied

ALL = [*FORMS.values(), tied(FORMS["parametric"]), tied(FORMS["data-constrained"])]
names = pytest.mark.parametrize("law", ALL, ids=lambda law: law.name)


def random_points(law, rng, count=6, points=40):
    """Coordinates from the form's own ranges, and centred log inputs with their centres."""
    ranges = np.array([p.start for p in law.parameters])
    phi = rng.uniform(ranges[:, 0], ranges[:, 1], (count, len(ranges)))
    centre = rng.normal(18, 2, len(law.roles))
    if "unique_tokens" in law.roles:
        centre[2] = centre[1]  # About as many unique tokens as tokens: some runs repeat.
    return phi, rng.normal(0, 2, (len(law.roles), points)), centre


@names
def test_the_gradient_by_coordinates_is_that_of_finite_differences(law):
    phi, z, centre = random_points(law, np.random.default_rng(1))
    _, slopes = law.evaluate(phi, z, centre)
    for k, slope in enumerate(slopes):
        step = np.zeros(phi.shape[1])
        step[k] = 1e-6
        ahead, behind = (law.evaluate(phi + s, z, centre)[0] for s in (step, -step))
        numeric = (ahead - behind) / 2e-6
        assert np.broadcast_to(slope, numeric.shape) == pytest.approx(numeric, abs=2e-7)


@names
def test_the_gradient_by_published_parameters_is_that_of_finite_differences(law):
    phi, z, centre = random_points(law, np.random.default_rng(2))
    theta, inputs = law.natural(phi, centre), np.exp(z + centre[:, None])
    gradient = law.gradient(theta, inputs)
    for k in range(theta.shape[1]):
        step = 1e-6 * np.maximum(np.abs(theta[:, k]), 1e-3)
        ahead, behind = theta.copy(), theta.copy()
        ahead[:, k] += step
        behind[:, k] -= step
        numeric = (law.value(ahead, inputs) - law.value(behind, inputs)) / (2 * step[:, None])
        scale = np.abs(numeric).max() + 1e-12
        assert gradient[..., k] / scale == pytest.approx(numeric / scale, abs=1e-5)


@names
def test_coordinates_and_published_parameters_are_inverse_in_any_unit_of_the_loss(law):
    phi, _, centre = random_points(law, np.random.default_rng(3))
    theta = law.natural(phi, centre, unit=0.7)
    assert law.coordinates(theta, centre, unit=0.7) == pytest.approx(phi)


@names
def test_the_unit_of_the_loss_scales_the_law_and_nothing_else(law):
    phi, z, centre = random_points(law, np.random.default_rng(4))
    inputs = np.exp(z + centre[:, None])
    plain = law.value(law.natural(phi, centre), inputs)
    assert law.value(law.natural(phi, centre, unit=math.log(5)), inputs) == pytest.approx(5 * plain)


@names
def test_every_form_states_its_equation_and_its_source(law):
    assert "=" in law.equation
    assert "arXiv" in law.citation


def test_the_parametric_law_is_its_equation():
    value = FORMS["parametric"].value([1.8, 400, 0.34, 2000, 0.37], [[1e8], [1e10]])
    assert value[0] == pytest.approx(1.8 + 400 / 1e8**0.34 + 2000 / 1e10**0.37)


def test_the_saturating_law_is_its_equation():
    assert FORMS["saturating"].value([2, 500, 0.15], [1e18])[0] == pytest.approx(
        2 + 500 * 1e18**-0.15
    )


def test_the_rectified_law_is_its_equation():
    e, a, beta, b = 1.5, 3.5, 0.5, -6.0
    logistic = (a - e) / (1 + math.exp(beta * math.log(1e6) + b)) + e
    assert FORMS["finetune"].value([e, a, beta, b], [1e6])[0] == pytest.approx(logistic)


def test_the_rectified_law_in_its_authors_parameters_is_the_same_law():
    e, a, beta, b = 1.5, 3.5, 0.5, -6.0
    more = FORMS["finetune"].derived({k: np.array([v]) for k, v in zip("EA", (e, a), strict=True)}
                                     | {"beta": np.array([beta]), "b": np.array([b])})  # fmt: skip
    value = more["B"][0] / (more["D_l"][0] + 1e6**beta) + e
    assert FORMS["finetune"].value([e, a, beta, b], [1e6])[0] == pytest.approx(value)


def test_the_parabola_bottoms_at_its_minimum_with_its_curvature():
    law, theta = FORMS["parabola"], [3.0, 0.4, 1e5]
    assert law.value(theta, [1e5])[0] == pytest.approx(3.0)
    assert law.value(theta, [1e5 * math.e])[0] == pytest.approx(3.2)


LN_K = math.log(1024)
ODDS = [0.8, 300.0, 0.3, 4000.0, 0.35]


def test_the_bounded_law_is_its_equation():
    n, d = np.array([1e3, 1e6, 1e9]), np.array([1e4, 1e9, 1e7])
    e, a, alpha, b, beta = ODDS
    x = a / n**alpha + b / d**beta
    value = FORMS["bounded"].value([*ODDS, LN_K], [n, d])
    assert value == pytest.approx(e + (LN_K - e) * x / (1 + x))


def test_the_bounded_law_is_the_parametric_one_far_below_chance_and_chance_before_learning():
    e, a, alpha, b, beta = ODDS
    far = [[1e16], [1e18]]
    inner = FORMS["parametric"].value([0, (LN_K - e) * a, alpha, (LN_K - e) * b, beta], far)
    left = FORMS["bounded"].value([*ODDS, LN_K], far) - e
    assert left == pytest.approx(inner, rel=0.02)
    assert FORMS["bounded"].value([*ODDS, LN_K], [[1e-9], [1e-9]])[0] == pytest.approx(LN_K)


def test_without_repeats_the_bounded_law_with_repeats_is_the_bounded_one():
    law, theta = FORMS["bounded-repeats"], [*ODDS, LN_K, 15.0]
    inputs = [[1e6, 1e7], [1e8, 1e9]]
    plain = FORMS["bounded"].value([*ODDS, LN_K], inputs)
    assert law.value(theta, [*inputs, inputs[1]]) == pytest.approx(plain)
    once, repeated, fresh = law.value(theta, [[1e8] * 3, [1e6, 8e6, 8e6], [1e6, 1e6, 8e6]])
    assert fresh < repeated < once < LN_K


def test_the_best_split_of_a_budget_by_the_bounded_law_has_the_parametric_laws_exponents():
    theta = dict(zip(FORMS["bounded"].names, np.array([*ODDS, LN_K])[:, None], strict=True))
    g, a = (FORMS["bounded"].derived(theta)[name][0] for name in ("G", "exponent_params"))
    sizes = np.geomspace(1e4, 1e9, 20_001)
    loss = FORMS["bounded"].value([*ODDS, LN_K], [sizes, 1e14 / sizes])
    assert sizes[loss.argmin()] == pytest.approx(g * 1e14**a, rel=1e-3)


def muennighoff(params, tokens, unique, theta):
    """The data-constrained law, written out as its authors do."""
    e, a, alpha, b, beta, r_n, r_d = theta
    unique_tokens = min(unique, tokens)
    g = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
    enough = g * (g * unique_tokens) ** (beta / alpha)
    unique_params = min(enough, params)
    repeats_n, repeats_d = params / unique_params - 1, tokens / unique_tokens - 1
    n = unique_params + unique_params * r_n * (1 - math.exp(-repeats_n / r_n))
    d = unique_tokens + unique_tokens * r_d * (1 - math.exp(-repeats_d / r_d))
    return e + a / n**alpha + b / d**beta


@pytest.mark.parametrize(
    ("params", "tokens", "unique"),
    [(1e8, 1e9, 1e9), (1e8, 4e10, 1e9), (3e10, 1e9, 1e9), (3e10, 6e10, 1e9), (1e8, 1e9, 5e9)],
)
def test_the_data_constrained_law_is_its_equation(params, tokens, unique):
    theta = [1.87, 521.0, 0.353, 1488.0, 0.353, 5.31, 15.39]
    value = FORMS["data-constrained"].value(theta, [[params], [tokens], [unique]])[0]
    assert value == pytest.approx(muennighoff(params, tokens, unique, theta))


def test_without_repetition_the_data_constrained_law_is_the_parametric_one():
    theta = [1.8, 400.0, 0.34, 2000.0, 0.37]
    inputs = [[1e7, 1e8], [1e10, 1e11]]
    plain = FORMS["parametric"].value(theta, inputs)
    unique = [*inputs, inputs[1]]
    assert FORMS["data-constrained"].value([*theta, 5, 15], unique) == pytest.approx(plain)


def test_repeated_tokens_are_worth_less_than_fresh_ones_and_more_than_none():
    law, theta = FORMS["data-constrained"], [1.8, 400, 0.34, 2000, 0.37, 5, 15]
    once, repeated, fresh = law.value(theta, [[1e8] * 3, [1e9, 8e9, 8e9], [1e9, 1e9, 8e9]])
    assert fresh < repeated < once


def test_the_compute_optimal_exponents_of_the_parametric_law():
    theta = {k: np.array([v]) for k, v in
             {"E": 1.8, "A": 400.0, "alpha": 0.3, "B": 2000.0, "beta": 0.6}.items()}  # fmt: skip
    more = FORMS["parametric"].derived(theta)
    assert more["exponent_params"][0] == pytest.approx(2 / 3)
    assert more["exponent_tokens"][0] == pytest.approx(1 / 3)


def test_tied_exponents_are_the_same_law_with_beta_equal_to_alpha():
    law = tied(FORMS["parametric"])
    assert law.names == ("E", "A", "alpha", "B")
    inputs = [[1e8], [1e10]]
    free = FORMS["parametric"].value([1.8, 400, 0.35, 2000, 0.35], inputs)
    assert law.value([1.8, 400, 0.35, 2000], inputs) == pytest.approx(free)


def test_an_unknown_form_gets_the_nearest_names():
    with pytest.raises(ToolkitError, match="did you mean parametric"):
        form("parametrc")
