"""The registered laws, a file each, and a person's own (`custom`)."""

from toolkit.errors import ToolkitError, nearest
from toolkit.laws.forms.base import Evaluation, Form, Parameter, Shift, tied
from toolkit.laws.forms.bounded import BOUNDED, BOUNDED_REPEATS
from toolkit.laws.forms.data_constrained import DATA_CONSTRAINED
from toolkit.laws.forms.finetune import FINETUNE
from toolkit.laws.forms.parabola import PARABOLA
from toolkit.laws.forms.parametric import PARAMETRIC
from toolkit.laws.forms.power import POWER
from toolkit.laws.forms.saturating import SATURATING

__all__ = ["FORMS", "Evaluation", "Form", "Parameter", "Shift", "form", "tied"]

FORMS: dict[str, Form] = {
    law.name: law
    for law in (
        PARABOLA,
        POWER,
        SATURATING,
        PARAMETRIC,
        DATA_CONSTRAINED,
        FINETUNE,
        BOUNDED,
        BOUNDED_REPEATS,
    )
}


def form(name: str) -> Form:
    """The registered form of that name.

    Raises:
        ToolkitError: There is none; the nearest names are offered.
    """
    if name not in FORMS:
        raise ToolkitError(f"unknown form {name!r}{nearest(name, list(FORMS))}")
    return FORMS[name]
