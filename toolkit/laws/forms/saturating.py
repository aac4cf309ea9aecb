"""The loss as what remains and one power, of the budget."""

from toolkit.laws.forms.base import Form, amplitude, asymptote, exponent
from toolkit.laws.forms.parametric import powers

SATURATING = Form(
    "saturating",
    "L(C) = E + A C^-alpha",
    "Henighan et al. 2020 (arXiv:2010.14701), eq. 1.1",
    ("x",),
    (asymptote(), amplitude("A", 0, "alpha"), exponent("alpha")),
    powers,
)
