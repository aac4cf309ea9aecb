"""A person's own law: read, differentiated, fitted, or refused in one sentence."""

import numpy as np
import pytest

from toolkit.errors import ToolkitError
from toolkit.laws import FORMS, Expression, fit

COLUMNS = ("params", "tokens", "loss", "epochs")
GRID = np.stack(
    [a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e12, 6))]
)
CHINCHILLA = "E + A*params**-alpha + B*tokens**-beta"
X = "(A*params**-alpha + B*tokens**-beta)"
LAWS = {
    CHINCHILLA: {"E": 1.8, "A": 400, "alpha": 0.34, "B": 2000, "beta": 0.37},
    "E + A/params**alpha + B/tokens**beta": {
        "E": 1.8, "A": 400, "alpha": 0.34, "B": 2000, "beta": 0.37,
    },
    "((Nc/params)**(aN/aD) + Dc/tokens)**aD": {
        "Nc": 8.8e13, "aN": 0.076, "aD": 0.095, "Dc": 5.4e13,
    },
    f"E + (log(1024) - E)*{X}/(1 + {X})": {"E": 1, "A": 80, "alpha": 0.3, "B": 500, "beta": 0.3},
    "exp(a + b*log(params) + c*log(tokens))": {"a": 3, "b": -0.05, "c": -0.04},
    "a + b*log(params) + c*log(params)**2": {"a": 30, "b": -3, "c": 0.08},
    "E + A*params**-alpha + q*log(tokens/D0)**2": {
        "E": 1.8, "A": 400, "alpha": 0.34, "q": 0.02, "D0": 4e10,
    },
    "E + A*params**-alpha*tokens**-beta": {"E": 1, "A": 500, "alpha": 0.1, "beta": 0.2},
    "E + A*(params + N0)**-alpha + B*tokens**-beta": {
        "E": 1.8, "A": 400, "N0": 1e8, "alpha": 0.34, "B": 2000, "beta": 0.37,
    },
    "coefficient*params**exponent": {"coefficient": 1e-3, "exponent": 0.6},
    "E + A*sqrt(tokens)/params**alpha": {"E": 1, "A": 1e-3, "alpha": 0.4},
}  # fmt: skip
laws = pytest.mark.parametrize("text", LAWS)


def read(text, inputs=GRID):
    """The form, its columns and the loss that its truth gives."""
    expression = Expression.read(text, COLUMNS)
    columns = dict(zip(COLUMNS, inputs, strict=False))
    names = {**columns, **LAWS[text], "log": np.log, "exp": np.exp, "sqrt": np.sqrt}
    loss = eval(text, names)  # The tests' own text, and Python's own arithmetic.
    x = np.stack([columns[name] for name in expression.inputs])
    return expression.form(x, loss), x, loss


@laws
def test_the_gradient_is_that_of_finite_differences(text):
    law, x, _ = read(text)
    rng, centre = np.random.default_rng(0), np.log(x).mean(axis=1)
    z = np.log(x) - centre[:, None]
    phi = np.stack([rng.uniform(*p.start, 8) for p in law.parameters], axis=1)
    value, slopes = law.evaluate(phi, z, centre)
    fine = np.isfinite(value).all(axis=1)
    assert fine.any()
    for k, slope in enumerate(slopes):
        step = np.zeros(phi.shape[1])
        step[k] = 1e-6
        ahead, behind = (law.evaluate(phi + s, z, centre)[0] for s in (step, -step))
        numeric = ((ahead - behind) / 2e-6)[fine]
        ours = np.broadcast_to(slope, value.shape)[fine]
        known = np.isfinite(numeric)
        assert ours[known] == pytest.approx(numeric[known], abs=1e-6, rel=1e-5)


@laws
def test_a_known_truth_is_recovered(text):
    law, x, loss = read(text)
    found = fit(law, x, loss, starts=30)
    assert found.objective < 1e-8
    for name, truth in LAWS[text].items():
        assert found.params[name].value == pytest.approx(truth, rel=0.02)


def test_noise_is_within_the_intervals():
    law, x, clean = read(CHINCHILLA)
    loss = clean * np.exp(0.003 * np.random.default_rng(1).normal(size=clean.size))
    found = fit(law, x, loss, starts=40, resamples=200)
    held = [e.low <= LAWS[CHINCHILLA][n] <= e.high for n, e in found.params.items()]
    assert sum(held) >= 4


def test_a_registered_law_written_out_is_the_registered_law():
    law, x, clean = read(CHINCHILLA)
    loss = clean * np.exp(0.003 * np.random.default_rng(1).normal(size=clean.size))
    ours = fit(law, x, loss, objective="huber-log", starts=40, resamples=100)
    theirs = fit("parametric", x, loss, starts=40, resamples=100)
    assert ours.objective == pytest.approx(theirs.objective, rel=1e-6)
    for name, estimate in theirs.params.items():
        assert ours.params[name].value == pytest.approx(estimate.value, rel=1e-3)
        assert ours.params[name].low == pytest.approx(estimate.low, rel=0.05)
    middle = theirs.amplitudes()
    assert ours.amplitudes()["A"].value == pytest.approx(middle["A"].value, rel=1e-3)


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("E + A*params**(-alpha)", (0, 5)),
        ("E + A*params**(-0.5*alpha)", (0, 5)),
        ("E + A*params**(alpha*-1)", (0, 5)),
        ("E + A*(1/params)**alpha", (-5, 5)),
        ("E + A/params**alpha", (0, 5)),
        ("E + A/params**(alpha/2)", (0, 5)),
        ("E + A*(params/1e6)**-alpha", (0, 5)),
        ("E + A*(2*sqrt(params))**(-2*alpha)", (0, 5)),
        ("E + A*(params/1e6)**-alpha/3", (0, 5)),
        ("E + A*params**alpha", (-5, 5)),
        ("E + A/params**-alpha", (-5, 5)),
    ],
)
def test_signs_are_read_however_they_are_written(text, ranges):
    loss = FORMS["saturating"].value([1.8, 400, 0.34], GRID[:1])
    law = Expression.read(text, COLUMNS).form(GRID[:1], loss)
    alpha = law.parameters[law.names.index("alpha")]
    assert (alpha.low, alpha.high) == ranges
    found = fit(law, GRID[:1], loss, starts=30)
    assert found.objective < 1e-8
    term = 400 / found.middle["params"] ** 0.34 * (3 if text.endswith("/3") else 1)
    assert found.amplitudes()["A"].value == pytest.approx(term, rel=0.01)


@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_the_unit_of_the_loss_is_the_amplitudes_affair(unit):
    _, x, loss = read(CHINCHILLA)
    scaled = Expression.read(CHINCHILLA, COLUMNS).form(x, loss * unit)
    found = fit(scaled, x, loss * unit, starts=10)
    assert found.params["E"].value == pytest.approx(1.8 * unit, rel=1e-3)
    assert found.params["alpha"].value == pytest.approx(0.34, rel=1e-3)


def test_parameters_may_be_pinned_tied_and_started():
    law, x, loss = read(CHINCHILLA)
    found = fit(law, x, loss, pinned={"A": 400, "alpha": 0.34}, starts=20)
    assert found.params["B"].value == pytest.approx(2000, rel=1e-3)
    assert fit(law, x, loss, tie=True, starts=20).form.names == ("E", "A", "alpha", "B")
    assert fit(law, x, loss, start={"E": 1.5, "alpha": 0.3}).objective < 1e-8


def test_inputs_are_the_columns_that_are_named_size_and_data_first():
    expression = Expression.read("E + B*tokens**-beta + A*epochs + C*params", COLUMNS)
    assert expression.inputs == ("params", "tokens", "epochs")
    assert expression.parameters == ("E", "B", "beta", "A", "C")


def test_rivals_and_doubts_are_told_as_of_any_law():
    text = "E + A*params**-alpha + C*params**-gamma"
    expression = Expression.read(text, COLUMNS)
    loss = FORMS["saturating"].value([1.8, 400, 0.34], GRID[:1])
    noisy = loss * np.exp(0.002 * np.random.default_rng(0).normal(size=loss.size))
    found = fit(expression.form(GRID[:1], noisy), GRID[:1], noisy, starts=40)
    assert found.status == "doubtful"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("E + A*", "cannot be read as an expression"),
        ("E + A*params**-alpha; E", "cannot be read as an expression"),
        ("loss = A*params", "cannot be read as an expression"),
        (" ", "cannot be read as an expression"),
        ("E + A*N**-alpha", "names no column of the table; there are params, tokens, epochs"),
        ("E + A*parms**-alpha", "'parms' is no column; did you mean params"),
        ("E + A*N**-alpha + B*tokens**-beta", "'N' is raised to -alpha as an input is"),
        ("A*loss*params", "names 'loss', which it is to predict"),
        ("params*tokens", "no parameter to fit"),
        ("E + A/0*params", "divides by zero: '0'"),
        ("E + A*params**(alpha/0)", "divides by zero: '0'"),
        ("E + A*params**(alpha/(1 - 1))", "divides by zero: '1 - 1'"),
        ("E + A/(params - params)", "divides by zero: 'params - params'"),
        ("E + A*log(-params)", "log() of what is not positive on this table: '-params'"),
        ("E + A*sqrt(0 - tokens)", "sqrt() of what is not positive"),
        ("E + A*params**9e9", "no finite number"),
        ("9**9**9**9*A*params", "not a finite number"),
        ("A*params**(10**400)", "not a finite number"),
        ("A*params*1e400", "not allowed"),
        ("-A*params", "not positive, whatever its parameters"),
        ("A*params^-alpha", "a power is written **, not ^"),
        ("log*A*params", "log is a function"),
        ("log(params, 2)*A", "is not allowed"),
        ("max(A, params)", "'max(A, params)' is not allowed"),
        ("__import__('os').system('true')", "is not allowed"),
        ("params.__class__", "'params.__class__' is not allowed"),
        ("(lambda: A)()*params", "is not allowed"),
        ("[A for A in params]", "is not allowed"),
        ("A if params else E", "is not allowed"),
        ("A*params % 2", "is not allowed"),
        ("A*params*True", "'True' is not allowed"),
        ("A*params*'x'", "is not allowed"),
        ("A*params*1j", "is not allowed"),
        ("A*params < 3", "is not allowed"),
        ("(E := A)*params", "is not allowed"),
        ("A*params" + "+1" * 900, "nested more than 100 deep"),
        ("-" * 1500 + "A*params", "nested more than 100 deep"),
        ("(" * 400 + "A*params" + ")" * 400, "cannot be read as an expression"),
        ("A*params*" + "9" * 1800, "is not allowed"),
        ("A" + "+params" * 1000, "longer than 2000 characters"),
    ],
)
def test_what_is_no_law_is_refused_in_one_sentence(text, expected):
    with pytest.raises(ToolkitError) as refused:
        Expression.read(text, COLUMNS).form(GRID[:1], np.full(GRID.shape[1], 3.0))
    assert expected in str(refused.value)
    assert str(refused.value).startswith("form ")
